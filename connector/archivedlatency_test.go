package connector

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// TestEndsAreInTheLogWithinAWalkOfHappening measures how long it takes without webhooks, in a source that runs.
func TestEndsAreInTheLogWithinAWalkOfHappening(t *testing.T) {
	t.Parallel()
	every := 500 * time.Millisecond
	b := setupSource(t, simulator.Options{Contacts: 300, DailyLimit: 1_000_000_000, IndexLag: simulator.Lag{Off: true}}, Config{
		Objects: []string{"contacts"}, PollInterval: 200 * time.Millisecond, ArchivedInterval: every, Associations: []string{"none"},
	})
	stop := b.run(b.source)
	ids := b.sim.IDs("contacts", 0, 20, 1)
	op := func(id string) schemas.Op {
		events := b.events(id)
		if len(events) == 0 {
			return ""
		}
		return events[len(events)-1].Op
	}
	is := func(what, id string, want schemas.Op) {
		t.Helper()
		began := time.Now()
		eventually(t, what, func() bool { return op(id) == want })
		t.Logf("%s: %s in the log after %s, walks every %s", what, want, time.Since(began).Round(time.Millisecond), every)
	}
	is("load", ids[19], schemas.OpSnapshot)
	for i := range 3 {
		must(t, b.sim.Archive("contacts", ids[i]))
		is("archive", ids[i], schemas.OpArchived)
		must(t, b.sim.Restore("contacts", ids[i]))
		is("restore", ids[i], schemas.OpRestored)
		_, err := b.sim.Merge("contacts", ids[10+i], ids[15+i])
		must(t, err)
		is("merge", ids[15+i], schemas.OpMerged)
	}
	must(t, stop())
}
