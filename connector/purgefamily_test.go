package connector

import (
	"context"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// purgedOnly checks that the log has nothing of a record but its purged event.
func (b *logBundle) purgedOnly(ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		if events := b.events(id); len(events) != 1 || events[0].Op != schemas.OpPurged {
			b.t.Errorf("of %s the log has %+v", id, events)
		}
	}
	if left := b.quoting(secret); len(left) > 0 {
		b.t.Errorf("values of an erased record are in %v", left)
	}
}

func mergedEnd(loser, winner string) page {
	return page{Origin: schemas.OriginWebhook, Primary: true, After: 1 << 60, Endings: []ending{{ID: loser, Op: schemas.OpMerged, MergedInto: winner, At: day}}}
}

func TestAllThatWasMergedIntoAnErasedRecordIsErased(t *testing.T) {
	t.Parallel()
	b, l, e := setupErase(t)
	// Contact 5 ended as merged into 4, and 6 into 5, before 4 said so; 7 is listed and was never seen; 8 HubSpot alone knows.
	mustAppend(t, l, polled(record(4, day, "v", secret, mergedProperty, "7"), record(5, day, "v", secret), record(6, day, "v", secret), record(8, day, "v", secret)), nil)
	mustAppend(t, l, mergedEnd("5", "4"), nil)
	mustAppend(t, l, mergedEnd("6", "5"), nil)
	e.read = func(context.Context, hubspot.Object, string) (hubspot.Batch, error) {
		return hubspot.Batch{Records: []hubspot.Record{record(4, day, mergedProperty, "8")}}, nil
	}
	must(t, e.erase(t.Context(), contacts, "4", nil))
	e.read = nil
	must(t, e.erase(t.Context(), contacts, "1", nil))
	b.purgedOnly("1", "2", "4", "5", "6", "7", "8")
	equal(t, "events of another record", len(b.events("3")), 1)

	other := b.open("theirs")
	stale := polled(record(7, day.Add(time.Hour), "v", secret))
	stale.Primary = false
	mustAppend(t, other, stale, nil)
	b.purgedOnly("7")
}

func TestARecordThatIsMergedWhileItsWinnerIsErasedIsErasedToo(t *testing.T) {
	t.Parallel()
	b, l, e := setupErase(t)
	mustAppend(t, l, polled(record(5, day, "v", secret)), nil)
	done := false
	e.reached = func(step string) error {
		if step == "event appended" && !done {
			done = true
			mustAppend(t, l, mergedEnd("5", "2"), nil)
		}
		return nil
	}
	must(t, e.erase(t.Context(), contacts, "1", nil))
	b.purgedOnly("1", "2", "5")
}
