package connector

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// chaosState is what a copy of the portal has of a record: the log's last event of it, or a row of another connector.
type chaosState struct {
	modified int64
	hash     uint64
	gone     bool       // archived or ended in some other way
	op       schemas.Op // "" if the copy does not tell
}

// chaosTally is what became of the changes of one kind.
type chaosTally struct {
	changes, lost, wrong, duplicates int
	all, afterIndex                  []int64 // how long changes took to the log, from when they were made and from when search knew them; ms
}

// chaosVerdict is what came out.
type chaosVerdict struct {
	kinds [chaosKinds]chaosTally
	first []string // some of what is lost or wrong, in words
}

func (v *chaosVerdict) note(format string, args ...any) {
	if len(v.first) < 10 {
		v.first = append(v.first, fmt.Sprintf(format, args...))
	}
}

// judgeCopy holds a copy against the truth: lost is a record whose last state did not get there, wrong one that did but
// with other values, and one that is not in the portal.
func judgeCopy(sim *simulator.Simulator, ledger *chaosLedger, state func(chaosID) (chaosState, bool)) *chaosVerdict {
	v, last := &chaosVerdict{}, ledger.last()
	for _, object := range chaosObjects {
		for truth := range sim.Truth(object) {
			id := chaosIDOf(object, truth.ID)
			change, changed := last[id]
			if !changed {
				change.kind = chaosUpdate // a record of the beginning that is lost is lost all the same
			}
			has, known := state(id)
			switch judgeState(truth, has, known) {
			case chaosLost:
				v.kinds[change.kind].lost++
				v.note("lost: %s %s, last change %s of %d: the copy has %s of %d (gone %v), search knows it since %d", object, truth.ID, change.kind,
					truth.UpdatedAt.UnixMilli(), cmp.Or(string(has.op), "nothing"), has.modified, has.gone, change.indexed)
			case chaosWrong:
				if changed && !change.bumped && change.live && has.modified == truth.UpdatedAt.UnixMilli() && !ledger.reread {
					continue // a counter that a merge of others moved, as calculated values are: no search shows it as changed
				}
				v.kinds[change.kind].wrong++
				v.note("wrong: %s %s, last change %s of %d: the copy has %s of %d with other values", object, truth.ID, change.kind,
					truth.UpdatedAt.UnixMilli(), cmp.Or(string(has.op), "a row"), has.modified)
			}
		}
	}
	return v
}

// chaosOutcome is what a copy is, beside the truth.
type chaosOutcome int

const (
	chaosRight chaosOutcome = iota
	chaosLost
	chaosWrong
)

// judgeState judges one record.
func judgeState(truth simulator.TruthRecord, has chaosState, known bool) chaosOutcome {
	modified := truth.UpdatedAt.UnixMilli()
	ended := truth.Purged || truth.MergedInto != "" || truth.Archived
	switch {
	case ended && (!known || has.gone):
		wants := schemas.OpArchived
		if truth.Purged {
			wants = schemas.OpPurged
		} else if truth.MergedInto != "" {
			wants = schemas.OpMerged
		}
		if known && has.op != "" && has.op != wants {
			return chaosWrong
		}
		return chaosRight // who never heard of a record need not hear of its end
	case ended, !known, has.gone, has.modified < modified:
		return chaosLost
	}
	if hash, err := chaosHash(schemas.ContentHash(false, "", schemas.MakeProperties(truth.Properties))); err != nil || hash != has.hash || has.modified > modified {
		return chaosWrong
	}
	return chaosRight
}

// judge holds the log against the truth.
func (l *chaosLog) judge(sim *simulator.Simulator) *chaosVerdict {
	l.mu.Lock()
	states := make(map[chaosID]chaosState, len(l.history))
	for id, history := range l.history {
		e := history[len(history)-1]
		gone := e.op == schemas.OpArchived || e.op == schemas.OpMerged || e.op == schemas.OpPurged
		states[id] = chaosState{modified: e.modified, hash: e.hash, gone: gone, op: e.op}
	}
	l.mu.Unlock() // judging takes a while, in which the log goes on
	return judgeCopy(sim, l.ledger, func(id chaosID) (chaosState, bool) {
		state, ok := states[id]
		return state, ok
	})
}

// measure adds to the verdict what is twice in the log, and how long the changes took.
func (l *chaosLog) measure(v *chaosVerdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ledger.mu.Lock()
	changes := slices.Clone(l.ledger.changes)
	l.ledger.mu.Unlock()
	last := make(map[chaosID]chaosKind, len(changes))
	for _, c := range changes {
		tally := &v.kinds[c.kind]
		tally.changes++
		last[c.record] = c.kind
		if stored, ok := c.arrival(l.history[c.record]); ok {
			tally.all = append(tally.all, stored-c.at)
			tally.afterIndex = append(tally.afterIndex, max(0, stored-max(c.at, c.indexed)))
		}
	}
	for id, n := range l.duplicates {
		v.kinds[last[id]].duplicates += n
		v.note("%d duplicate events of %s %d", n, chaosObjects[id.object], id.id)
	}
}

// arrival returns when a change, or a newer one of the same record, was stored in the log.
func (c *chaosChange) arrival(history []chaosEvent) (stored int64, ok bool) {
	for _, e := range history {
		if c.bumped && e.modified >= c.modified || !c.bumped && e.stored >= c.at {
			return e.stored, true
		}
	}
	return 0, false
}

// failures returns how many records and sets of links are not as they are in the portal.
func (v *chaosVerdict) failures() (n int) {
	for _, t := range v.kinds {
		n += t.lost + t.wrong
	}
	return n
}

// table prints the verdict, with times at HubSpot's pace.
func (v *chaosVerdict) table(clock float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-12s %9s %6s %6s %6s   %-28s %s\n", "kind", "changes", "lost", "wrong", "dupes", "to the log, p50 p95 max (s)", "after search knew, p50 p95 max (s)")
	var sum chaosTally
	row := func(name string, t chaosTally) {
		fmt.Fprintf(&b, "%-12s %9d %6d %6d %6d   %-28s %s\n", name, t.changes, t.lost, t.wrong, t.duplicates, quantiles(t.all, clock), quantiles(t.afterIndex, clock))
	}
	for kind, t := range v.kinds {
		if t.changes == 0 && t.lost+t.wrong+t.duplicates == 0 {
			continue
		}
		row(chaosKind(kind).String(), t)
		sum.changes, sum.lost, sum.wrong, sum.duplicates = sum.changes+t.changes, sum.lost+t.lost, sum.wrong+t.wrong, sum.duplicates+t.duplicates
		sum.all, sum.afterIndex = append(sum.all, t.all...), append(sum.afterIndex, t.afterIndex...)
	}
	row("all", sum)
	return b.String()
}

// quantiles returns the median, the 95th percentile and the greatest of times in ms, in seconds at HubSpot's pace.
func quantiles(ms []int64, clock float64) string {
	if len(ms) == 0 {
		return "-"
	}
	slices.Sort(ms)
	at := func(q float64) string {
		i := int(math.Ceil(q*float64(len(ms)))) - 1
		return strconv.FormatFloat(float64(ms[max(i, 0)])/1000/clock, 'f', 1, 64)
	}
	return at(0.5) + " " + at(0.95) + " " + at(1)
}
