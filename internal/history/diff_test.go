package history_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
)

// story writes a diff as text.
func story(d *history.Diff) string {
	var lines []string
	for _, r := range d.Records {
		line := r.Object + " " + r.ID + " " + r.Kind
		if r.MergedInto != "" {
			line += " into " + r.MergedInto
		}
		for _, c := range r.Changed {
			line += fmt.Sprintf(" %s %s>%s", c.Property, text(c.Old), text(c.New))
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestDiffSaysWhatBecameOfEveryRecord(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 16)
	for id := 1; id <= 12; id++ {
		w.event("contacts", id, schemas.OpSnapshot, values{"email": "a@x", "n": "1"})
	}
	w.event("contacts", 6, schemas.OpArchived, nil)
	w.event("contacts", 9, schemas.OpMerged, nil, into(1))
	from := w.event("contacts", 12, schemas.OpArchived, nil)

	w.event("contacts", 2, schemas.OpUpdated, values{"email": "b@x", "n": "1"})
	w.event("contacts", 2, schemas.OpUpdated, values{"email": "c@x"})
	w.event("contacts", 3, schemas.OpUpdated, values{"email": "b@x", "n": "1"}) // and back
	w.event("contacts", 3, schemas.OpUpdated, values{"email": "a@x", "n": "1"})
	w.event("contacts", 4, schemas.OpArchived, nil)
	w.event("contacts", 5, schemas.OpArchived, nil) // and restored
	w.event("contacts", 5, schemas.OpRestored, nil)
	w.event("contacts", 6, schemas.OpRestored, nil)
	w.event("contacts", 7, schemas.OpMerged, nil, into(1))
	w.event("contacts", 8, schemas.OpPurged, nil)
	w.event("contacts", 9, schemas.OpMerged, nil, into(2))                           // said again, into another one
	w.event("contacts", 12, schemas.OpArchived, values{"email": "late@x", "n": "1"}) // said again, with other values
	w.event("contacts", 13, schemas.OpCreated, values{"email": "new@x"})
	to := w.event("deals", 1, schemas.OpCreated, values{"dealname": "d"})

	w.event("contacts", 10, schemas.OpUpdated, values{"email": "too late"})
	w.event("contacts", 11, schemas.OpPurged, nil)
	d, err := w.open().Diff(t.Context(), at(from), at(to))
	if err != nil {
		t.Fatal(err)
	}
	want := `contacts 2 changed email a@x>c@x n 1>-
contacts 4 archived
contacts 6 restored
contacts 7 merged into 1
contacts 8 erased
contacts 9 merged into 2
contacts 12 changed email a@x>late@x
contacts 13 created
deals 1 created`
	if got := story(d); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if fmt.Sprint(d.Counts) != "map[archived:1 changed:2 created:2 erased:1 loaded:0 merged:2 restored:1]" {
		t.Error(d.Counts)
	}
	if d, err = w.open().Diff(t.Context(), at(from), at(to), "deals"); err != nil || story(d) != "deals 1 created" {
		t.Errorf("of deals: %v %v", d, err)
	}
	if _, err = w.open().Diff(t.Context(), at(to), at(from)); !errors.Is(err, history.ErrMoment) {
		t.Errorf("the wrong way round: %v", err)
	}
}

// TestDiffEqualsTheModelOrSaysWhatIsGone changes records at random in a log of little depth, and compares what changed
// between any two moments with a model that forgets nothing.
func TestDiffEqualsTheModelOrSaysWhatIsGone(t *testing.T) {
	t.Parallel()
	const records, events, depth = 12, 150, 6
	w := newWriter(t, depth)
	rng := rand.New(rand.NewPCG(4, 11))
	type state struct {
		exists, archived bool
		n                string
	}
	now := map[int]state{}
	states := []map[int]state{{}} // by sequence
	sequences := make([][]uint64, records)
	for range events {
		id := min(rng.IntN(records), rng.IntN(records)) // some change more often than others
		s := now[id]
		op := schemas.OpUpdated
		switch {
		case !s.exists:
			op = schemas.OpCreated
		case s.archived:
			op = schemas.OpRestored
		case rng.IntN(4) == 0:
			op = schemas.OpArchived
		}
		s = state{exists: true, archived: op == schemas.OpArchived, n: strconv.Itoa(rng.IntN(4) + 1)}
		seq := w.event("contacts", id+1, op, values{"n": s.n}, func(e *schemas.Event) { e.CreatedAt = time.Now().Add(time.Hour) }) // after the log's start
		sequences[id] = append(sequences[id], seq)
		now[id] = s
		copied := map[int]state{}
		for id, s := range now {
			copied[id] = s
		}
		states = append(states, copied)
	}
	l := w.open()
	covered, refused := 0, 0
	for range 80 {
		from, to := max(rng.IntN(events+1), rng.IntN(events+1)), rng.IntN(events+1) // the past is gone soon
		if rng.IntN(10) == 0 {
			from = 0
		}
		if from > to {
			from, to = to, from
		}
		var want, gone []string
		for id := range records {
			before, after := states[from][id], states[to][id]
			line := fmt.Sprintf("contacts %d ", id+1)
			change := ""
			if before.n != after.n {
				change = fmt.Sprintf(" n %s>%s", before.n, after.n)
			}
			switch {
			case !after.exists:
			case !before.exists:
				want = append(want, line+"created")
			case after.archived && !before.archived:
				want = append(want, line+"archived"+change)
			case !after.archived && before.archived:
				want = append(want, line+"restored"+change)
			case change != "":
				want = append(want, line+"changed"+change)
			}
			// Gone is what its oldest kept event after the first moment was not the first one after it.
			kept := sequences[id][max(0, len(sequences[id])-depth):]
			dropped := sequences[id][:len(sequences[id])-len(kept)]
			if i := slices.IndexFunc(kept, func(seq uint64) bool { return seq > uint64(from) }); i == 0 && len(dropped) > 0 && dropped[len(dropped)-1] > uint64(from) &&
				(from > 0 || kept[0] > uint64(to)) { // at 0 there was nothing
				gone = append(gone, strconv.Itoa(id+1))
			}
		}
		d, err := l.Diff(t.Context(), at(uint64(from)), at(uint64(to)))
		var missing *history.NotCoveredError
		switch {
		case errors.As(err, &missing):
			refused++
			var got []string
			for _, g := range missing.Gaps {
				got = append(got, g.ID)
			}
			if !slices.Equal(got, gone) {
				t.Fatalf("%d to %d: gone are %v, want %v", from, to, got, gone)
			}
			// From there on it is covered.
			if _, err := l.Diff(t.Context(), at(missing.Seq), at(max(missing.Seq, uint64(to)))); err != nil {
				t.Fatalf("%d to %d: %v, but: %v", from, to, missing, err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			covered++
			if len(gone) > 0 {
				t.Fatalf("%d to %d: %v are gone, and nothing is said", from, to, gone)
			}
			if got := story(d); got != strings.Join(want, "\n") {
				t.Fatalf("%d to %d:\n%s\nwant\n%s", from, to, got, strings.Join(want, "\n"))
			}
		}
	}
	if covered < 5 || refused < 5 {
		t.Errorf("%d were covered, %d refused: this tests too little", covered, refused)
	}
}

func TestARecordThatWasCreatedLaterIsNoGap(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 2)
	from := w.event("contacts", 1, schemas.OpCreated, values{"n": "1"})
	created := func(e *schemas.Event) { e.CreatedAt = time.Now().Add(time.Hour) }
	for i := range 5 {
		w.event("contacts", 2, schemas.OpUpdated, values{"n": strconv.Itoa(i)}, created)
	}
	l := w.open()
	moment, err := l.Resolve(t.Context(), strconv.FormatUint(from, 10), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Diff(t.Context(), moment, at(l.LastSeq))
	if err != nil || story(d) != "contacts 2 created" {
		t.Errorf("%v %v", d, err)
	}
	if s, err := l.At(t.Context(), moment); err != nil || s.Subjects() != 1 {
		t.Errorf("%+v %v", s, err)
	}
	// From HubSpot's other records one cannot tell.
	for i := range 5 {
		w.event("contacts", 3, schemas.OpUpdated, values{"n": strconv.Itoa(i)})
	}
	var missing *history.NotCoveredError
	if _, err := w.open().At(t.Context(), moment); !errors.As(err, &missing) || len(missing.Gaps) != 1 || missing.Gaps[0].ID != "3" {
		t.Errorf("%v", err)
	}
}
