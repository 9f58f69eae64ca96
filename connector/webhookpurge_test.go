package connector

import (
	"fmt"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

func TestAPrivacyDeletionThatCannotBeReadIsAskedForAgain(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, simulator.Options{Contacts: 1}, Config{Objects: []string{"companies"}})
	for body, status := range map[string]int{
		`{"portalId":4711,"subscriptionType":"contact.privacyDeletion"}`:                                       400,
		`{"portalId":4711,"subscriptionType":"contact.privacyDeletion","objectId":"x"}`:                        400,
		`{"portalId":4711,"subscriptionType":"contact.privacyDeletion","objectId":-5}`:                         400,
		`{"portalId":{},"subscriptionType":"contact.privacyDeletion","objectId":1}`:                            400,
		`{"portalId":4711,"subscriptionType":"object.privacyDeletion","objectId":1}`:                           400,
		`{"portalId":4711,"subscriptionType":["contact.privacyDeletion"],"objectId":1}`:                        400,
		`[{"portalId":4711,"subscriptionType":"contact.privacyDeletion","objectId":1}]`:                        400,
		`{"portalId":99,"subscriptionType":"contact.privacyDeletion","objectId":"x"}`:                          204,
		`{"portalId":4711,"subscriptionType":"conversation.privacyDeletion","objectId":"x"}`:                   204,
		`{"portalId":4711,"subscriptionType":"contact.propertyChange","propertyValue":"privacyDeletion"}`:      204,
		`{"portalId":4711,"subscriptionType":"contact.privacyDeletion","objectId":2}`:                          204,
		`{"portalId":4711,"subscriptionType":"contact.privacyDeletion","objectId":"3.0","occurredAt":"never"}`: 204,
	} {
		equal(t, body, b.post(delivery{body: "[" + body + "]"}), status)
	}
	equal(t, "hints", waitingHints(t, b.hints), 2)
	mixed := `[{"portalId":4711,"subscriptionType":"company.creation","objectId":8},{"portalId":4711,"subscriptionType":"contact.privacyDeletion"}]`
	equal(t, "beside one that can be read", b.post(delivery{body: mixed}), 400)
	equal(t, "hints", waitingHints(t, b.hints), 3)
}

// TestAPrivacyDeletionOfATypeThatIsNotReadAnyLongerErasesIt takes object types away from a source whose log has them, standard
// and custom, and tells it that records of theirs were deleted for privacy.
func TestAPrivacyDeletionOfATypeThatIsNotReadAnyLongerErasesIt(t *testing.T) {
	t.Parallel()
	for name, work := range map[string]func(b *webhookBundle){
		"sync": func(b *webhookBundle) { b.sync() },
		"run": func(b *webhookBundle) {
			stop := b.run(b.source)
			eventually(t, "the hints are worked off", func() bool { return waitingHints(t, b.hints) == 0 })
			must(t, stop())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupWebhooks(t, simulator.Options{Contacts: 5, Companies: 3, CustomObjects: []simulator.CustomObject{{Name: "pets", Count: 3}}},
				Config{Objects: []string{"contacts", "companies", "p_pets"}})
			b.sync()
			contact, pet := b.sim.IDs("contacts", 1, 1, 1)[0], b.sim.IDs("p_pets", 1, 1, 1)[0]
			petType := b.follower("p_pets").object.TypeID
			before := map[string]int{}
			for _, o := range []string{"contacts", "p_pets"} {
				before[o] = len(b.states(o))
			}

			b.source = b.newSource(Config{Objects: []string{"companies"}, PollInterval: 50 * time.Millisecond})
			b.receiver, b.url, _ = startReceiver(t, b.source, false)
			b.hints = b.source.hints
			events := fmt.Sprintf(`[{"portalId":4711,"subscriptionType":"contact.privacyDeletion","objectId":%s},`+
				`{"portalId":4711,"subscriptionType":"object.privacyDeletion","objectTypeId":"%s","objectId":%s},`+
				`{"portalId":4711,"subscriptionType":"deal.privacyDeletion","objectId":77},`+
				`{"portalId":4711,"subscriptionType":"object.privacyDeletion","objectTypeId":"2-123456","objectId":77}]`, contact, petType, pet)
			equal(t, "status", b.post(delivery{body: events}), 204)
			equal(t, "hints", waitingHints(t, b.hints), 4)
			work(b)
			equal(t, "hints left", waitingHints(t, b.hints), 0)
			for object, id := range map[string]string{"contacts": contact, "p_pets": pet} {
				equal(t, "op of "+object, b.states(object)[id].Op, schemas.OpPurged)
				equal(t, "records of "+object, len(b.states(object)), before[object])
			}
			equal(t, "events of both", len(b.events(contact))+len(b.events(pet)), 2)
			equal(t, "events of types that the log never had", len(b.events("77")), 0)
		})
	}
}

// TestAPrivacyDeletionThatItsFollowerDoesNotTakeIsDoneAllTheSame leaves a hint for longer than a follower may take.
func TestAPrivacyDeletionThatItsFollowerDoesNotTakeIsDoneAllTheSame(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 5}, Config{Objects: []string{"contacts"}})
	b.sync()
	id := b.sim.IDs("contacts", 1, 1, 1)[0]
	hint := &schemas.Hint{Kind: schemas.HintPurge, Portal: b.source.Portal(), Object: "contacts", ID: id, Cause: "contact.privacyDeletion"}
	must(t, b.source.hints.publish(t.Context(), hint))
	must(t, b.source.eraseLeft(t.Context(), time.Hour))
	equal(t, "hints that a follower may still take", waitingHints(t, b.source.hints), 1)
	must(t, b.source.eraseLeft(t.Context(), 0))
	equal(t, "hints left", waitingHints(t, b.source.hints), 0)
	equal(t, "op", b.states("contacts")[id].Op, schemas.OpPurged)
}
