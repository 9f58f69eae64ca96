package connector

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// watchAt is a watch with a clock of its own.
func watchAt(now *time.Time) *hintWatch { return &hintWatch{now: func() time.Time { return *now }} }

func found(id string, op schemas.Op, at time.Time, changed ...string) []*schemas.Event {
	return []*schemas.Event{{ID: id, Op: op, UpdatedAt: at, Changed: changed}}
}

func TestAChangeThatNoWebhookToldOfIsNoticed(t *testing.T) {
	t.Parallel()
	now := day
	w := watchAt(&now)
	w.find(found("1", schemas.OpCreated, now))
	now = now.Add(time.Hour)
	if w.report() != nil {
		t.Error("there are no webhooks, and something is said of them")
	}

	w.hear(hint("1", 0))
	w.find(found("2", schemas.OpUpdated, now.Add(-time.Second), "city")) // before webhooks came
	now = now.Add(time.Hour)
	told := now
	for _, name := range []string{"city", "city", "zip"} {
		w.find(found("3", schemas.OpUpdated, told, name, "lastmodifieddate"))
	}
	w.find(found("3", schemas.OpCreated, told))
	w.find(found("3", schemas.OpUpdated, told, "hs_lastmodifieddate")) // which nobody can subscribe
	w.find(found("4", schemas.OpUpdated, told, "city"))                // told of before
	w.find(found("5", schemas.OpUpdated, told, "city"))                // told of late
	w.find(found("6", schemas.OpUpdated, told, "city"))                // told of something older
	late := func(id string, at time.Time) *schemas.Hint {
		h := hint(id, 0)
		h.OccurredAt = at
		return h
	}
	w.hear(late("4", told))
	now = now.Add(watchPatience - time.Second)
	w.hear(late("5", told.Add(time.Second)))
	w.hear(late("6", told.Add(-time.Hour)))
	equal(t, "judged too early", len(w.report().Missed), 0)
	now = now.Add(time.Minute)
	r := w.report()
	equal(t, "since", r.Since, day.Add(time.Hour))
	equal(t, "hints", r.Hints, 4)
	equal(t, "missed", fmt.Sprint(r.Missed), "map[creation:1 propertyChange:4]")
	equal(t, "properties", fmt.Sprint(r.Properties), "map[city:3 zip:1]")
}

// TestAReceiverThatHearsNothingIsNoticed has a receiver that no webhook reaches, and then one subscription of several.
func TestAReceiverThatHearsNothingIsNoticed(t *testing.T) {
	t.Parallel()
	now := day
	w := watchAt(&now)
	w.expect()
	equal(t, "too early", w.report().Judged.IsZero(), true)
	w.find(found("1", schemas.OpCreated, now.Add(-time.Second))) // before the source was there
	w.find(found("2", schemas.OpCreated, now))
	now = now.Add(watchPatience - time.Second)
	equal(t, "judged too early", len(w.report().Missed), 0)
	now = now.Add(2 * time.Second)
	r := w.report()
	equal(t, "hints", r.Hints, 0)
	equal(t, "missed", fmt.Sprint(r.Missed), "map[creation:1]")
	equal(t, "judged", r.Judged, day.Add(time.Second))

	w.hear(hint("3", 0)) // somebody subscribes something
	r = w.report()
	equal(t, "begun anew", len(r.Missed), 0)
	equal(t, "too early again", r.Judged.IsZero(), true)
	now = now.Add(watchPatience + time.Second)
	w.find(found("3", schemas.OpUpdated, now, "city"))
	now = now.Add(watchPatience)
	equal(t, "missed", fmt.Sprint(w.report().Missed), "map[propertyChange:1]")
	equal(t, "judged again", w.report().Judged.IsZero(), false)
}

func TestWhatIsRememberedOfWebhooksIsBounded(t *testing.T) {
	t.Parallel()
	now := day
	w := watchAt(&now)
	h := hint("0", 0)
	for i := range 3 * watchMost {
		h.ID, h.OccurredAt = fmt.Sprint(i), now
		w.hear(h)
		now = now.Add(time.Millisecond)
	}
	if len(w.heard) > watchMost {
		t.Errorf("%d ids", len(w.heard))
	}
	// With more than it can remember it accuses nobody.
	w.find(found("x", schemas.OpCreated, now.Add(time.Hour)))
	now = now.Add(time.Hour)
	equal(t, "missed", len(w.report().Missed), 0)
}

func TestMissingSubscriptionsAreInTheLog(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, simulator.Options{Contacts: 20, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"contacts"}, Settle: time.Second})
	b.sync()
	f := b.follower("contacts")
	f.heard.hear(hint("none", 0))
	f.heard.since = f.heard.since.Add(-time.Hour) // webhooks have come for long
	id := b.sim.IDs("contacts", 0, 1, 1)[0]
	must(t, b.sim.Update("contacts", id, map[string]string{"city": "Nowhere"}))
	b.poll("contacts")
	equal(t, "found, not judged yet", len(f.heard.found), 1)
	f.heard.found[0].found = f.heard.found[0].found.Add(-time.Hour)
	must(t, b.sim.Update("contacts", id, map[string]string{"city": "Somewhere"}))
	b.poll("contacts") // its cursor says so
	status, err := ReadStatus(t.Context(), b.js, "HUBSPOT", b.source.Portal())
	must(t, err)
	w := status.Objects[0].Cursor.Webhooks
	if w == nil {
		t.Fatal("the cursor says nothing")
	}
	equal(t, "missed", fmt.Sprint(w.Missed), "map[propertyChange:1]")
	equal(t, "city", w.Properties["city"], 1) // HubSpot fills in some others with it
}

func TestSubscriptionsAreWhatHubSpotOffers(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 10, Companies: 5, Calls: 5, CustomObjects: []simulator.CustomObject{{Name: "car", Count: 5}}}),
		Config{Objects: []string{"contacts", "companies", "products", "calls", "p_car", "owners"}, Settle: 50 * time.Millisecond})
	list, err := Subscriptions(t.Context(), b.source.cfg.Client, b.source.cfg.Objects)
	must(t, err)
	has := func(typ, object, property string) bool {
		return slices.ContainsFunc(list, func(s Subscription) bool { return s.Type == typ && s.Object == object && s.Property == property })
	}
	for _, want := range [][3]string{
		{"contact.creation", "contacts"}, {"contact.merge", "contacts"}, {"contact.restore", "contacts"}, {"contact.deletion", "contacts"},
		{"contact.privacyDeletion", "contacts"}, {"contact.associationChange", "contacts"}, {"contact.propertyChange", "contacts", "city"},
		{"company.creation", "companies"}, {"product.creation", "products"}, {"object.creation", "calls"}, {"object.associationChange", "p_car"},
		{"object.propertyChange", "calls", "hs_call_title"},
	} {
		equal(t, fmt.Sprint(want), has(want[0], want[1], want[2]), true)
	}
	for _, s := range list {
		if s.Type == "product.associationChange" || s.Object == "owners" || slices.Contains(unsubscribable, s.Property) {
			t.Errorf("not to be had: %+v", s)
		}
		if s.Property != "" {
			p, err := b.sim.PropertyNamed(s.Object, s.Property)
			must(t, err)
			equal(t, s.Property+" is calculated", p.Calculated, false)
		}
		equal(t, "type id of "+s.Object, s.ObjectTypeID != "", true)
	}

	// With these and no others every change is told of.
	var subscribed []simulator.Subscription
	for _, s := range list {
		subscribed = append(subscribed, simulator.Subscription{Type: s.Type, Object: s.ObjectTypeID, Property: s.Property})
	}
	b.sync()
	stop := b.follow()
	b.deliver(simulator.Webhooks{Subscriptions: subscribed})
	must(t, b.sim.Update("contacts", b.sim.IDs("contacts", 0, 1, 1)[0], map[string]string{"city": "Rome"}))
	must(t, b.sim.Update("calls", b.sim.IDs("calls", 0, 1, 1)[0], map[string]string{"hs_call_title": "Hi"}))
	must(t, b.sim.Update("p_car", b.sim.IDs("p_car", 0, 1, 1)[0], map[string]string{"name": "Red"}))
	company := b.sim.IDs("companies", 0, 1, 1)[0]
	must(t, b.sim.Archive("companies", company))
	for _, object := range []string{"contacts", "calls", "p_car", "companies"} {
		b.drained(object)
	}
	must(t, stop())
	for _, s := range b.source.Status() {
		if s.Object == "contacts" && (s.Hints < 1 || s.Hydrated != 1) {
			t.Errorf("%s: %d hints, %d records read", s.Object, s.Hints, s.Hydrated)
		}
	}
	for _, object := range []string{"contacts", "calls", "p_car"} {
		b.nothingLost(object, b.sim.Now().Add(time.Hour))
	}
	equal(t, "archived", b.states("companies")[company].Archived, true)
}
