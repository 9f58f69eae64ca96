package simulator

import (
	"errors"
	"slices"
	"strings"
)

// ErrTooManyMerges is returned when a record would absorb more than HubSpot allows.
var ErrTooManyMerges = errors.New("cannot have more than 250 identities on a profile")

const maxIdentities = 250

// merge joins two records. HubSpot rule: the result has a new, third id (a beta keeps the primary's); every id that it
// absorbed is named in hs_merged_object_ids and resolves to it.
func (p *portal) merge(t *table, primary, other *record) (*record, error) {
	absorbed := p.absorbed(t, primary)
	for _, id := range p.absorbed(t, other) {
		if !slices.Contains(absorbed, id) {
			absorbed = append(absorbed, id)
		}
	}
	losers := []*record{other}
	if !p.opts.MergeIntoPrimary {
		losers = []*record{primary, other}
	}
	for _, l := range losers {
		absorbed = append(absorbed, formatID(l.id))
	}
	if len(absorbed) > maxIdentities {
		return nil, ErrTooManyMerges
	}
	values := p.joined(t, primary, other)
	values["hs_merged_object_ids"] = strings.Join(absorbed, ";")

	winner := p.mergeResult(t, primary, other, values)
	for _, l := range losers {
		p.moveLinks(t, l.id, winner.id)
		n := p.next(l)
		n.mergedInto = winner.id
		t.store(n, l)
	}
	now, _ := t.load(winner.id) // its counters changed with the links
	winner = &now
	e := t.event(kindMerge, winner)
	e.primary, e.merged, e.moved = primary.id, []int64{other.id}, len(values)
	p.emit(e)
	return winner, nil
}

// mergeResult stores the record that a merge leaves.
func (p *portal) mergeResult(t *table, primary, other *record, values map[string]string) *record {
	winner := p.next(primary)
	winner.edits = primary.withEdits(values)
	winner.created = min(primary.created, other.created)
	p.bump(winner)
	if p.opts.MergeIntoPrimary {
		t.store(winner, primary)
		return winner
	}
	winner.id, winner.index = t.alloc.next(), -1
	winner.seed = 0 // base values depend on the id: the winner carries all its values as edits
	winner.edits = (&record{}).withEdits(values)
	t.store(winner, nil)
	return winner
}

func (p *portal) absorbed(t *table, r *record) []string {
	ids, _ := r.edit("hs_merged_object_ids")
	if ids == "" {
		return nil
	}
	return strings.Split(ids, ";")
}

// joined returns the values of the result: the primary's, and the other's where the primary has none.
func (p *portal) joined(t *table, primary, other *record) map[string]string {
	values := map[string]string{}
	for _, d := range t.definitions.sorted {
		if d.system != notSystem {
			continue
		}
		v := t.value(primary, d)
		if v == "" {
			v = t.value(other, d)
		}
		if v != "" {
			values[d.Name] = v
		}
	}
	return values
}

// moveLinks hands the links of a record that is merged away to the winner.
func (p *portal) moveLinks(t *table, from, to int64) {
	if from == to {
		return
	}
	for _, other := range p.tables {
		old := p.allLinks(linkKey{t, from, other})
		if len(old) == 0 {
			continue
		}
		for _, l := range slices.Clone(old) {
			if back := (linkKey{other, l.To, t}); p.dropLink(back, from) {
				p.setLink(back, to, linkTypes(other, t))
			}
			p.setLink(linkKey{t, to, other}, l.To, l.Types)
			p.recount(other, l.To, t)
		}
		p.links[linkKey{t, from, other}] = nil
		p.recount(t, to, other)
	}
}
