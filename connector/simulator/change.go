package simulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrNotFound is returned for an object type or record that does not exist (or is not in the state asked for).
var ErrNotFound = errors.New("not found")

// find returns the object type and the newest version of a record, which must be live. The caller holds the lock.
func (p *portal) find(object, id string) (*table, *record, error) {
	t, ok := p.table(object)
	if !ok {
		return nil, nil, fmt.Errorf("object type %s: %w", object, ErrNotFound)
	}
	n, ok := parseID(id)
	if !ok {
		return nil, nil, fmt.Errorf("%s %s: %w", object, id, ErrNotFound)
	}
	r, ok := t.load(n)
	if !ok {
		return nil, nil, fmt.Errorf("%s %s: %w", object, id, ErrNotFound)
	}
	return t, &r, nil
}

func (p *portal) findLive(object, id string) (*table, *record, error) {
	t, r, err := p.find(object, id)
	if err == nil && !r.live() {
		return nil, nil, fmt.Errorf("%s %s is archived, merged or purged: %w", object, id, ErrNotFound)
	}
	return t, r, err
}

// next returns a copy of r to change, with the next change's number.
func (p *portal) next(r *record) *record {
	p.changes++
	n := *r
	n.version = p.changes
	return &n
}

// bump stamps a change. A record's time always moves on, even for two changes in one millisecond.
func (p *portal) bump(r *record) { r.modified = max(p.nowMS(), r.modified+1) }

// create adds a record. With generated set it has base values of its own below the given ones.
func (p *portal) create(t *table, values map[string]string, generated bool) *record {
	p.changes++
	now := p.nowMS()
	r := &record{id: t.alloc.next(), index: -1, created: now, modified: now, version: p.changes}
	if generated {
		r.seed = t.seedOf(r.id)
	}
	r.edits = r.withEdits(values)
	t.store(r, nil)
	p.emit(t.event(kindCreation, r))
	p.emitChanges(t, r, values)
	return r
}

// update sets values at a time (0 = now).
func (p *portal) update(t *table, r *record, values map[string]string, at int64) *record {
	n := p.next(r)
	n.edits = r.withEdits(values)
	if p.bump(n); at != 0 {
		n.modified = at
	}
	t.store(n, r)
	p.emitChanges(t, n, values)
	return n
}

// recalculate sets values as HubSpot does with calculated properties: no new last-modified time, no event.
func (p *portal) recalculate(t *table, r *record, values map[string]string) *record {
	n := p.next(r)
	n.edits = r.withEdits(values)
	t.store(n, r)
	return n
}

// archive moves a record to the recycle bin. HubSpot rule: this does not bump last-modified.
func (p *portal) archive(t *table, r *record) {
	n := p.next(r)
	n.archivedAt = max(p.nowMS(), 1)
	t.store(n, r)
	p.emit(t.event(kindDeletion, n))
}

// restore takes a record out of the recycle bin, under its old id.
func (p *portal) restore(t *table, r *record) {
	n := p.next(r)
	n.archivedAt = 0
	if p.opts.RestoreBump {
		p.bump(n)
	}
	t.store(n, r)
	p.emit(t.event(kindRestore, n))
}

// purge deletes a record for privacy: no read shows it again.
func (p *portal) purge(t *table, r *record) {
	n := p.next(r)
	n.purged, n.edits, n.seed = true, nil, 0
	p.forgetLinks(t, r.id)
	t.store(n, r)
	p.emit(t.event(kindPrivacyDeletion, n))
}

func (p *portal) emitChanges(t *table, r *record, values map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		// HubSpot rule: calculated properties fire no events.
		if d, ok := t.definitions.byName[name]; ok && d.Calculated {
			continue
		}
		e := t.event(kindPropertyChange, r)
		e.property, e.value = name, values[name]
		p.emit(e)
	}
}

// link associates two records in both directions.
func (p *portal) link(from *table, a *record, to *table, b *record, types []LinkType) {
	if types == nil {
		types = linkTypes(from, to)
	}
	p.setLink(linkKey{from, a.id, to}, b.id, types)
	p.setLink(linkKey{to, b.id, from}, a.id, mirrored(types, from, to))
	p.linksChanged(from, a.id, to, b.id, false)
}

// mirrored returns the types of the other direction.
func mirrored(types []LinkType, from, to *table) []LinkType {
	if slices.ContainsFunc(types, func(t LinkType) bool { return t.Category == "HUBSPOT_DEFINED" }) {
		return linkTypes(to, from)
	}
	out := slices.Clone(types)
	for i := range out {
		out[i].TypeID++
	}
	return out
}

// unlink removes the association of two records.
func (p *portal) unlink(from *table, a *record, to *table, b *record) bool {
	there := p.dropLink(linkKey{from, a.id, to}, b.id)
	p.dropLink(linkKey{to, b.id, from}, a.id)
	if there {
		p.linksChanged(from, a.id, to, b.id, true)
	}
	return there
}

// linksChanged recalculates the counters of both ends and tells the webhooks, once per side. HubSpot bumps neither end,
// as far as anyone knows; an option does.
func (p *portal) linksChanged(from *table, a int64, to *table, b int64, removed bool) {
	p.recount(from, a, to)
	p.recount(to, b, from)
	for _, side := range []struct {
		t, other *table
		id, oid  int64
	}{{from, to, a, b}, {to, from, b, a}} {
		r, ok := side.t.load(side.id)
		if !ok {
			continue
		}
		if p.opts.AssociationBump && r.live() {
			before := r // the index keeps it
			r = *p.update(side.t, &before, nil, 0)
		}
		e := side.t.event(kindAssociationChange, &r)
		e.other, e.otherID, e.removed = side.other, side.oid, removed
		p.emit(e)
	}
}

// recount brings the calculated copies of a record's links up to date.
func (p *portal) recount(t *table, id int64, other *table) {
	r, ok := t.load(id)
	if !ok || r.gone() {
		return
	}
	links := p.allLinks(linkKey{t, id, other})
	values := map[string]string{}
	name := "num_associated_" + other.object.Name
	if _, ok := t.definitions.byName[name]; ok {
		values[name] = ""
		if len(links) > 0 {
			values[name] = formatID(int64(len(links)))
		}
	}
	if len(values) > 0 {
		before := r // the index keeps it
		r = *p.recalculate(t, &before, values)
	}
	p.copyCompany(t, &r, other, links)
}

// copyCompany keeps a contact's copy of its company's id. It is an ordinary property, so a change of it does bump.
func (p *portal) copyCompany(t *table, r *record, other *table, links []Link) {
	d, ok := t.definitions.byName["associatedcompanyid"]
	if !ok || other.object.Name != "companies" || !r.live() {
		return
	}
	company := ""
	if len(links) > 0 {
		company = formatID(links[0].To)
	}
	if t.value(r, d) != company {
		p.update(t, r, map[string]string{d.Name: company}, 0)
	}
}

// forgetLinks removes all links of a record, from both ends.
func (p *portal) forgetLinks(t *table, id int64) {
	for _, other := range p.tables {
		k := linkKey{t, id, other}
		for _, l := range p.allLinks(k) {
			p.dropLink(linkKey{other, l.To, t}, id)
			p.recount(other, l.To, t)
		}
		if len(p.allLinks(k)) > 0 {
			p.links[k] = nil
		}
	}
}
