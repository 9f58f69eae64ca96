package sink

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/schemas"
)

// queueErasures removes what the tables have of records that were deleted for privacy beside their rows, and notes that the
// copies of the tables have to do the same. It comes after rows, links and dead letters.
func queueErasures(batch *pgconn.Batch, schema string, groups []*group) {
	if p := purged(groups); len(p.ids) > 0 {
		queueErased(batch, schema, groups)
		queueCopyErasures(batch, schema, p)
	}
}

// purgedRecords are records that were deleted for privacy, by column.
type purgedRecords struct {
	objects              []string
	ids, seqs, updatedAt []int64
}

func (p *purgedRecords) params() *params { return (&params{}).texts(p.objects).int8s(p.ids) }

// purged returns the records of groups that were deleted for privacy.
func purged(groups []*group) *purgedRecords {
	p := &purgedRecords{}
	for _, g := range groups {
		if g.set == nil {
			continue
		}
		for i := range g.set.rows {
			if row := &g.set.rows[i]; row.purged {
				p.objects, p.ids = append(p.objects, g.object), append(p.ids, row.id)
				p.seqs, p.updatedAt = append(p.seqs, row.seq), append(p.updatedAt, row.updatedAt)
			}
		}
	}
	return p
}

// queueErased removes what a schema has of records that were deleted for privacy beside their rows, and notes that they
// were: what is applied later, in whatever order the log is read, must not bring anything back.
func queueErased(batch *pgconn.Batch, schema string, groups []*group) {
	queueErasedBut(batch, schema, groups, 0)
}

// queueErasedBut leaves one dead letter, by its sequence.
func queueErasedBut(batch *pgconn.Batch, schema string, groups []*group, letter int64) {
	p := purged(groups)
	records := p.params
	records().int8s(p.seqs).queue(batch, `insert into `+quote(schema, "erased")+` as e (object, record_id, _seq)
select p.* from unnest($1, $2, $3) as p(object, id, seq) order by 1, 2
on conflict (object, record_id) do update set _seq = excluded._seq where e._seq < excluded._seq`)
	for _, end := range []string{"from", "to"} {
		records().queue(batch, `delete from `+quote(schema, "links")+` l
using unnest($1, $2) as p(object, id) where l.`+end+`_object = p.object and l.`+end+`_id = p.id`)
	}
	records().queue(batch, `delete from `+quote(schema, "link_sets")+` s
using unnest($1, $2) as p(object, id) where s.from_object = p.object and s.from_id = p.id`)
	// A record whose id could not be read has a dead letter of another name, which quotes it.
	records().int8(letter).queue(batch, `delete from `+quote(schema, "dead_letters")+` d
using unnest($1, $2) as p(object, id) where d.object = p.object and d.seq <> $3
and (d.record_id = p.id::text or d.record_id like 'unknown%' and position(convert_to(p.id::text, 'UTF8') in d.payload) > 0)`)
}

// isPurge reports whether a message is the event of a privacy deletion, without decoding it.
func isPurge(m Message) bool {
	types := m.Header[schemas.HeaderType]
	return len(types) > 0 && strings.HasSuffix(types[0], "."+string(schemas.OpPurged))
}
