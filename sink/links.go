package sink

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/schemas"
)

// queueLinks replaces sets of links. link_sets holds the sequence of every set, an empty one too, and is written first
// and in one order: it decides which of two sinks has the newer set, and makes the other one wait. Only a set whose
// sequence is then there is touched: links that it lacks go, new ones come, the others stay as they are.
func queueLinks(batch *pgconn.Batch, schema string, sets map[schemas.Subject]versioned[*schemas.Links]) {
	ordered := make([]versioned[*schemas.Links], 0, len(sets))
	for _, set := range sets {
		ordered = append(ordered, set)
	}
	slices.SortFunc(ordered, func(x, y versioned[*schemas.Links]) int {
		return cmp.Or(cmp.Compare(x.value.From, y.value.From), cmp.Compare(x.value.ID, y.value.ID), cmp.Compare(x.value.To, y.value.To))
	})
	var set, link linkColumns
	for _, s := range ordered {
		set.add(s.value, s.seq, schemas.Link{ID: "0"})
		for _, l := range distinctLinks(s.value.Links) {
			link.add(s.value, s.seq, l)
		}
	}
	sql := strings.NewReplacer("{sets}", quote(schema, "link_sets"), "{links}", quote(schema, "links"), "{erased}", quote(schema, "erased"))
	set.params(false).queue(batch, sql.Replace(
		`insert into {sets} as t (from_object, from_id, to_object, _seq)
select r.* from unnest($1, $2, $3, $4) as r(from_object, from_id, to_object, seq) order by 1, 2, 3
on conflict (from_object, from_id, to_object) do update set _seq = excluded._seq, _synced_at = now()
where t._seq < excluded._seq`))

	p := set.params(false)
	l := link.params(true)
	p.values, p.oids = append(p.values, l.values...), append(p.oids, l.oids...)
	p.queue(batch, sql.Replace(
		`delete from {links} l
using unnest($1, $2, $3, $4) as s(from_object, from_id, to_object, seq), {sets} t
where t.from_object = s.from_object and t.from_id = s.from_id and t.to_object = s.to_object and t._seq = s.seq
and l.from_object = s.from_object and l.from_id = s.from_id and l.to_object = s.to_object
and not exists (select from unnest($5, $6, $7, $8, $9, $10, $11, $12) as n(from_object, from_id, to_object, seq, to_id, type_id, category, label)
where n.from_object = l.from_object and n.from_id = l.from_id and n.to_object = l.to_object
and n.to_id = l.to_id and n.type_id = l.type_id and n.category = l.category)`))

	link.params(true).queue(batch, sql.Replace(
		`insert into {links} as l (from_object, from_id, to_object, to_id, type_id, category, label)
select n.from_object, n.from_id, n.to_object, n.to_id, n.type_id, n.category, nullif(n.label, '')
from unnest($1, $2, $3, $4, $5, $6, $7, $8) as n(from_object, from_id, to_object, seq, to_id, type_id, category, label)
join {sets} t on t.from_object = n.from_object and t.from_id = n.from_id and t.to_object = n.to_object and t._seq = n.seq
where not exists (select from {erased} e where e.object = n.from_object and e.record_id = n.from_id)
and not exists (select from {erased} e where e.object = n.to_object and e.record_id = n.to_id)
order by 1, 2, 3, 4, 6, 5
on conflict (from_object, from_id, to_object, to_id, category, type_id) do update set label = excluded.label
where l.label is distinct from excluded.label`))
}

// linkColumns are rows of links, or of sets, by column.
type linkColumns struct {
	from, to        []string
	id, seq         []int64
	toID, typeID    []int64
	category, label []string
}

func (c *linkColumns) add(set *schemas.Links, seq uint64, l schemas.Link) {
	id, _ := strconv.ParseInt(set.ID, 10, 64) // checked by checkLinks
	toID, _ := strconv.ParseInt(l.ID, 10, 64)
	c.from, c.to = append(c.from, clean(set.From)), append(c.to, clean(set.To))
	c.id, c.seq = append(c.id, id), append(c.seq, int64(seq))
	c.toID, c.typeID = append(c.toID, toID), append(c.typeID, int64(l.TypeID))
	c.category, c.label = append(c.category, clean(l.Category)), append(c.label, clean(l.Label))
}

func (c *linkColumns) params(links bool) *params {
	p := &params{}
	p.texts(c.from).int8s(c.id).texts(c.to).int8s(c.seq)
	if links {
		p.int8s(c.toID).int8s(c.typeID).texts(c.category).texts(c.label)
	}
	return p
}

// distinctLinks leaves out a link that is there twice, which one statement could not write.
func distinctLinks(links []schemas.Link) []schemas.Link {
	type key struct {
		id, category string
		typeID       int
	}
	seen := make(map[key]bool, len(links))
	distinct := links[:0:0]
	for _, l := range links {
		k := key{l.ID, clean(l.Category), l.TypeID}
		if n, err := strconv.ParseInt(l.ID, 10, 64); err == nil {
			k.id = strconv.FormatInt(n, 10) // "007" is 7
		}
		if !seen[k] {
			seen[k] = true
			distinct = append(distinct, l)
		}
	}
	return distinct
}
