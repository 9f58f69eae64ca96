package history_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
)

// load writes what a full read writes: its records, each page with a cursor, and a cursor that it ended.
func (w *writer) load(object string, ids ...int) (last uint64) {
	w.t.Helper()
	cursor := &schemas.Cursor{Portal: portal, Object: object, Backfill: &schemas.Backfill{StartedAt: time.Now()}}
	if before := w.cursors[object]; before != nil {
		cursor.BackfilledAt = before.BackfilledAt
	}
	for _, id := range ids {
		last = w.event(object, id, schemas.OpSnapshot, values{"n": "1"}, func(e *schemas.Event) { e.Origin = schemas.OriginBackfill })
		w.control(cursor)
	}
	w.cursors[object] = &schemas.Cursor{Portal: portal, Object: object, BackfilledAt: cursor.Backfill.StartedAt}
	w.control(w.cursors[object])
	return last
}

// TestAMomentBeforeTheFirstLoadEndedIsNotCovered asks for moments before, in and after first loads, with the cursors of then
// and without them.
func TestAMomentBeforeTheFirstLoadEndedIsNotCovered(t *testing.T) {
	t.Parallel()
	for name, depth := range map[string]int64{"cursors are kept": 64, "cursors are gone": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWriter(t, depth)
			w.control(&schemas.PropertyDefinitions{Portal: portal, Object: "contacts"})
			first := w.load("contacts", 1, 2, 3, 4, 5)
			created := w.event("contacts", 6, schemas.OpCreated, values{"n": "1"}, func(e *schemas.Event) { e.CreatedAt = time.Now() })
			second := w.load("deals", 1, 2, 3)
			// What was missed comes by a comparison or a poll: that is no first load.
			w.event("contacts", 7, schemas.OpSnapshot, values{"n": "1"}, func(e *schemas.Event) { e.Origin = schemas.OriginVerify })
			w.event("contacts", 8, schemas.OpSnapshot, values{"n": "1"})
			for range 3 { // as polls do
				w.control(w.cursors["contacts"])
				w.control(w.cursors["deals"])
			}
			l := w.open()
			for _, c := range []struct {
				moment   string
				nothing  bool
				unloaded string
				from     uint64
				objects  []string
			}{
				{"start", true, "contacts deals", second, nil},
				{"24h", true, "contacts deals", second, nil},
				{"1", false, "contacts deals", second, nil}, // the definitions alone
				{strconv.FormatUint(first-4, 10), false, "contacts", first, []string{"contacts"}},
				{strconv.FormatUint(first, 10), false, "", 0, []string{"contacts"}},
				{strconv.FormatUint(first, 10), true, "deals", second, []string{"deals"}},
				{strconv.FormatUint(created, 10), false, "deals", second, nil},
				{strconv.FormatUint(second-2, 10), false, "deals", second, nil},
				{strconv.FormatUint(second, 10), false, "", 0, nil},
				{"now", false, "", 0, nil},
			} {
				moment, err := l.Resolve(t.Context(), c.moment, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				_, err = l.At(t.Context(), moment, c.objects...)
				var gone *history.NotCoveredError
				if c.unloaded == "" && !c.nothing {
					if err != nil {
						t.Errorf("at %s of %v: %v", c.moment, c.objects, err)
					}
					continue
				}
				if !errors.As(err, &gone) {
					t.Errorf("at %s of %v: %v, want that %s were not loaded", c.moment, c.objects, err, c.unloaded)
					continue
				}
				var names []string
				for _, u := range gone.Unloaded {
					names = append(names, u.Object)
				}
				if got := strings.Join(names, " "); got != c.unloaded || gone.Seq != c.from || (gone.Nothing != "") != c.nothing ||
					!strings.Contains(err.Error(), fmt.Sprintf("(sequence %d) on it is there", c.from)) {
					t.Errorf("at %s of %v: %v; want %s from %d on", c.moment, c.objects, err, c.unloaded, c.from)
				}
				if then, err := l.Resolve(t.Context(), strconv.FormatUint(gone.Seq, 10), time.Now()); err != nil {
					t.Error(err)
				} else if _, err := l.At(t.Context(), then, c.objects...); err != nil {
					t.Errorf("from %d on it is not there: %v", gone.Seq, err)
				}
			}
		})
	}
}

func TestWhatTheFirstLoadBroughtWasNotCreated(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 16)
	w.load("contacts", 1, 2)
	lately := func(e *schemas.Event) { e.CreatedAt = time.Now() }
	w.event("contacts", 3, schemas.OpCreated, values{"n": "1"}, lately)
	w.event("contacts", 4, schemas.OpUpdated, values{"n": "1"}, lately) // whatever its event is called
	w.event("contacts", 5, schemas.OpArchived, values{"n": "1"})        // the first load finds some in the recycle bin
	l := w.open()
	const both = "contacts 1 loaded\ncontacts 2 loaded\ncontacts 3 created\ncontacts 4 created\ncontacts 5 loaded"
	for from, begins := range map[string]bool{"start": false, "24h": true} {
		moment, err := l.Resolve(t.Context(), from, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.Diff(t.Context(), moment, at(l.LastSeq))
		if err != nil || story(d) != both || d.Counts[history.Created] != 2 || d.Counts[history.Loaded] != 3 || d.LogBegins.IsZero() == begins {
			t.Errorf("from %s: %+v %v, want\n%s", from, d, err, both)
		}
	}
}
