package connector

import (
	"context"
	"testing"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// late is what of contact 1 may still be on its way when it is erased.
var (
	lateDead  = hubspot.RejectedRecord{ID: "1", Reason: "createdAt is no time", Raw: `{"id":"1","v":"` + secret + `"}`}
	lateLinks = &schemas.Links{Portal: "7", From: "contacts", ID: "1", To: "companies", Links: []schemas.Link{{ID: "5", Category: "USER_DEFINED", TypeID: 1, Label: secret}}}
)

func stillMalformed(context.Context, []string) (hubspot.Batch, error) {
	return hubspot.Batch{Rejected: []hubspot.RejectedRecord{lateDead}}, nil
}

func TestDeadLettersAndLinksOfAnErasedRecordStayAway(t *testing.T) {
	t.Parallel()
	b, l, e := setupErase(t)
	must(t, e.erase(t.Context(), contacts, "1", l.forget))
	other := b.open("theirs") // and has heard nothing of it
	other.confirm = stillMalformed
	mustAppend(t, other, page{Origin: schemas.OriginPoll, Rejected: []hubspot.RejectedRecord{lateDead}}, nil)
	b.erased()
	mustAppend(t, other, page{Origin: schemas.OriginPoll, Links: []*schemas.Links{lateLinks}}, nil)
	b.erased()
	mustAppend(t, other, page{Origin: schemas.OriginPoll, Links: []*schemas.Links{{Portal: "7", From: "contacts", ID: "3", To: "companies", Links: lateLinks.Links[:1]}}}, nil)
	equal(t, "sets of links of another record", b.count(schemas.KindLinks), 1)
}

func TestAnErasureWhileARecordIsReadAgainLeavesNoDeadLetter(t *testing.T) {
	t.Parallel()
	b, l, e := setupErase(t)
	l.confirm = func(ctx context.Context, ids []string) (hubspot.Batch, error) {
		must(t, e.erase(ctx, contacts, "1", nil))
		return stillMalformed(ctx, ids)
	}
	mustAppend(t, l, page{Origin: schemas.OriginPoll, Rejected: []hubspot.RejectedRecord{lateDead}}, nil)
	b.erased()
}

func TestAnErasureBetweenLookAndAppendRefusesWhatBelongsToIt(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]page{
		"dead letter": {Origin: schemas.OriginPoll, Rejected: []hubspot.RejectedRecord{lateDead}},
		"links":       {Origin: schemas.OriginPoll, Links: []*schemas.Links{{Portal: "7", From: "contacts", ID: "1", To: "tickets", Links: lateLinks.Links}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, l, e := setupErase(t)
			l.confirm = stillMalformed
			tries := 0
			advance := func(*schemas.Cursor) { // the last thing before the batch is sent
				if tries++; tries == 1 {
					must(t, e.erase(t.Context(), contacts, "1", nil))
				}
			}
			mustAppend(t, l, p, advance)
			equal(t, "tries", tries, 2)
			b.erased()
		})
	}
}
