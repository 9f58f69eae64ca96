package simulator

import (
	"slices"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// table holds the records of one object type. What differs from the base data is stored, the rest is computed. Its
// portal's lock guards it.
type table struct {
	portal      *portal
	object      hubspot.Object
	label       string // singular, upper-case, as in messages
	custom      *CustomObject
	definitions *definitions

	ids     identities
	alloc   allocator
	changed map[int64]*record // newest version of every record that differs from the base data

	// Every id is in exactly one of these; keys equal ids.
	live, archived, gone ordered

	index index
}

func newTable(p *portal, o hubspot.Object, n int) *table {
	seed := mix(uint64(p.opts.Seed)*0x9e3779b97f4a7c15 ^ hashText(o.Name))
	t := &table{portal: p, object: o, label: upper(o.Singular), ids: newIdentities(seed, n), changed: map[int64]*record{}}
	t.alloc = allocator{seed: seed, start: 210_000_000_000}
	if n > 0 {
		t.alloc.start = max(t.alloc.start, t.ids.id(n-1)+1_000_000)
	}
	t.fill()
	return t
}

// fill puts the base records into the orders.
func (t *table) fill() {
	entries := make([]entry, t.ids.n)
	for i := range entries {
		id := t.ids.id(i)
		entries[i] = entry{id, id}
	}
	t.live.fill(entries)
	t.index.byID.fill(entries)
	for i := range entries {
		entries[i].id = t.ids.id(i)
		entries[i].key, _ = t.ids.times(i)
	}
	slices.SortFunc(entries, compareEntries)
	t.index.byCreated.fill(entries)
	for i := range entries {
		entries[i].id = t.ids.id(i)
		_, entries[i].key = t.ids.times(i)
	}
	slices.SortFunc(entries, compareEntries)
	t.index.byModified.fill(entries)
	t.index.older = map[int64]*record{}
}

// load returns the newest version of a record.
func (t *table) load(id int64) (record, bool) {
	if r, ok := t.changed[id]; ok {
		return *r, true
	}
	return t.base(id)
}

// base returns a record as it was before any change.
func (t *table) base(id int64) (record, bool) {
	i := t.ids.index(id)
	if i < 0 {
		return record{}, false
	}
	r := record{id: id, index: i, seed: t.seedOf(id)}
	r.created, r.modified = t.ids.times(i)
	return r, true
}

func (t *table) seedOf(id int64) uint64 { return mix(t.ids.seed^uint64(id)*0x9e3779b97f4a7c15) | 1 }

// resolve follows merges from an id to the record it stands for now. (HubSpot rule: a GET on a losing id returns the
// winner.)
func (t *table) resolve(id int64) (record, bool) {
	r, ok := t.load(id)
	for ok && r.mergedInto != 0 {
		r, ok = t.load(r.mergedInto)
	}
	return r, ok && !r.purged
}

// store makes r the newest version and keeps the orders of ids right. before is the version it replaces, nil for a new
// record.
func (t *table) store(r, before *record) {
	e := entry{r.id, r.id}
	if before == nil || t.setOf(before) != t.setOf(r) {
		if before != nil {
			t.setOf(before).remove(e)
		}
		t.setOf(r).add(e)
	}
	t.changed[r.id] = r
	t.index.changed(t, r, before)
}

func (t *table) setOf(r *record) *ordered {
	switch {
	case r.gone():
		return &t.gone
	case r.archivedAt != 0:
		return &t.archived
	}
	return &t.live
}
