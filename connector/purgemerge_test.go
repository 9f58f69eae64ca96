package connector

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

func TestAMergeAndAPrivacyDeletionInAnyOrderLeaveNoValue(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 20}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	ids := b.sim.IDs("contacts", 0, 10, 1)
	for _, id := range ids {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": secret}))
	}
	b.sync()
	stop := b.follow()
	b.deliver(simulator.Webhooks{Jitter: 300 * time.Millisecond}) // out of order
	for i := 0; i < len(ids); i += 2 {
		winner, err := b.sim.Merge("contacts", ids[i], ids[i+1])
		must(t, err)
		must(t, b.sim.Purge("contacts", winner))
	}
	b.waitDelivered()
	eventually(t, "all are erased", func() bool {
		states := b.states("contacts")
		for _, id := range ids {
			if e := states[id]; e == nil || e.Op != schemas.OpPurged {
				return false
			}
		}
		return len(b.quoting(secret)) == 0
	})
	must(t, stop())
}

func TestAPrivacyDeletionOfAnIDThatIsNoneIsDropped(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 3}, Config{Objects: []string{"contacts"}})
	b.sync()
	const id = "9999999999999999999" // does not fit into a table's bigint
	must(t, b.source.hints.publish(t.Context(), &schemas.Hint{Kind: schemas.HintPurge, Portal: b.source.Portal(), Object: "contacts", ID: id, Cause: "contact.privacyDeletion"}))
	b.sync()
	equal(t, "events", len(b.events(id)), 0)
	equal(t, "intents left", len(b.quoting("._purge.")), 0)
}

// TestAMergeIsRememberedThoughMoreIsToldOfItsRecord is a property that changed, which HubSpot tells of behind the merge and
// before anybody has read that: nobody else would know whose values the erased record's are.
func TestAMergeIsRememberedThoughMoreIsToldOfItsRecord(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 10}, Config{Objects: []string{"contacts"}})
	ids := b.sim.IDs("contacts", 0, 2, 1)
	for _, id := range ids {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": secret}))
	}
	b.sim.FlushIndex()
	b.sync()
	winner, err := b.sim.Merge("contacts", ids[0], ids[1])
	must(t, err)
	must(t, b.sim.Purge("contacts", winner))
	hint := func(kind schemas.HintKind, id, into string) *schemas.Hint {
		return &schemas.Hint{Kind: kind, Portal: b.source.Portal(), Object: "contacts", ID: id, MergedInto: into, Cause: "contact.change"}
	}
	for _, id := range ids {
		if id != winner {
			must(t, b.source.hints.publish(t.Context(), hint(schemas.HintMerge, id, winner)))
		}
		must(t, b.source.hints.publish(t.Context(), hint(schemas.HintRecord, id, "")))
	}
	must(t, b.source.hints.publish(t.Context(), hint(schemas.HintPurge, winner, "")))
	stop := b.run(b.source)
	eventually(t, "no value is left", func() bool { return len(b.quoting(secret)) == 0 })
	must(t, stop())
}
