package connector

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// TestARestoreRightBeforeTheFirstReadIsFound restores a record when the recycle bin has it no longer and the index not yet: a
// first read, most of which search does, passes it by. The comparison that a source makes after its first full read finds it.
func TestARestoreRightBeforeTheFirstReadIsFound(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 150, IndexLag: simulator.Lag{Min: time.Hour, Max: 2 * time.Hour}},
		Config{Objects: []string{"contacts"}, Associations: []string{"none"}})
	id := b.sim.IDs("contacts", 140, 1, 1)[0]
	must(t, b.sim.Archive("contacts", id))
	must(t, b.sim.Restore("contacts", id))
	b.sync()
	if b.states("contacts")[id] != nil {
		t.Fatal("the first read found it: this tests nothing")
	}
	reports, err := b.source.Verify(t.Context(), VerifyOptions{Repair: true})
	must(t, err)
	equal(t, "differences", len(reports[0].Kinds), 1)
	equal(t, "op", b.states("contacts")[id].Op, schemas.OpSnapshot)
	b.asInTruth("contacts")
}
