package connector

import (
	"slices"
	"strconv"
	"testing"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// walkAll takes until there is no more.
func walkAll(t *testing.T, w *logWalk) (all []walked) {
	t.Helper()
	for {
		some, more, err := w.take(t.Context())
		must(t, err)
		if all = append(all, some...); !more {
			return all
		}
	}
}

func walkedIDs(events []walked) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.id)
	}
	return ids
}

func TestAWalkOverTheLogHandsOutEveryRecordOnceAndGoesOn(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("a")
	changes := func(from, n int) {
		for start := from; start < from+n; start += 500 {
			mustAppend(t, l, polled(records(start, min(500, from+n-start), day)...), nil)
		}
	}
	changes(1, 2300)
	for i := range 5 { // a history of six events, and moved to the end
		mustAppend(t, l, polled(record(7, pageTime(i+1), "email", strconv.Itoa(i))), nil)
	}
	gone := record(9, day)
	gone.Archived, gone.ArchivedAt = true, day
	mustAppend(t, l, page{Origin: schemas.OriginPoll, Primary: true, After: l.Position(), Records: []hubspot.Record{gone}}, nil)

	newest := l.walk(0, true)
	all := walkAll(t, newest)
	equal(t, "records", len(all), 2300)
	equal(t, "total", newest.total, 2300)
	ids := walkedIDs(all)
	equal(t, "last", ids[2299]+" "+string(all[2299].op), "9 archived")
	equal(t, "last but one", ids[2298], "7")
	slices.Sort(ids)
	equal(t, "different records", len(slices.Compact(ids)), 2300)
	if !slices.IsSortedFunc(all, func(x, y walked) int { return int(x.seq) - int(y.seq) }) {
		t.Error("not in the order of the log")
	}
	every := l.walk(0, false)
	equal(t, "events", len(walkAll(t, every)), 2306)

	// Both hand out what comes later, also when the server has forgotten them meanwhile.
	changes(5000, 3)
	equalSlices(t, "later", walkedIDs(walkAll(t, newest)), []string{"5000", "5001", "5002"})
	for _, w := range []*logWalk{newest, every} {
		must(t, b.js.DeleteConsumer(t.Context(), w.stream, w.consumer.CachedInfo().Name))
	}
	changes(6000, 2)
	for _, w := range []*logWalk{newest, every} {
		var ids []string
		for tries := 0; len(ids) == 0 && tries < 10; tries++ {
			some, _, err := w.take(t.Context())
			if err == nil {
				ids = append(ids, walkedIDs(some)...)
			}
		}
		want := []string{"6000", "6001"}
		if w == every {
			want = []string{"5000", "5001", "5002", "6000", "6001"}
		}
		equalSlices(t, "after the consumer was lost", ids, want)
	}

	// From the middle: what was handed out is not handed out again.
	middle := all[1100].seq
	equal(t, "the rest", len(walkAll(t, l.walk(middle, true))), 2300-1101+5)
	newest.close(t.Context())
	every.close(t.Context())
}
