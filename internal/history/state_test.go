package history_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
)

// TestTheStateAtAMomentIsTheNewestMessageOfEverySubject writes records and links at random and asks for the state at every
// moment: each subject's newest message, or a gap.
func TestTheStateAtAMomentIsTheNewestMessageOfEverySubject(t *testing.T) {
	t.Parallel()
	const depth = 3
	w := newWriter(t, depth)
	rng := rand.New(rand.NewPCG(7, 2))
	sequences := map[string][]uint64{} // by subject
	var last uint64
	for i := range 120 {
		id := min(rng.IntN(10), rng.IntN(10)) + 1
		if rng.IntN(3) == 0 {
			last = w.links(id, i)
			subject := schemas.Subject{Kind: schemas.KindLinks, Portal: portal, Object: "contacts", ID: strconv.Itoa(id), To: "companies"}.String()
			sequences[subject] = append(sequences[subject], last)
			continue
		}
		op := schemas.OpUpdated
		if w.last[schemas.RecordSubject(portal, "contacts", strconv.Itoa(id))] == nil {
			op = schemas.OpCreated
		}
		last = w.event("contacts", id, op, values{"n": strconv.Itoa(i)})
		subject := schemas.RecordSubject(portal, "contacts", strconv.Itoa(id))
		sequences[subject] = append(sequences[subject], last)
	}
	l := w.open()
	whole, partial := 0, 0
	for moment := uint64(0); moment <= last; moment += 5 {
		want, gone := map[string]uint64{}, 0
		for subject, all := range sequences {
			kept := all[max(0, len(all)-depth):]
			dropped := len(all) > depth // if it did exist at the moment: its oldest event that is kept does not say
			i := slices.IndexFunc(kept, func(seq uint64) bool { return seq > moment })
			if i < 0 {
				i = len(kept)
			}
			isLinks := subject[len("hubspot.42.")] == '_'
			switch {
			case i > 0:
				want[subject] = kept[i-1]
			case moment > 0 && (dropped || isLinks && len(kept) == depth): // a set of links of which that many are kept may have had more
				gone++
			}
		}
		s, err := l.At(t.Context(), at(moment))
		var missing *history.NotCoveredError
		if err != nil && !errors.As(err, &missing) {
			t.Fatal(err)
		}
		if len(s.Gaps()) != gone || (err == nil) != (gone == 0 && moment > 0) { // at 0 there was no log
			t.Fatalf("at %d: %d gaps, want %d: %v", moment, len(s.Gaps()), gone, err)
		}
		if err == nil {
			whole++
		} else if partial++; missing.Seq <= moment {
			t.Errorf("at %d: covered from %d on?", moment, missing.Seq)
		} else if _, err := l.At(t.Context(), at(missing.Seq)); err != nil {
			t.Errorf("at %d: from %d on it is not covered: %v", moment, missing.Seq, err)
		}
		got := map[string]uint64{}
		if err := s.Each(t.Context(), func(e history.Entry) error { got[e.Subject] = e.Seq; return nil }); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || s.Subjects() != len(want) {
			t.Fatalf("at %d: got %v, want %v", moment, got, want)
		}
	}
	if whole < 2 || partial < 3 {
		t.Errorf("%d moments are covered, %d not: this tests too little", whole, partial)
	}
}

// TestALogWithLimitsSaysThatItMayHaveForgottenRecords: of contacts 1 and 2 nothing is left. Without a limit the same log is
// one that dropped old versions.
func TestALogWithLimitsSaysThatItMayHaveForgottenRecords(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 16)
	for id := 1; id <= 4; id++ {
		w.event("contacts", id, schemas.OpCreated, values{"n": "1"})
	}
	last := w.event("contacts", 4, schemas.OpUpdated, values{"n": "2"})
	limit := func(change func(*jetstream.StreamConfig)) {
		stream, err := w.js.Stream(t.Context(), "HUBSPOT")
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		change(&cfg)
		if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	// The limit alone has dropped nothing yet.
	limit(func(c *jetstream.StreamConfig) { c.MaxMsgs = 100 })
	if _, err := w.open().At(t.Context(), at(last)); err != nil {
		t.Errorf("all is kept: %v", err)
	}
	limit(func(c *jetstream.StreamConfig) { c.MaxMsgs = 3 })
	l := w.open()
	var gone *history.NotCoveredError
	s, err := l.At(t.Context(), at(last))
	if !errors.As(err, &gone) || gone.Forgotten == "" || gone.Seq != 0 || s.Subjects() != 2 {
		t.Errorf("%v, want that it may have forgotten records, and the state without them", err)
	}
	if _, err := l.At(t.Context(), at(0)); !errors.As(err, &gone) || gone.Nothing == "" || gone.Forgotten != "" {
		t.Errorf("before the first message: %v", err)
	}
	if _, err := l.Diff(t.Context(), at(0), at(last)); !errors.As(err, &gone) || gone.Forgotten == "" || gone.Seq != 2 {
		t.Errorf("%v, want that all is known from 2 on", err)
	}
	if _, err := l.Diff(t.Context(), at(2), at(last)); err != nil {
		t.Errorf("a difference of what is kept: %v", err)
	}
	limit(func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 })
	if _, err := w.open().At(t.Context(), at(last)); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}

func TestWhatWasErasedLaterIsErasedAtAllTimes(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 3)
	w.event("contacts", 1, schemas.OpCreated, values{"n": "1"})
	moment := w.event("contacts", 2, schemas.OpCreated, values{"n": "1"})
	w.event("contacts", 1, schemas.OpUpdated, values{"n": "2"})
	purged := w.event("contacts", 1, schemas.OpPurged, nil)
	s, err := w.open().At(t.Context(), at(moment))
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Purged(); len(p) != 1 || p[0].Seq != purged || s.Subjects() != 1 {
		t.Errorf("%d subjects, erased %+v", s.Subjects(), p)
	}
}

func TestDefinitionsThatAreGoneAreReplacedByTheNearestLaterOnes(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 2)
	define := func(label string) uint64 {
		return w.control(&schemas.PropertyDefinitions{Portal: portal, Object: "contacts", Properties: []schemas.Property{{Name: "n", Type: "string", Label: label}}})
	}
	define("first")
	moment := w.event("contacts", 1, schemas.OpCreated, values{"n": "1"})
	define("second")
	nearest := define("third")
	define("fourth")
	s, err := w.open().At(t.Context(), at(moment))
	if err != nil {
		t.Fatal(err)
	}
	if d, replaced, err := s.Definitions(t.Context()); err != nil || len(d) != 1 || d[0].Seq != nearest || len(replaced) != 1 || replaced[0] != "contacts" {
		t.Errorf("%+v %v %v", d, replaced, err)
	}
	for _, objects := range [][]string{nil, {"contacts"}, {"deals", "contacts"}} {
		s, err := w.open().At(t.Context(), at(nearest), objects...)
		if err != nil || s.Subjects() != 2 {
			t.Fatalf("where they are kept: %+v %v", s, err)
		}
		if d, replaced, err := s.Definitions(t.Context()); err != nil || len(d) != 1 || d[0].Seq != nearest || len(replaced) != 0 {
			t.Errorf("%v where they are kept: %+v %v %v", objects, d, replaced, err)
		}
	}
	if s, err = w.open().At(t.Context(), at(nearest), "deals"); err != nil || s.Subjects() != 0 {
		t.Errorf("of another object type: %+v %v", s, err)
	}
}
