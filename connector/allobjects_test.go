package connector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// fullPortal has records of every standard object type, and custom ones of which one is named like a standard type.
func fullPortal() simulator.Options {
	o := simulator.Options{
		Records: map[string]int{}, Owners: 7, IndexLag: simulator.Lag{Off: true},
		CustomObjects: []simulator.CustomObject{{Name: "cars", Count: 40}, {Name: "contacts", Count: 30}},
	}
	for i, object := range hubspot.Objects() {
		o.Records[object.Name] = 5 + i*17%60
	}
	return o
}

func TestAllObjectsAreReadAtOnce(t *testing.T) {
	t.Parallel()
	b := setupSource(t, fullPortal(), Config{Objects: []string{"all"}, Associations: []string{"none"}})
	must(t, b.source.Backfill(t.Context()))
	names := []string{"p_cars", "p_contacts"}
	for _, o := range hubspot.Objects() {
		names = append(names, o.Name)
	}
	equal(t, "object types", len(b.source.Status()), len(names)+1)
	b.loaded(names...)
	for _, name := range names {
		b.nothingLost(name, b.sim.Now())
	}
	equal(t, "owners", len(b.states("owners")), len(b.sim.Owners()))
	// What changes later is found in every one of them.
	for _, name := range names {
		id := b.sim.IDs(name, 2, 1, 1)[0]
		must(t, b.sim.Update(name, id, map[string]string{"hubspot_owner_id": "77"}))
	}
	b.sync()
	for _, name := range names {
		b.nothingLost(name, b.sim.Now().Add(time.Hour))
	}
}

func TestAllLeavesOutWhatTheTokenMayNotRead(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 20, Calls: 20, Records: map[string]int{"leads": 20}, CustomObjects: []simulator.CustomObject{{Name: "cars", Count: 20}}},
		Config{Objects: []string{"all"}, Associations: []string{"none"}, DefinitionsInterval: 100 * time.Millisecond, PollInterval: 50 * time.Millisecond})
	deny := func(denied bool) {
		for _, scope := range []string{"crm.objects.leads.read", "crm.schemas.leads.read", "crm.objects.owners.read"} {
			b.sim.DenyScope(scope, denied)
		}
	}
	deny(true)
	must(t, b.source.Backfill(t.Context()))
	b.nothingLost("contacts", b.sim.Now())
	b.nothingLost("p_cars", b.sim.Now())
	equal(t, "runs of leads", len(b.runs("leads")), 0)
	for _, s := range b.source.Status() {
		if left := s.Object == "leads" || s.Object == "owners"; left != (s.Phase == PhaseForbidden) {
			t.Errorf("%s is %s", s.Object, s.Phase)
		} else if left && !strings.Contains(s.LastError, "crm.") {
			t.Errorf("%s: no scope in %q", s.Object, s.LastError)
		}
	}

	// Once the scope is granted the type is read, without a restart.
	stop := b.run(b.source)
	eventually(t, "the others are followed", func() bool { return b.phase("contacts") == PhaseLive && b.phase("leads") == PhaseForbidden })
	deny(false)
	eventually(t, "leads are read", func() bool { return b.phase("leads") == PhaseLive && b.count(schemas.KindRecord) >= 80 })
	must(t, stop())
	b.nothingLost("leads", b.sim.Now())
}

func TestObjectTypesHaveManyNames(t *testing.T) {
	t.Parallel()
	for _, names := range []string{
		"contacts,deals,line_items,orders,p_contacts,p_cars", "contact,deal,line_item,order,p_contacts,cars",
		"0-1,0-3,0-8,0-123,2-3400017,2-3400000", "contacts,deals,line_items,orders,p4711_contacts,p4711_cars",
	} {
		t.Run(names, func(t *testing.T) {
			t.Parallel()
			b := setupSource(t, fullPortal(), Config{Objects: strings.Split(names, ",")})
			var got []string
			for _, s := range b.source.Status() {
				got = append(got, s.Object)
			}
			equal(t, "objects", fmt.Sprint(got), "[contacts deals line_items orders p_contacts p_cars]")
		})
	}
}

func TestCustomObjectsThatTheTokenMayNotReadDoNotStopTheOthers(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 20, CustomObjects: []simulator.CustomObject{{Name: "cars", Count: 20}}}, Config{Objects: []string{"contacts"}})
	b.sim.DenyScope("crm.schemas.custom.read", true)
	b.sim.DenyScope("crm.objects.custom.read", true)
	source := b.newSource(Config{Objects: []string{"contacts", "p_cars"}})
	must(t, source.Sync(t.Context()))
	b.nothingLost("contacts", b.sim.Now())
	status := source.Status()
	last := status[len(status)-1]
	equal(t, "object", last.Object, "p_cars")
	equal(t, "phase", last.Phase, PhaseForbidden)
	if !strings.Contains(last.LastError, "custom") {
		t.Errorf("no scope in %q", last.LastError)
	}
}

// phase returns what the source does for an object type.
func (b *sourceBundle) phase(object string) Phase {
	for _, s := range b.source.Status() {
		if s.Object == object {
			return s.Phase
		}
	}
	return ""
}

// HubSpot rule: some properties cannot be used in filters. One that appears is no reason to stop.
func TestANewPropertyThatCannotBeSearchedForStopsNothing(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 20, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"calls"}})
	preview, err := b.sim.PropertyNamed("calls", "hs_body_preview_html")
	must(t, err)
	preview.Archived = true
	must(t, b.sim.DefineProperty("calls", preview))
	b.sync()
	preview.Archived = false
	must(t, b.sim.DefineProperty("calls", preview))
	id := b.sim.IDs("calls", 3, 1, 1)[0]
	must(t, b.sim.Update("calls", id, map[string]string{"hs_body_preview_html": "<p>new</p>"}))
	b.sync()
	if e := b.states("calls")[id]; e.Properties.Map()["hs_body_preview_html"] != "<p>new</p>" {
		t.Errorf("the call has %v", e.Properties.Map())
	}
}
