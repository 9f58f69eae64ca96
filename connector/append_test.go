package connector

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

func TestPageAndCursorAreInTheLogTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	ours := b.open("ours")
	counts := mustAppend(t, ours, polled(records(1, 3, day)...), moveTo(day))
	equal(t, "counts", counts, schemas.Counts{Fetched: 3, Created: 3})

	all := b.messages()
	equal(t, "messages", len(all), 4)
	equal(t, "last message", all[3].subject.Kind, schemas.KindCursor)
	equal(t, "cursor", ours.Cursor().PolledTo, day)
	equal(t, "cursor after a restart", b.open("ours again").Cursor().PolledTo, day)

	// Another source moves on; our next page, all of it, is refused.
	mustAppend(t, b.open("theirs"), page{Origin: schemas.OriginPoll}, moveTo(day.Add(time.Second)))
	before := len(b.messages())
	_, err := ours.Append(t.Context(), polled(records(4, 100, day)...), moveTo(day.Add(time.Minute)))
	equal(t, "stands by", errors.Is(err, ErrStandby), true)
	equal(t, "messages after a refused page", len(b.messages()), before)

	// It stays refused until we take the cursor over.
	_, err = ours.Append(t.Context(), polled(records(4, 1, day)...), nil)
	equal(t, "still stands by", errors.Is(err, ErrStandby), true)
	c, err := ours.Reload(t.Context())
	must(t, err)
	equal(t, "cursor taken over", c.PolledTo, day.Add(time.Second))
	mustAppend(t, ours, polled(records(4, 1, day)...), nil)
}

func TestTwoSourcesRacingNeverPublishAPageTwice(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	const pages = 60
	var refused [3]int
	var wg sync.WaitGroup
	for i := range refused {
		l := b.open("source " + strconv.Itoa(i))
		wg.Go(func() {
			for {
				// The next page is where the cursor says; every source reads from there.
				at := l.Cursor().PolledTo
				n := int(at.Sub(day) / time.Second)
				if at.IsZero() {
					n = 0
				}
				if n >= pages {
					return
				}
				page := polled(records(n*10, 10, day.Add(time.Duration(n)*time.Second))...)
				_, err := l.Append(t.Context(), page, moveTo(day.Add(time.Duration(n+1)*time.Second)))
				if errors.Is(err, ErrStandby) {
					refused[i]++
					_, err = l.Reload(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	events := b.events("")
	equal(t, "events", len(events), pages*10)
	for i, e := range events {
		equal(t, "id in order", e.ID, strconv.Itoa(i))
	}
	b.noDuplicates()
	if refused[0]+refused[1]+refused[2] == 0 {
		t.Error("the sources never met")
	}
}

func TestConflictOnARecordIsReadAgainAndRetried(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")

	mustAppend(t, l, polled(record(7, day)), nil)

	// Someone else writes record 6 between our look and our batch.
	l.confirm = func(ctx context.Context, ids []string) (hubspot.Batch, error) {
		rival := newEvent("7", contacts, record(6, day.Add(time.Minute), "b", "1"), lastEvent{}, schemas.OriginWebhook, time.Time{})
		_, err := b.js.PublishMsg(ctx, newMsg(rival.Encode()))
		return hubspot.Batch{Records: []hubspot.Record{record(7, day, "fresh", "yes")}}, err
	}
	p := polled(record(7, day, "stale", "?"), record(6, day.Add(time.Hour), "b", "2"))
	p.Primary = false
	counts := mustAppend(t, l, p, moveTo(day))
	equal(t, "counts", counts, schemas.Counts{Fetched: 2, Updated: 2})
	events := b.events("6")
	equal(t, "events", len(events), 2)
	value, _ := events[1].Previous.Get("b")
	equal(t, "previous value is the rival's", value, "1")
	b.noDuplicates()
}

func TestOverlappingPollsMakeNoDuplicateEvents(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(records(1, 200, day)...), moveTo(day))
	before := len(b.messages())
	for range 3 {
		counts := mustAppend(t, l, polled(records(1, 200, day)...), moveTo(day))
		equal(t, "counts", counts, schemas.Counts{Fetched: 200, Unchanged: 200})
	}
	equal(t, "messages", len(b.messages()), before)

	again := b.open("after a restart")
	counts := mustAppend(t, again, polled(records(101, 200, day)...), moveTo(day))
	equal(t, "counts", counts, schemas.Counts{Fetched: 200, Unchanged: 100, Created: 100})

	// The same record twice on one page, moved while the page was read.
	counts = mustAppend(t, again, polled(record(1, day.Add(2), "v", "old"), record(1, day.Add(time.Second), "v", "new")), nil)
	equal(t, "updated", counts.Updated, 1)
	b.noDuplicates()
}

func TestOlderStateNeverOverwrites(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(record(1, day.Add(time.Minute), "v", "new")), nil)
	counts := mustAppend(t, l, polled(record(1, day, "v", "old")), nil)
	equal(t, "counts", counts, schemas.Counts{Fetched: 1, Unchanged: 1})
	equal(t, "events", len(b.events("1")), 1)
}

func TestClearedValuesAreChangedWithTheirPreviousOnes(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(record(1, day, "city", "Paris", "phone", "1", "same", "x")), nil)
	mustAppend(t, l, polled(record(1, day.Add(time.Second), "phone", "2", "same", "x", "zip", "9")), nil)
	e := b.events("1")[1]
	equalSlices(t, "changed", e.Changed, []string{"city", "phone", "zip"})
	equal(t, "previous", string(e.Previous), `{"city":"Paris","phone":"1"}`)
	equal(t, "previous_seq", e.PreviousSeq, 1)
	first := b.events("1")[0]
	equal(t, "changed of the first event", len(first.Changed), 0)
}

func TestRecordsOlderThanTheHistoryAreSnapshots(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	begin := func(c *schemas.Cursor) {
		c.Backfill = &schemas.Backfill{RunID: "r", StartedAt: day, Ranges: []schemas.Range{{From: 0, To: 10}}}
	}
	young := record(2, day.Add(time.Minute))
	young.CreatedAt = day.Add(time.Minute)
	ops := func(p page) []schemas.Op {
		mustAppend(t, l, p, begin)
		return []schemas.Op{b.events("1")[0].Op, b.events("2")[0].Op}
	}
	equalSlices(t, "ops", ops(page{Origin: schemas.OriginBackfill, Primary: true, Records: []hubspot.Record{record(1, day), young}}),
		[]schemas.Op{schemas.OpSnapshot, schemas.OpSnapshot})
	young.ID = "3"
	mustAppend(t, l, polled(young), nil)
	equal(t, "op with a history", b.events("3")[0].Op, schemas.OpCreated)
	young.ID = "4"
	mustAppend(t, l, page{Origin: schemas.OriginVerify, Primary: true, Records: []hubspot.Record{young}}, nil)
	equal(t, "op of verify", b.events("4")[0].Op, schemas.OpSnapshot)
	equal(t, "counts in the cursor", l.Cursor().Backfill.Counts, schemas.Counts{Fetched: 2, Created: 2})
}

func TestDoubtfulRecordsAreReadAgainBeforeTheyArePublished(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	gone := record(2, day, "v", "1")
	gone.Archived, gone.ArchivedAt = true, day
	mustAppend(t, l, polled(record(1, day, "v", "1"), gone, record(3, day, "v", "1")), nil)

	var asked []string
	l.confirm = func(_ context.Context, ids []string) (hubspot.Batch, error) {
		asked = ids
		return hubspot.Batch{Records: []hubspot.Record{record(1, day, "v", "calculated anew")}}, nil
	}
	stale := polled(record(1, day, "v", "stale"), record(2, day.Add(time.Hour), "v", "1"), record(3, day, "v", "1"))
	stale.Primary = false
	counts := mustAppend(t, l, stale, nil)
	equalSlices(t, "read again", asked, []string{"1", "2"})
	equal(t, "counts", counts, schemas.Counts{Fetched: 3, Updated: 1, Unchanged: 2})
	value, _ := b.events("1")[1].Properties.Get("v")
	equal(t, "value", value, "calculated anew")
	equal(t, "events of the archived record", len(b.events("2")), 1)

	// It really was restored.
	l.confirm = func(_ context.Context, ids []string) (hubspot.Batch, error) {
		return hubspot.Batch{Records: []hubspot.Record{record(2, day.Add(time.Hour), "v", "1")}}, nil
	}
	mustAppend(t, l, stale, nil)
	equal(t, "op", b.events("2")[1].Op, schemas.OpRestored)
	gone.UpdatedAt = day.Add(2 * time.Hour)
	mustAppend(t, l, polled(gone), nil)
	equal(t, "op", b.events("2")[2].Op, schemas.OpArchived)
}

func TestRecordsReadWithFormerPropertiesAreReadAgain(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	old, now := []string{"a"}, []string{"a", "new"}
	l.asked = func() []string { return now }
	mustAppend(t, l, polled(record(1, day, "a", "1", "new", "1")), nil)
	l.confirm = func(_ context.Context, ids []string) (hubspot.Batch, error) {
		equalSlices(t, "read again", ids, []string{"1", "2"})
		return hubspot.Batch{Records: []hubspot.Record{record(1, day.Add(1), "a", "1", "new", "1"), record(2, day, "new", "2")}}, nil
	}
	p := polled(record(1, day, "a", "1"), record(2, day))
	p.Asked = old
	counts := mustAppend(t, l, p, nil)
	equal(t, "counts", counts, schemas.Counts{Fetched: 2, Created: 1, Unchanged: 1})
}

func TestMalformedAndOversizedRecordsBecomeDeadLettersOnceAndTheRestFlows(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	p := polled(record(1, day), record(2, day, "huge", text(9<<20)), record(3, day))
	p.Rejected = []hubspot.RejectedRecord{
		{ID: "4", Reason: "properties is not an object", Raw: `{"id":"4","properties":7}`},
		{Reason: "no id", Raw: `{}`}, {Reason: "no id", Raw: `{"x":1}`},
	}
	var again []string
	confirm := func(_ context.Context, ids []string) (hubspot.Batch, error) {
		again = append(again, ids...)
		return hubspot.Batch{}, nil
	}
	l.confirm = confirm
	for _, want := range []schemas.Counts{
		{Fetched: 6, Created: 2, Failed: 4}, {Fetched: 6, Unchanged: 6}, {Fetched: 6, Unchanged: 6},
	} {
		equal(t, "counts", mustAppend(t, l, p, nil), want)
	}
	equal(t, "dead letters", b.count(schemas.KindDeadLetter), 4)
	equalSlices(t, "malformed records read again", again, []string{"4"})

	// A restart forgets about oversized records, not about the others.
	mustAppend(t, b.open("again"), p, nil)
	equal(t, "dead letters after a restart", b.count(schemas.KindDeadLetter), 5)

	// A record that was malformed once is in order when it is read again.
	l.confirm = func(_ context.Context, ids []string) (hubspot.Batch, error) {
		return hubspot.Batch{Records: records(1, 9, day.Add(1e9))}, nil
	}
	_, err := l.Reload(t.Context())
	must(t, err)
	p = page{Origin: schemas.OriginPoll, Rejected: []hubspot.RejectedRecord{{ID: "1", Reason: "cut"}, {ID: "9", Reason: "cut"}}}
	equal(t, "counts", mustAppend(t, l, p, nil), schemas.Counts{Fetched: 2, Created: 1, Updated: 1})
	equal(t, "previous_seq", b.events("1")[1].PreviousSeq, 1)
}

func TestPagesTooLargeForOneBatchEndWithTheCursor(t *testing.T) {
	t.Parallel()
	for name, all := range map[string][]hubspot.Record{
		"messages": records(1, 2500, day),
		"bytes":    {record(1, day, "v", text(3<<20)), record(2, day, "v", text(3<<20)), record(3, day, "v", text(3<<20))},
	} {
		t.Run(name, func(t *testing.T) {
			b := setupLog(t)
			l := b.open("ours")
			counts := mustAppend(t, l, polled(all...), moveTo(day))
			equal(t, "created", counts.Created, int64(len(all)))
			stored := b.messages()
			equal(t, "messages", len(stored), len(all)+1)
			equal(t, "last", stored[len(all)].subject.Kind, schemas.KindCursor)
		})
	}
}

func TestNothingNewPublishesNothing(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, page{Origin: schemas.OriginPoll}, nil)
	equal(t, "messages", len(b.messages()), 0)
	mustAppend(t, l, page{Origin: schemas.OriginPoll}, moveTo(day))
	mustAppend(t, l, page{Origin: schemas.OriginPoll}, moveTo(day))
	equal(t, "cursors", len(b.messages()), 1)
	run := &schemas.Run{RunID: "1", Portal: "7", Object: "contacts", SyncType: "full", Status: "success", StartedAt: day, CompletedAt: day}
	mustAppend(t, l, page{Origin: schemas.OriginPoll, Controls: []schemas.Control{run}}, nil)
	equal(t, "runs", b.count(schemas.KindRun), 1)
}

func TestAppendEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Append(ctx, polled(records(1, 3, day)...), nil)
	equal(t, "error", errors.Is(err, context.Canceled), true)
	equal(t, "messages", len(b.messages()), 0)
	mustAppend(t, l, polled(records(1, 3, day)...), nil)
}

func TestOutcomeOfAPublishError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want outcome
	}{
		{&jetstream.APIError{Code: 400, ErrorCode: 10071}, refused},
		{fmt.Errorf("wrapped: %w", &jetstream.APIError{Code: 400, ErrorCode: 10164}), busy},
		{&jetstream.APIError{Code: 400, ErrorCode: 10176}, busy},
		{&jetstream.APIError{Code: 503, ErrorCode: 10008}, busy},
		{&jetstream.APIError{Code: 400, ErrorCode: 10077}, failed},
		{context.DeadlineExceeded, unknown},
		{jetstream.ErrNoStreamResponse, unknown},
	} {
		equal(t, c.err.Error(), outcomeOf(c.err), c.want)
	}
}
