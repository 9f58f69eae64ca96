package connector

import (
	"testing"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// TestOwnersThatPagingHidesAreFound has pages of owners cut, skipped, garbled and going round in circles.
func TestOwnersThatPagingHidesAreFound(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{
		simulator.FaultNoPaging, simulator.FaultSkip, simulator.FaultLoop, simulator.FaultMalformed,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setupSource(t, simulator.Options{Owners: 1200}, Config{Objects: []string{"owners"}})
			b.sim.Inject(simulator.Fault{Kind: kind, Endpoint: "owners", Count: 1})
			b.sync()
			equal(t, "owners", len(b.states("owners")), len(b.sim.Owners()))
			for _, dead := range b.messages() {
				if dead.subject.Kind == schemas.KindDeadLetter {
					t.Error("an owner is a dead letter")
				}
			}
		})
	}
}

// TestAnOwnerComesAndGoesWithoutASign has an owner deactivated and activated again; HubSpot moves no time for either.
func TestAnOwnerComesAndGoesWithoutASign(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Owners: 4}, Config{Objects: []string{"owners"}})
	b.sync()
	o := b.sim.Owners()[0]
	for _, want := range []schemas.Op{schemas.OpArchived, schemas.OpRestored, schemas.OpArchived} {
		before := b.states("owners")[o.ID]
		if o.Archived = want == schemas.OpArchived; before.Archived == o.Archived {
			continue // this one was deactivated from the start
		}
		b.sim.SetOwner(o)
		b.sync()
		e := b.states("owners")[o.ID]
		equal(t, "op", e.Op, want)
		equal(t, "archived", e.Archived, o.Archived)
		equal(t, "modified at the same time", e.UpdatedAt.Equal(before.UpdatedAt) && e.SameTime, true)
	}
	b.sync()
	b.noDuplicates()
	status := b.source.Status()[0]
	equal(t, "watermark", status.CompleteThrough.IsZero(), false)
	runs := b.runs("owners")
	equal(t, "a run says how far it is complete", runs[len(runs)-1].CompleteThrough.IsZero(), false)
}
