package connector

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

func TestAnEndIsToldOnceAndIsTheLastWord(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(record(1, day, "v", "1"), record(2, day, "v", "2"), record(3, day, "v", "3")), nil)
	ends := page{Origin: schemas.OriginPoll, Endings: []ending{
		{ID: "1", Op: schemas.OpMerged, MergedInto: "9", At: day.Add(time.Hour)},
		{ID: "2", Op: schemas.OpArchived, At: day.Add(time.Hour)},
		{ID: "8", Op: schemas.OpMerged, MergedInto: "9", At: day.Add(time.Hour)}, // the log never had it
	}}
	equal(t, "counts", mustAppend(t, l, ends, nil), schemas.Counts{Fetched: 3, Deleted: 2, Unchanged: 1})
	equal(t, "counts when told again", mustAppend(t, l, ends, nil), schemas.Counts{Fetched: 3, Unchanged: 3})
	merged := b.events("1")[1]
	equal(t, "op", merged.Op, schemas.OpMerged)
	equal(t, "merged into", merged.MergedInto, "9")
	equal(t, "archived", merged.Archived, true)
	value, _ := merged.Properties.Get("v")
	equal(t, "last known value", value, "1")
	equal(t, "op of one that is gone", b.events("2")[1].Op, schemas.OpArchived)

	purge := page{Origin: schemas.OriginWebhook, Endings: []ending{{ID: "3", Op: schemas.OpPurged, At: day}, {ID: "7", Op: schemas.OpPurged, At: day}}}
	equal(t, "counts", mustAppend(t, l, purge, nil), schemas.Counts{Fetched: 2, Deleted: 2})
	equal(t, "counts when told again", mustAppend(t, l, purge, nil), schemas.Counts{Fetched: 2, Unchanged: 2})
	equal(t, "values of a purged record", len(b.events("3")[1].Properties.Map()), 0)

	// Whatever the index still shows of a purged record, it does not come back.
	equal(t, "counts", mustAppend(t, l, polled(record(3, day.Add(2*time.Hour), "v", "4")), nil), schemas.Counts{Fetched: 1, Unchanged: 1})
	b.noDuplicates()
}

func TestADoubtfulRecordThatLostAMergeIsMerged(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(record(1, day, "v", "1"), record(2, day, "v", "1")), nil)
	l.confirm = func(_ context.Context, ids []string) (hubspot.Batch, error) {
		return hubspot.Batch{
			Records: []hubspot.Record{record(9, day)}, Merged: map[string]string{"1": "9"},
			Rejected: []hubspot.RejectedRecord{{ID: "2", Reason: "cut"}},
		}, nil
	}
	p := polled(record(1, day, "v", "stale"), record(2, day, "v", "stale"))
	p.Primary = false
	equal(t, "counts", mustAppend(t, l, p, nil), schemas.Counts{Fetched: 2, Deleted: 1, Failed: 1})
	equal(t, "merged into", b.events("1")[1].MergedInto, "9")
	equal(t, "dead letters", b.count(schemas.KindDeadLetter), 1)
}

func TestAReadThatBeganBeforeTheLastEventNeverOverwritesIt(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	before := record(1, day, "calculated", "old")
	now := record(1, day, "calculated", "new")
	mustAppend(t, l, polled(before), nil)
	late := page{Origin: schemas.OriginBackfill, Primary: true, After: l.Position(), Records: []hubspot.Record{before}}
	mustAppend(t, l, polled(now), nil)
	l.confirm = func(_ context.Context, ids []string) (hubspot.Batch, error) {
		return hubspot.Batch{Records: []hubspot.Record{now}}, nil
	}
	equal(t, "counts", mustAppend(t, l, late, nil), schemas.Counts{Fetched: 1, Unchanged: 1})
}

func TestASetOfLinksIsPublishedWhenItChanges(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	set := func(ids ...string) *schemas.Links {
		links := &schemas.Links{Portal: "7", From: "contacts", ID: "1", To: "companies"}
		for _, id := range ids {
			links.Links = append(links.Links, schemas.Link{ID: id, Category: "HUBSPOT_DEFINED", TypeID: 279})
		}
		return links
	}
	for i, step := range []struct {
		links *schemas.Links
		want  int // messages so far
	}{
		{set(), 0}, // none, as ever
		{set("5", "6"), 1}, {set("6", "5"), 1}, {set("6"), 2}, {set(), 3}, {set(), 3}, {set("6"), 4},
	} {
		mustAppend(t, l, page{Origin: schemas.OriginPoll, Primary: true, After: math.MaxUint64, Links: []*schemas.Links{step.links}}, nil)
		if got := b.count(schemas.KindLinks); got != step.want {
			t.Errorf("after step %d %d sets are in the log, want %d", i, got, step.want)
		}
	}
}
