package connector

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// property returns a property as the newest definitions in the log have it, nil if they lack it.
func (b *sourceBundle) property(object, name string) *schemas.Property {
	b.t.Helper()
	d, err := b.follower(object).log.definitions(b.t.Context())
	must(b.t, err)
	i := slices.IndexFunc(d.Properties, func(p schemas.Property) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &d.Properties[i]
}

func TestEveryChangeOfADefinitionIsAMessage(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 50}, Config{Objects: []string{"calls"}})
	b.sync()
	f, n := b.follower("calls"), b.count(schemas.KindProperties)
	read := func(what string) {
		t.Helper()
		must(t, f.prepare(t.Context()))
		n++
		equal(t, "definitions after "+what, b.count(schemas.KindProperties), n)
	}
	must(t, b.sim.DefineProperty("calls", simulator.Property{Name: "score", Label: "Score", Type: "string"}))
	read("a new property")
	equal(t, "label", b.property("calls", "score").Label, "Score")
	must(t, b.sim.DefineProperty("calls", simulator.Property{Name: "score", Label: "Points", Type: "string"}))
	read("a new label")
	equal(t, "label", b.property("calls", "score").Label, "Points")
	must(t, b.sim.DefineProperty("calls", simulator.Property{Name: "score", Label: "Points", Type: "number"}))
	read("another type")
	equal(t, "type", b.property("calls", "score").Type, "number")
	must(t, b.sim.DefineProperty("calls", simulator.Property{Name: "score", Label: "Points", Type: "number", Archived: true}))
	read("archiving")
	equal(t, "archived one", b.property("calls", "score"), nil)
	must(t, f.prepare(t.Context()))
	equal(t, "definitions when nothing changed", b.count(schemas.KindProperties), n)
}

// TestAnUnknownPropertyIsReadAtOnce has something name a property long before definitions are due.
func TestAnUnknownPropertyIsReadAtOnce(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 50, IndexLag: simulator.Lag{Off: true}},
		Config{Objects: []string{"calls"}, DefinitionsInterval: 90 * time.Second, PollInterval: 50 * time.Millisecond, Settle: 100 * time.Millisecond})
	b.sync()
	stop := b.run(b.source)
	eventually(t, "it works", func() bool { return b.source.Status()[0].Phase == PhaseLive })
	must(t, b.sim.DefineProperty("calls", simulator.Property{Name: "score", Type: "number"}))
	f := b.follower("calls")
	f.mention("hs_call_title")
	equal(t, "a known name is no hint", len(f.suspect), 0)
	f.mention("score")
	eventually(t, "its definition is in the log", func() bool { return b.property("calls", "score") != nil })
	must(t, stop())
}

// TestANewPropertysValuesAreFetchedAfterACrash ends a source between the definitions and the values.
func TestANewPropertysValuesAreFetchedAfterACrash(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 250, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"calls"}})
	b.sync()
	must(t, b.sim.DefineProperty("calls", simulator.Property{Name: "score", Type: "number", Calculated: true}))
	ids := b.sim.IDs("calls", 0, 250, 1)
	for _, id := range ids {
		must(t, b.sim.Recalculate("calls", id, map[string]string{"score": "42"}))
	}
	b.sim.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 403, Endpoint: "search"})
	if err := b.follower("calls").prepare(t.Context()); err == nil {
		t.Fatal("the values were read")
	}
	b.sim.ClearFaults()
	if b.property("calls", "score") == nil {
		t.Error("the definition waits for the values")
	}
	b.source = b.newSource(Config{Objects: []string{"calls"}})
	b.sync()
	for id, e := range b.states("calls") {
		if v, _ := e.Properties.Get("score"); v != "42" {
			t.Fatalf("%s has %q", id, v)
		}
	}
	equal(t, "still to be read once more", len(b.follower("calls").log.Cursor().NewProperties), 1)
	b.sim.Advance(10 * time.Minute)
	for range 3 {
		b.sync()
	}
	equal(t, "still to be read", len(b.follower("calls").log.Cursor().NewProperties), 0)
	b.noDuplicates()
}

// TestWhoDoesNotLeadPublishesNoDefinitions has a source that was overtaken notice a change.
func TestWhoDoesNotLeadPublishesNoDefinitions(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Deals: 20}, Config{Objects: []string{"deals"}})
	old := b.newSource(Config{Objects: []string{"deals"}})
	b.sync()
	before := b.count(schemas.KindProperties) + b.count(schemas.KindPipelines)
	must(t, b.sim.DefineProperty("deals", simulator.Property{Name: "score", Type: "number"}))
	if err := old.followers[0].prepare(t.Context()); !errors.Is(err, ErrStandby) {
		t.Errorf("got %v", err)
	}
	equal(t, "definitions and pipelines", b.count(schemas.KindProperties)+b.count(schemas.KindPipelines), before)
	b.sync()
	equal(t, "from the leader", b.count(schemas.KindProperties)+b.count(schemas.KindPipelines), before+1)
}
