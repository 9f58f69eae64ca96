package connector

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// mergedProperty lists what a record has absorbed. HubSpot rule: the ids are joined by ";", all of them through a chain of
// merges, at most 250. The record that a merge leaves often has an id of its own: then both old ids are in its list.
const mergedProperty = "hs_merged_object_ids"

// maxAbsorbed bounds how many ids of merged-away records are remembered.
const maxAbsorbed = 100_000

// absorb adds to the draft how the records ended that its records say they have absorbed, each right behind its winner, so
// that both get into the log in one batch. HubSpot shows nothing else of a merge: the losers are silently gone.
func (l *objectLog) absorb(ctx context.Context, d *draft) error {
	winners := l.winners(d)
	if len(winners) == 0 {
		return nil
	}
	known := make(map[string]*entry)
	for _, e := range d.entries {
		if e.dead == nil && e.links == nil {
			known[e.id()] = e
		}
	}
	final := make(map[string]*entry, len(winners))
	for id := range winners {
		final[id] = finalWinner(winners, id)
	}
	losers := make(map[*entry][]*entry)
	moved := make(map[*entry]bool)
	var fresh []*entry
	for _, id := range slices.Sorted(maps.Keys(final)) {
		w, e := final[id], known[id]
		switch {
		case e == w || e != nil && e.done:
			continue
		case e == nil:
			e = &entry{subject: l.subjectOf(id), derived: true}
			fresh = append(fresh, e)
		}
		e.record = hubspot.Record{}
		e.ending = &ending{ID: id, Op: schemas.OpMerged, MergedInto: w.record.ID, At: w.record.UpdatedAt}
		losers[w] = append(losers[w], e)
		moved[e] = true
	}
	if err := l.lookup(ctx, fresh, false); err != nil {
		return err
	}
	entries := make([]*entry, 0, len(d.entries)+len(fresh))
	for _, e := range d.entries {
		if !moved[e] {
			entries = append(entries, e)
		}
		for _, loser := range losers[e] {
			// A record that the log never had has no end in it.
			if loser.judge(reading{}); loser.verdict == changed || !loser.derived {
				loser.behind = true
				entries = append(entries, loser)
			}
		}
	}
	d.entries = entries
	return nil
}

// winners returns the records of the draft that say something new about what they have absorbed, by the ids of the losers.
func (l *objectLog) winners(d *draft) map[string]*entry {
	winners := make(map[string]*entry)
	for _, e := range d.open() {
		for _, id := range e.newlyAbsorbed() {
			if other := winners[id]; other == nil || e.hasAbsorbed(other.record.ID) {
				winners[id] = e
			}
			if l.absorbed == nil || len(l.absorbed) >= maxAbsorbed {
				l.absorbed = make(map[string]bool)
			}
			l.absorbed[id] = true
		}
	}
	return winners
}

// finalWinner follows merges within the draft from a loser to the record that has it now.
func finalWinner(winners map[string]*entry, id string) *entry {
	w := winners[id]
	for range winners { // no chain is longer, and one in a circle must end
		next := winners[w.record.ID]
		if next == nil || next == w {
			break
		}
		w = next
	}
	return w
}

// newlyAbsorbed returns the ids that the record lists and its last event does not. Nothing is new of a record that is not
// published.
func (e *entry) newlyAbsorbed() []string {
	if e.verdict != changed || e.dead != nil || e.links != nil || e.ending != nil {
		return nil
	}
	listed := absorbedBy(e.record.Properties)
	if before := e.last.event(); len(listed) > 0 && before != nil {
		had := absorbedBy(before.Properties)
		listed = slices.DeleteFunc(listed, func(id string) bool { return slices.Contains(had, id) })
	}
	return slices.DeleteFunc(listed, func(id string) bool { return id == e.record.ID })
}

func (e *entry) hasAbsorbed(id string) bool {
	return slices.Contains(absorbedBy(e.record.Properties), id)
}

// absorbedBy returns the ids that a record with these properties has absorbed. What is no id is left out.
func absorbedBy(p schemas.Properties) (ids []string) {
	if !bytes.Contains(p, []byte(mergedProperty)) { // as with nearly all records; this is much faster than Get
		return nil
	}
	list, _ := p.Get(mergedProperty)
	for id := range strings.SplitSeq(list, ";") {
		if id = strings.TrimSpace(id); isID(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// isID reports whether the text is a record's id in its canonical form.
func isID(text string) bool {
	if text == "" || len(text) > 18 || text[0] == '0' {
		return false
	}
	return strings.Trim(text, "0123456789") == ""
}
