package connector

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// TestLinksThatAWebhookNamesAreReadAtOnce changes links alone; the hint names one side.
func TestLinksThatAWebhookNamesAreReadAtOnce(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(time.Hour))
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	hint := func(object, id, to string) {
		t.Helper()
		must(t, b.source.hints.publish(t.Context(), &schemas.Hint{
			Kind: schemas.HintLinks, Portal: b.source.portal, Object: object, ID: id, To: to, OccurredAt: b.sim.Now(), Cause: object + ".associationChange",
		}))
	}
	deal, contact, company := b.sim.IDs("deals", 0, 1, 1)[0], b.sim.IDs("contacts", 7, 1, 1)[0], b.sim.IDs("companies", 5, 1, 1)[0]
	began := time.Now()
	must(t, b.sim.Link("deals", deal, "contacts", contact, simulator.LinkType{Category: "USER_DEFINED", TypeID: 9, Label: "Decider"}))
	hint("deals", deal, "contacts")
	eventually(t, "both sides", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	t.Logf("after %s", time.Since(began).Round(time.Millisecond))
	must(t, b.sim.Unlink("deals", deal, "contacts", contact))
	must(t, b.sim.Link("deals", deal, "companies", company))
	hint("deals", deal, "") // the other end is not known
	eventually(t, "both pairs, both sides", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	requests := b.linkRequests()
	hint("deals", deal, "tickets") // which are not read
	hint("deals", "999", "contacts")
	hint("deals", "x", "contacts")
	eventually(t, "all hints are worked off", func() bool { return waitingHints(t, b.source.hints) == 0 })
	must(t, stop())
	if n := b.linkRequests() - requests; n > 1 {
		t.Errorf("%d requests for an unknown record and an unknown pair", n)
	}
	equal(t, "sets published twice", b.doubledSets(), "")
}

// TestHintsAboutLinksThatNobodyReadsAreForgotten reads no links at all, and links that an object type has none of.
func TestHintsAboutLinksThatNobodyReadsAreForgotten(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"none":     {Objects: linkedObjects, Associations: []string{"none"}},
		"no pairs": {Objects: linkedObjects, Associations: []string{"contacts:companies"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupSource(t, linkedPortal(), cfg)
			stop := b.run(b.source)
			b.hintLinks("deals", b.sim.IDs("deals", 0, 1, 1)[0], "")
			eventually(t, "the hint is gone", func() bool { return waitingHints(t, b.source.hints) == 0 })
			must(t, stop())
		})
	}
}
