package connector

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// TestReceiversLearnCustomObjectsThatAppear has a receiver that knew only contacts when it began, and another source that reads
// what appears.
func TestReceiversLearnCustomObjectsThatAppear(t *testing.T) {
	t.Parallel()
	portal := newcomers()
	cfg := Config{Objects: []string{"contacts", "p_cars"}}
	b := setupWebhooks(t, portal, cfg) // its source never runs
	b.receiver.custom.again = 0
	must(t, b.sim.ArchiveSchema("cars", false))
	leader := b.newSource(Config{Objects: []string{"contacts", "p_cars", "p_boats"}})
	types := map[string]string{}
	for _, f := range leader.followers {
		types[f.object.Name] = f.object.TypeID
	}
	tell := func(object string, id int) {
		t.Helper()
		body := fmt.Sprintf(`[{"portalId":%s,"subscriptionType":"object.propertyChange","objectTypeId":%q,"objectId":%d,"occurredAt":%d}]`,
			b.source.portal, types[object], id, time.Now().UnixMilli())
		equal(t, "answer", b.post(delivery{body: body}), http.StatusNoContent)
	}
	waiting := func(object string, id int) bool {
		t.Helper()
		hint := schemas.Hint{Kind: schemas.HintRecord, Portal: b.source.portal, Object: object, ID: fmt.Sprint(id)}
		m, err := leaderLast(t.Context(), b.js, b.hints.stream, hint.Subject())
		must(t, err)
		return m != nil
	}
	tell("p_cars", 1)
	equal(t, "hints of what no source reads", waiting("p_cars", 1), false)
	must(t, leader.Sync(t.Context()))
	tell("p_cars", 2)
	equal(t, "hints of what another source reads", waiting("p_cars", 2), true)
	tell("p_boats", 3)
	equal(t, "hints of what the receiver is not configured for", waiting("p_boats", 3), false)
}

// TestTypeIDsThatAreUnknownAreNotLookedForEveryTime keeps a subscription to what nobody reads from costing a look per delivery.
func TestTypeIDsThatAreUnknownAreNotLookedForEveryTime(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 1, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"contacts", "p_cars"}})
	c := &customNames{source: b.source, again: time.Hour, unknown: map[string]time.Time{}}
	for range 2 {
		objects, err := c.with(t.Context(), b.source.objects(), []string{"2-77", "0-1"})
		must(t, err)
		equal(t, "object types", len(objects), 1)
	}
	asked := c.unknown["2-77"]
	if len(c.unknown) != 1 || asked.IsZero() {
		t.Errorf("looked for %v", c.unknown)
	}
	_, err := c.with(t.Context(), b.source.objects(), []string{"2-77"})
	must(t, err)
	equal(t, "time of the look", c.unknown["2-77"], asked)
}

// TestAWebhookWhoseTypeCannotBeLookedUpIsNotAcknowledged has a log that cannot be read beside a queue of hints that works.
func TestAWebhookWhoseTypeCannotBeLookedUpIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, newcomers(), Config{Objects: []string{"contacts", "p_cars"}})
	b.receiver.custom.source.cfg.Stream = "GONE"
	body := fmt.Sprintf(`[{"portalId":%s,"subscriptionType":"object.deletion","objectTypeId":"2-77","objectId":7,"occurredAt":%d}]`, b.source.portal, time.Now().UnixMilli())
	for range 2 { // the second is told at once
		equal(t, "answer", b.post(delivery{body: body}), http.StatusServiceUnavailable)
	}
	equal(t, "hints", waitingHints(t, b.hints), 0)
}
