package connector

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// winner is a record that says it absorbed others.
func winner(id int, updated time.Time, absorbed ...string) hubspot.Record {
	return record(id, updated, mergedProperty, strings.Join(absorbed, ";"))
}

// mergedInto returns which record the log says a record was merged into, "" if it was not.
func (b *logBundle) mergedInto(id string) string {
	b.t.Helper()
	events := b.events(id)
	if len(events) == 0 || events[len(events)-1].Op != schemas.OpMerged {
		return ""
	}
	return events[len(events)-1].MergedInto
}

func TestLosersOfAMergeEndInTheBatchOfTheirWinner(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(record(1, day, "v", "1"), record(2, day, "v", "2"), record(5, day)), nil)
	counts := mustAppend(t, l, polled(record(4, day), winner(9, day.Add(time.Hour), "1", "2", "3", "nonsense", "")), moveTo(day))
	equal(t, "counts", counts, schemas.Counts{Fetched: 2, Created: 2, Deleted: 2})
	for _, id := range []string{"1", "2"} {
		equal(t, "merged into", b.mergedInto(id), "9")
		equal(t, "archived", b.events(id)[1].Archived, true)
	}
	equal(t, "events of a loser that the log never had", len(b.events("3")), 0)

	// One batch: the winner, its losers and the cursor are the last messages, and nothing can come between.
	all := b.messages()
	tail := all[len(all)-5:]
	for i, want := range []string{"4", "9", "1", "2", ""} {
		if got := tail[i]; got.subject.ID != want || got.seq != tail[0].seq+uint64(i) {
			t.Errorf("message %d of the batch is about %q at %d, want %q", i, got.subject.ID, got.seq, want)
		}
	}
	before := len(all)
	mustAppend(t, l, polled(winner(9, day.Add(time.Hour), "1", "2", "3", "nonsense", "")), moveTo(day))
	equal(t, "messages when told again", len(b.messages())-before, 0)
	b.noDuplicates()
}

func TestALoserFollowsAChainOfMerges(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(record(1, day), record(2, day), record(3, day)), nil)
	mustAppend(t, l, polled(winner(10, day.Add(time.Hour), "1", "2")), nil)
	equal(t, "merged into", b.mergedInto("1"), "10")
	// 10 and 3 become 11: HubSpot names all that it stands for.
	mustAppend(t, l, polled(winner(11, day.Add(2*time.Hour), "1", "2", "10", "3")), nil)
	for _, id := range []string{"1", "2", "3", "10"} {
		equal(t, "merged into", b.mergedInto(id), "11")
	}
	b.noDuplicates()
}

func TestAChainOfMergesWithinOnePage(t *testing.T) {
	t.Parallel()
	for name, page := range map[string][]hubspot.Record{
		"first the last": {winner(12, day.Add(time.Hour), "1", "2", "11"), winner(11, day.Add(time.Minute), "1", "2"), record(1, day)},
		"last the last":  {record(1, day), winner(11, day.Add(time.Minute), "1", "2"), winner(12, day.Add(time.Hour), "11")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupLog(t)
			l := b.open("ours")
			mustAppend(t, l, polled(record(1, day), record(2, day), record(3, day)), nil)
			mustAppend(t, l, polled(page...), nil)
			for _, id := range []string{"1", "2"} {
				equal(t, "merged into", b.mergedInto(id), "12")
			}
			equal(t, "events of one that came and went", len(b.events("11")), 0)
		})
	}
}

func TestALoserThatTheIndexStillShowsDoesNotComeBack(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(record(1, day, "v", "1")), nil)
	mustAppend(t, l, polled(winner(9, day.Add(time.Hour), "1", "2")), nil)
	l.confirm = func(_ context.Context, ids []string) (hubspot.Batch, error) {
		batch := hubspot.Batch{Merged: map[string]string{}}
		for _, id := range ids {
			batch.Merged[id] = "9"
		}
		return batch, nil
	}
	stale := polled(record(1, day.Add(2*time.Hour), "v", "later"), record(2, day, "v", "never seen"))
	stale.Primary = false
	equal(t, "counts", mustAppend(t, l, stale, nil), schemas.Counts{Fetched: 2, Unchanged: 2})
	equal(t, "merged into", b.mergedInto("1"), "9")
	equal(t, "events of one that was merged away before it was ever read", len(b.events("2")), 0)

	// Nor does it if HubSpot shows it in the recycle bin.
	binned := record(1, day, "v", "1")
	binned.Archived = true
	mustAppend(t, l, polled(binned), nil)
	equal(t, "merged into", b.mergedInto("1"), "9")
	equal(t, "events", len(b.events("1")), 2)
}

// TestTwoHundredAndFiftyMergesFitIntoOneBatch has records so large that a batch holds few of them.
func TestTwoHundredAndFiftyMergesFitIntoOneBatch(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	var ids []string
	for i := range 250 {
		mustAppend(t, l, polled(record(1+i, day, "v", text(20_000))), nil)
		ids = append(ids, fmt.Sprint(1+i))
	}
	mustAppend(t, l, polled(append(records(1000, 300, day), winner(9000, day.Add(time.Hour), ids...))...), moveTo(day))
	all := b.messages()
	at := slices.IndexFunc(all, func(s stored) bool { return s.subject.ID == "9000" })
	batch := all[at].msg.Header["Nats-Batch-Id"]
	for _, s := range all[at : at+251] {
		if !slices.Equal(s.msg.Header["Nats-Batch-Id"], batch) || len(batch) == 0 {
			t.Fatalf("record %s is in batch %v, its winner in %v", s.subject.ID, s.msg.Header["Nats-Batch-Id"], batch)
		}
	}
	equal(t, "merged into", b.mergedInto("250"), "9000")
}

func TestMergesAreFoundWithoutAWebhook(t *testing.T) {
	t.Parallel()
	for _, o := range []simulator.Options{{}, {MergeIntoPrimary: true}, {MergedIDsMissing: true}, {MergeIntoPrimary: true, MergedIDsMissing: true}} {
		t.Run(fmt.Sprintf("into primary %v, old ids missing %v", o.MergeIntoPrimary, o.MergedIDsMissing), func(t *testing.T) {
			t.Parallel()
			o.Contacts = 60
			b := setupWalk(t, o)
			ids := b.sim.IDs("contacts", 0, 60, 1)
			merge := func(a, other string) string {
				id, err := b.sim.Merge("contacts", a, other)
				must(t, err)
				return id
			}
			first := merge(ids[0], ids[1])
			merge(ids[2], ids[3])
			b.sim.FlushIndex()
			b.poll("contacts")
			b.asInTruth("contacts")
			last := merge(merge(first, ids[4]), ids[5]) // the one in between is never read
			b.sim.FlushIndex()
			b.poll("contacts")
			b.asInTruth("contacts")
			equal(t, "merged into", b.mergedInto(ids[1]), last)
			b.noDuplicates()
		})
	}
}
