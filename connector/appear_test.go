package connector

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// newcomers is a portal with a custom object type that is not there yet.
func newcomers() simulator.Options {
	return simulator.Options{
		Contacts: 30, IndexLag: simulator.Lag{Off: true},
		CustomObjects: []simulator.CustomObject{{Name: "cars", Count: 40, Archived: true}, {Name: "boats", Count: 5}},
	}
}

func TestACustomObjectThatAppearsIsReadWithoutARestart(t *testing.T) {
	t.Parallel()
	b := setupSource(t, newcomers(), Config{
		Objects: []string{"contacts", "p_cars"}, DefinitionsInterval: 300 * time.Millisecond, PollInterval: 150 * time.Millisecond,
	})
	stop := b.run(b.source)
	eventually(t, "contacts are followed", func() bool { return b.phase("contacts") == PhaseLive })
	equal(t, "phase of what is not there", b.phase("p_cars"), PhaseForbidden)
	before := b.follower("contacts")
	must(t, b.sim.ArchiveSchema("cars", false))
	eventually(t, "cars are followed", func() bool { return b.phase("p_cars") == PhaseLive })
	// What changes from now on is followed, in the new type as in the old one.
	car, contact := b.sim.IDs("p_cars", 3, 1, 1)[0], b.sim.IDs("contacts", 3, 1, 1)[0]
	must(t, b.sim.Update("p_cars", car, map[string]string{"name": "beetle"}))
	must(t, b.sim.Update("contacts", contact, map[string]string{"city": "Wolfsburg"}))
	eventually(t, "changes", func() bool {
		return b.value("p_cars", car, "name") == "beetle" && b.value("contacts", contact, "city") == "Wolfsburg"
	})
	must(t, stop())
	if b.follower("contacts") != before {
		t.Error("contacts are followed by somebody else")
	}
	b.nothingLost("p_cars", b.sim.Now())
	b.nothingLost("contacts", b.sim.Now())
}

func TestACustomObjectThatAppearsIsPartOfAll(t *testing.T) {
	t.Parallel()
	b := setupSource(t, newcomers(), Config{Objects: []string{"all"}, DefinitionsInterval: time.Millisecond})
	if b.source.followerOf(b.follower("p_boats").object) == nil {
		t.Error("p_boats is not followed")
	}
	n := len(b.source.Status())
	must(t, b.sim.ArchiveSchema("cars", false))
	if err := b.source.watchObjects(t.Context()); !errors.Is(err, errObjectsChanged) {
		t.Fatalf("error %v", err)
	}
	must(t, b.source.adopt(t.Context()))
	equal(t, "object types", len(b.source.Status()), n+1)
	equal(t, "p_cars may be left out", b.follower("p_cars").optional, true)
	// Who may not look does not take that for their going.
	b.sim.DenyScope("crm.schemas.custom.read", true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	must(t, b.source.watchObjects(ctx))
}

func TestACustomObjectThatDisappearsIsAskedForNoLonger(t *testing.T) {
	t.Parallel()
	b := setupSource(t, newcomers(), Config{Objects: []string{"contacts", "boats"}, DefinitionsInterval: 300 * time.Millisecond, PollInterval: 150 * time.Millisecond})
	stop := b.run(b.source)
	eventually(t, "boats are followed", func() bool { return b.phase("p_boats") == PhaseLive && len(b.states("p_boats")) == 5 })
	must(t, b.sim.ArchiveSchema("boats", true))
	eventually(t, "boats are gone", func() bool { return b.phase("p_boats") == PhaseForbidden })
	for _, s := range b.source.Status() {
		if s.Object == "p_boats" && !strings.Contains(s.LastError, "no such custom object") {
			t.Errorf("status says %q", s.LastError)
		}
	}
	must(t, b.sim.ArchiveSchema("boats", false))
	eventually(t, "boats are back", func() bool { return b.phase("p_boats") == PhaseLive })
	must(t, stop())
	equal(t, "boats in the log", len(b.states("p_boats")), 5)
}

func TestAOneShotRunNeedsTheCustomObjectsThatAreNamed(t *testing.T) {
	t.Parallel()
	b := setupSource(t, newcomers(), Config{Objects: []string{"contacts", "p_cars"}})
	if err := b.source.Sync(t.Context()); !errors.Is(err, ErrUnknownObject) || !strings.Contains(err.Error(), "p_cars") {
		t.Errorf("error %v", err)
	}
	if err := b.source.Backfill(t.Context()); !errors.Is(err, ErrUnknownObject) {
		t.Errorf("error %v", err)
	}
	must(t, b.source.Backfill(t.Context(), "contacts"))
}
