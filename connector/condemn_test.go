package connector

import (
	"testing"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

func TestWhatIsMergedIntoAnErasedRecordIsErasedToo(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 20}, Config{Objects: []string{"contacts"}})
	ids := b.sim.IDs("contacts", 3, 2, 1)
	for _, id := range ids {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": secret}))
	}
	b.sim.FlushIndex()
	b.sync()
	portal := b.source.Portal()
	purge := func(id string) {
		must(t, b.source.hints.publish(t.Context(), &schemas.Hint{Kind: schemas.HintPurge, Portal: portal, Object: "contacts", ID: id, Cause: "contact.privacyDeletion"}))
		b.sync()
	}
	purge("4711") // the record that a merge left; nobody has heard of the merge
	l := b.follower("contacts").log
	_, err := l.Reload(t.Context())
	must(t, err)
	mustAppend(t, l, page{Origin: schemas.OriginWebhook, Primary: true, After: 1 << 60, Endings: []ending{
		{ID: ids[0], Op: schemas.OpMerged, MergedInto: "4711", At: day}, {ID: ids[1], Op: schemas.OpMerged, MergedInto: "4711", At: day},
	}}, nil)
	equal(t, "intents", len(b.quoting("._purge.")), 2)
	b.sync()
	for _, id := range ids {
		if e := b.states("contacts")[id]; e == nil || e.Op != schemas.OpPurged {
			t.Errorf("of %s the log has %+v", id, e)
		}
	}
	equal(t, "messages that quote it", len(b.quoting(secret)), 0)
}
