package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// setKey is a set of links in the tables, of one object type.
type setKey struct {
	from int64
	to   string
}

func (k setKey) String() string { return strconv.FormatInt(k.from, 10) + " to " + k.to }

// storedLink is a row of links without its set.
type storedLink struct {
	to       int64
	typeID   int64
	category string
	label    string
}

// storedSet is what the tables have of a set of links; seq is -1 if there is no row in link_sets.
type storedSet struct {
	seq   int64
	links map[storedLink]bool
}

// verifyLinks compares the links from the object type's records with their last sets in the log, both ways.
func (v *tableVerifier) verifyLinks(ctx context.Context, object string) error {
	known := make(map[setKey]bool)
	filter := schemas.Root + "." + schemas.EncodeToken(v.a.portalName()) + "." + string(schemas.KindLinks) + "." + schemas.EncodeToken(object) + ".>"
	compare := func(ctx context.Context, messages []Message) (comparison, error) {
		return v.a.compareLinks(ctx, object, messages)
	}
	lower := func(ctx context.Context, verdicts []verdict) error { return v.a.lowerSets(ctx, object, verdicts) }
	err := v.eachBatch(ctx, filter, func(messages []Message) error {
		for _, m := range messages {
			if set, err := decodeSet(m); err == nil {
				known[keyOf(set)] = true
			}
		}
		return v.settle(ctx, messages, compare, lower)
	})
	if err != nil {
		return err
	}
	return v.verifyGhostSets(ctx, object, known)
}

func decodeSet(m Message) (*schemas.Links, error) {
	c, err := schemas.DecodeControl(m.Message)
	if err != nil {
		return nil, err
	}
	set, ok := c.(*schemas.Links)
	if !ok {
		return nil, fmt.Errorf("message on %s is no set of links", m.Subject)
	}
	return set, checkLinks(set)
}

func keyOf(set *schemas.Links) setKey {
	id, _ := strconv.ParseInt(set.ID, 10, 64) // checked by checkLinks
	return setKey{id, clean(set.To)}
}

// compareLinks compares sets of links with the tables, as of one moment.
func (a *Applier) compareLinks(ctx context.Context, object string, messages []Message) (c comparison, err error) {
	err = a.snapshot(ctx, func(tx pgx.Tx, position int64) error {
		dead, err := a.deadSeqs(ctx, tx, messages)
		if err != nil {
			return err
		}
		var ids []int64
		sets := make([]*schemas.Links, len(messages))
		for i, m := range messages {
			if set, err := decodeSet(m); c.due(m, err != nil || dead[m.Seq], position) {
				sets[i] = set
				ids = append(ids, keyOf(set).from)
			}
		}
		stored, err := a.storedSets(ctx, tx, object, ids)
		if err != nil {
			return err
		}
		erased, err := a.erasedEnds(ctx, tx, object, sets)
		if err != nil {
			return err
		}
		for i, set := range sets {
			if set == nil || erased[recordKey{object, keyOf(set).from}] {
				continue
			}
			if d := compareSet(messages[i], set, stored[keyOf(set)], erased); d != nil {
				c.verdicts = append(c.verdicts, *d)
			}
		}
		return nil
	})
	return c, err
}

// erasedEnds returns which of the records at either end of the sets' links were deleted for privacy: the tables keep no
// links of those.
func (a *Applier) erasedEnds(ctx context.Context, tx pgx.Tx, object string, sets []*schemas.Links) (map[recordKey]bool, error) {
	objects, ids := []string{object}, []int64(nil)
	for _, set := range sets {
		if set == nil {
			continue
		}
		objects, ids = append(objects, set.To), append(ids, keyOf(set).from)
		for _, l := range set.Links {
			id, _ := strconv.ParseInt(l.ID, 10, 64) // checked by checkLinks
			ids = append(ids, id)
		}
	}
	slices.Sort(objects)
	return a.erasedAmong(ctx, tx, slices.Compact(objects), ids)
}

// compareSet says how what is stored differs from a set of links, nil if it does not.
func compareSet(m Message, set *schemas.Links, stored *storedSet, erased map[recordKey]bool) *verdict {
	if stored == nil {
		stored = &storedSet{seq: -1}
	}
	d := &verdict{message: m, key: keyOf(set).String(), kind: difference.Link, seq: stored.seq}
	switch seq := int64(m.Seq); {
	case stored.seq < 0:
		d.reason = fmt.Sprintf("the set of event %d is not there", seq)
		return d
	case stored.seq != seq:
		d.reason, d.moved = fmt.Sprintf("the set is of event %d, the last one is %d", stored.seq, seq), stored.seq > seq
		return d
	}
	want := make(map[storedLink]bool, len(set.Links))
	for _, l := range distinctLinks(set.Links) {
		to, _ := strconv.ParseInt(l.ID, 10, 64) // checked by checkLinks
		if erased[recordKey{set.To, to}] {
			continue
		}
		want[storedLink{to, int64(l.TypeID), clean(l.Category), clean(l.Label)}] = true
	}
	if maps.Equal(want, stored.links) {
		return nil
	}
	d.reason = fmt.Sprintf("%d links are stored, other ones than the %d of the set", len(stored.links), len(want))
	return d
}

// storedSets reads the sets of links of some records.
func (a *Applier) storedSets(ctx context.Context, tx pgx.Tx, object string, ids []int64) (map[setKey]*storedSet, error) {
	sets := make(map[setKey]*storedSet)
	at := func(k setKey) *storedSet {
		if sets[k] == nil {
			sets[k] = &storedSet{seq: -1, links: make(map[storedLink]bool)}
		}
		return sets[k]
	}
	var k setKey
	var seq int64
	rows, err := tx.Query(ctx, `select from_id, to_object, _seq from `+quote(a.schema, "link_sets")+` where from_object = $1 and from_id = any($2)`, clean(object), ids)
	if err != nil {
		return nil, fmt.Errorf("read sets of links: %w", err)
	}
	if _, err = pgx.ForEachRow(rows, []any{&k.from, &k.to, &seq}, func() error { at(k).seq = seq; return nil }); err != nil {
		return nil, fmt.Errorf("read sets of links: %w", err)
	}
	var l storedLink
	rows, err = tx.Query(ctx, `select from_id, to_object, to_id, type_id::bigint, category, coalesce(label, '')
from `+quote(a.schema, "links")+` where from_object = $1 and from_id = any($2)`, clean(object), ids)
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	if _, err = pgx.ForEachRow(rows, []any{&k.from, &k.to, &l.to, &l.typeID, &l.category, &l.label}, func() error {
		at(k).links[l] = true
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	return sets, nil
}

// lowerSets makes sets of links forget which event they are from, unless they got a newer one meanwhile.
func (a *Applier) lowerSets(ctx context.Context, object string, verdicts []verdict) error {
	ids, tos, seqs := setColumns(verdicts)
	_, err := a.patient().Exec(ctx, `update `+quote(a.schema, "link_sets")+` t set _seq = 0
from unnest($2::bigint[], $3::text[], $4::bigint[]) as r(id, too, seq)
where t.from_object = $1 and t.from_id = r.id and t.to_object = r.too and t._seq = r.seq`, clean(object), ids, tos, seqs)
	if err != nil {
		return fmt.Errorf("prepare links to be written again: %w", err)
	}
	return nil
}

func setColumns(verdicts []verdict) (ids []int64, tos []string, seqs []int64) {
	for _, d := range verdicts {
		set, err := decodeSet(d.message)
		if err == nil && d.seq >= 0 {
			k := keyOf(set)
			ids, tos, seqs = append(ids, k.from), append(tos, k.to), append(seqs, d.seq)
		}
	}
	return ids, tos, seqs
}

// ghostSets selects the sets of links that the tables have of an object type, those without a row in link_sets too.
const ghostSets = `select from_id, to_object, _seq from {sets} where from_object = $1
union all
select distinct from_id, to_object, -1::bigint from {links} l where from_object = $1 and not exists
(select from {sets} s where s.from_object = l.from_object and s.from_id = l.from_id and s.to_object = l.to_object)`

// verifyGhostSets looks for links of sets that the log does not know.
func (v *tableVerifier) verifyGhostSets(ctx context.Context, object string, known map[setKey]bool) error {
	suspects, err := v.unknownSets(ctx, object, known)
	if err != nil || len(suspects) == 0 {
		return err
	}
	if v.o.Patience > 0 && !pause(ctx, v.o.Patience) {
		return ctx.Err()
	}
	keys := slices.SortedFunc(maps.Keys(suspects), func(x, y setKey) int {
		return compareNumbers(strconv.FormatInt(x.from, 10), strconv.FormatInt(y.from, 10))
	})
	ghosts := keys[:0]
	for _, k := range keys {
		subject := schemas.Subject{Kind: schemas.KindLinks, Portal: v.a.portalName(), Object: object, ID: strconv.FormatInt(k.from, 10), To: k.to}
		last, err := v.lastMessages(ctx, []string{subject.String()})
		if err != nil {
			return err
		}
		if len(last) == 0 {
			ghosts = append(ghosts, k)
			v.report.Add(difference.Link, k.String(), "links without a set in the log")
		}
	}
	if !v.mayDelete(int64(len(ghosts)), int64(len(known)+len(suspects))) {
		return nil
	}
	for _, k := range ghosts {
		deleted, err := v.a.deleteSet(ctx, object, k, suspects[k])
		if err != nil {
			return err
		}
		if deleted {
			v.report.Repaired++
		}
	}
	return nil
}

// unknownSets returns the sets in the tables that are not among the known ones, with their sequences.
func (v *tableVerifier) unknownSets(ctx context.Context, object string, known map[setKey]bool) (map[setKey]int64, error) {
	sql := replaceTables(v.a.schema, ghostSets)
	rows, err := v.a.patient().Query(ctx, sql, clean(object))
	if err != nil {
		return nil, fmt.Errorf("look for links without a set: %w", err)
	}
	unknown := make(map[setKey]int64)
	var k setKey
	var seq int64
	if _, err := pgx.ForEachRow(rows, []any{&k.from, &k.to, &seq}, func() error {
		if !known[k] {
			unknown[k] = seq
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("look for links without a set: %w", err)
	}
	return unknown, nil
}

// deleteSet deletes a set of links unless it got a newer event meanwhile.
func (a *Applier) deleteSet(ctx context.Context, object string, k setKey, seq int64) (deleted bool, err error) {
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, patience); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, replaceTables(a.schema, `delete from {sets} where from_object = $1 and from_id = $2 and to_object = $3 and _seq = $4`),
			clean(object), k.from, k.to, seq)
		if err != nil || seq >= 0 && tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, replaceTables(a.schema, `delete from {links} l where from_object = $1 and from_id = $2 and to_object = $3 and not exists
(select from {sets} s where s.from_object = l.from_object and s.from_id = l.from_id and s.to_object = l.to_object)`),
			clean(object), k.from, k.to)
		deleted = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("delete links without a set: %w", err)
	}
	return deleted, nil
}

func replaceTables(schema, sql string) string {
	return strings.NewReplacer("{sets}", quote(schema, "link_sets"), "{links}", quote(schema, "links")).Replace(sql)
}
