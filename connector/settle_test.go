package connector

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// watch follows a portal in simulated time and looks after every poll whether the watermark is true.
type watch struct {
	*sourceBundle
	mu      sync.Mutex           // guards changes: the portal tells of them from its own goroutines
	changes map[string]time.Time // of the records whose newest state is not in the log, when they were modified

	seq    uint64 // of the stream, looked at so far
	polls  int
	wrong  int // polls after which the watermark claimed what was not in
	claims int // in all, of single changes
	ages   []time.Duration
	settle []time.Duration
}

func newWatch(t *testing.T, lag simulator.Lag) *watch {
	w := &watch{changes: map[string]time.Time{}}
	w.sourceBundle = setupSource(t, simulator.Options{Calls: 1000, IndexLag: lag, Observe: func(c simulator.Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes[c.ID] = c.UpdatedAt
	}}, Config{Objects: []string{"calls"}})
	w.sync()
	w.advance(20 * time.Minute)
	w.poll("calls")
	w.look()
	w.polls, w.wrong, w.claims, w.ages = 0, 0, 0, nil
	return w
}

// advance moves the portal's clock and lets the source notice.
func (w *watch) advance(d time.Duration) {
	w.sim.Advance(d)
	for range 3 {
		_, err := w.source.cfg.Client.Account(w.t.Context())
		must(w.t, err)
	}
}

// run makes some changes per poll, a poll every four seconds, as a busy object type has it.
func (w *watch) run(polls, changes int) {
	ids := w.sim.IDs("calls", 0, 1000, 1)
	for range polls {
		for i := range changes {
			n := w.polls*changes + i
			must(w.t, w.sim.Update("calls", ids[n*37%len(ids)], map[string]string{"hs_call_title": strconv.Itoa(n)}))
			w.sim.Advance(4 * time.Second / time.Duration(changes))
		}
		w.advance(0)
		w.poll("calls")
		w.look()
		w.polls++
	}
}

// look takes what came into the log into account and judges the watermark.
func (w *watch) look() {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), jetlog.DefaultStream)
	must(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	for last := stream.CachedInfo().State.LastSeq; w.seq < last; {
		w.seq++
		m, err := stream.GetMsg(w.t.Context(), w.seq)
		if err != nil {
			continue // an old cursor
		}
		subject, err := schemas.ParseSubject(m.Subject)
		must(w.t, err)
		if subject.Kind != schemas.KindRecord {
			continue
		}
		e, err := schemas.DecodeEvent(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
		must(w.t, err)
		if at, open := w.changes[e.ID]; open && !e.UpdatedAt.Before(at) {
			delete(w.changes, e.ID)
		}
	}
	through, wrong := w.follower("calls").log.Cursor().CompleteThrough, 0
	for _, at := range w.changes {
		if at.Before(through) {
			wrong++
		}
	}
	w.claims += wrong
	w.wrong += min(wrong, 1)
	w.ages = append(w.ages, w.sim.Now().Sub(through))
	w.settle = append(w.settle, w.follower("calls").settling.time())
}

// age returns a quantile of how old the watermark was after the polls, less the time until the next one.
func (w *watch) age(q float64) time.Duration {
	ages := slices.Sorted(slices.Values(w.ages))
	return ages[int(q*float64(len(ages)-1))].Round(time.Second)
}

func (w *watch) status() ObjectStatus { return w.source.Status()[0] }

func (w *watch) tell(what string) {
	w.t.Logf("%s: wrong after %d of %d polls (%d changes in all), age p50 %s p95 %s, settle time %s, late %d",
		what, w.wrong, w.polls, w.claims, w.age(0.5), w.age(0.95), w.settle[len(w.settle)-1].Round(time.Second), w.status().Late)
}

// TestSettleTimeFollowsTheIndex has the index as late as HubSpot's default is taken to be: 1-10 s, a fiftieth up to 2 min.
func TestSettleTimeFollowsTheIndex(t *testing.T) {
	t.Parallel()
	w := newWatch(t, simulator.Lag{})
	w.run(400, 4)
	w.tell("default lag")
	if w.wrong > 8 {
		t.Errorf("the watermark was wrong after %d of %d polls", w.wrong, w.polls)
	}
	if age := w.age(0.95); age > 140*time.Second {
		t.Errorf("the watermark is %s old", age)
	}
	s := w.follower("calls").log.Cursor().Settle
	equal(t, "the status tells the settle time", w.status().SettleMS, s.TimeMS)
	next := w.newSource(Config{Objects: []string{"calls"}})
	equal(t, "a restart keeps it", next.followers[0].settling.time().Milliseconds(), s.TimeMS)
}

// TestWatermarkIsRightOnceTheLagIsKnown knows the longest lag, 45 s.
func TestWatermarkIsRightOnceTheLagIsKnown(t *testing.T) {
	t.Parallel()
	w := newWatch(t, simulator.Lag{Min: time.Second, Max: 45 * time.Second, Tail: -1})
	w.run(300, 4)
	w.tell("up to 45 s")
	equal(t, "polls after which the watermark was wrong", w.wrong, 0)
	if age := w.age(0.95); age > 2*time.Minute {
		t.Errorf("the watermark is %s old", age)
	}
}

// TestSettleTimeGrowsAtOnceWhenTheIndexFallsBehind lets the lag jump from 5 s to 90 s, without a sign.
func TestSettleTimeGrowsAtOnceWhenTheIndexFallsBehind(t *testing.T) {
	t.Parallel()
	w := newWatch(t, simulator.Lag{Min: 4 * time.Second, Max: 5 * time.Second, Tail: -1})
	w.run(300, 4)
	w.tell("5 s")
	equal(t, "polls after which the watermark was wrong", w.wrong, 0)
	equal(t, "settle time", w.settle[len(w.settle)-1], settleFloor)
	w.sim.SetIndexLag(simulator.Lag{Min: 89 * time.Second, Max: 90 * time.Second, Tail: -1})
	w.polls, w.wrong, w.claims = 0, 0, 0
	w.run(45, 4)
	w.tell("90 s, the first three minutes")
	if w.wrong == 0 || w.status().Late == 0 {
		t.Error("nobody noticed that the watermark was wrong")
	}
	if w.wrong > 20 {
		t.Errorf("the watermark was wrong after %d polls", w.wrong)
	}
	w.polls, w.wrong, w.claims, w.ages = 0, 0, 0, nil
	w.run(100, 4)
	w.tell("90 s, from then on")
	equal(t, "polls after which the watermark was wrong", w.wrong, 0)
	if age := w.age(0.95); age > 3*time.Minute {
		t.Errorf("the watermark is %s old", age)
	}
	w.advance(5 * time.Minute)
	w.poll("calls")
	w.nothingLost("calls", w.sim.Now())
	w.noDuplicates()
}

func TestSettleTimeOfAnObservation(t *testing.T) {
	t.Parallel()
	of := func(changes int64, longest time.Duration) time.Duration {
		return settleOf([]schemas.LagEpoch{{Changes: changes / 2, LongestMS: 1}, {Changes: changes - changes/2, LongestMS: longest.Milliseconds()}})
	}
	equal(t, "nothing seen", settleOf(nil), settleFirst)
	equal(t, "little seen", of(10, 5*time.Second), settleFirst)
	equal(t, "little seen, late", of(0, 100*time.Second), 132*time.Second)
	equal(t, "much seen", of(100_000, 5*time.Second), settleFloor)
	equal(t, "much seen, late", of(1_000_000_000, 100*time.Second).Round(time.Second), 102*time.Second)
	equal(t, "an outage", of(5000, time.Hour), settleCeiling)
}

func TestSettlingLearnsOnlyFromWhatAPassAskedForInVain(t *testing.T) {
	t.Parallel()
	s := settling{reach: reach}
	s.begin(nil)
	seen := func(id, modified, now int) {
		s.sighted([]hubspot.Record{{ID: strconv.Itoa(id), UpdatedAt: at(modified)}}, at(now))
	}
	longest := func() (ms int64) {
		for _, e := range s.state.Epochs {
			ms = max(ms, e.LongestMS)
		}
		return ms
	}
	s.passing(at(0))
	s.passed(at(-60), at(0))
	seen(1, -50, 10)
	equal(t, "modified before it began to look", longest(), 0)
	seen(2, 5, 12)
	equal(t, "no pass since", longest(), 0)
	s.passed(at(-30), at(12))
	seen(2, 5, 24)
	equal(t, "shown before", longest(), 0)
	seen(3, 15, 24)
	equal(t, "no pass since", longest(), 0)
	seen(4, 8, 24)
	equal(t, "a pass at 12 did not show it", longest(), 9000)
	s.passed(at(20), at(60))
	seen(5, 10, 72)
	equal(t, "a pass at 60 did not ask for it", longest(), 9000)
	s.passed(at(-60), at(100))
	equal(t, "young changes", s.state.Epochs[0].Changes, 0)
	s.passed(at(0), at(140))
	equal(t, "changes", s.state.Epochs[0].Changes, 4)
	s.behind([]time.Time{at(30)}, at(130))
	equal(t, "one behind the watermark counts with its age", longest(), 100_000)
	equal(t, "late", s.state.Late, 1)
	s.behind([]time.Time{at(-10_000)}, at(130))
	equal(t, "one that no settle time covers does not", longest(), 100_000)
	s.observe(0, at(0).Add(settleEpoch+time.Hour))
	equal(t, "the last epoch counts", s.time() > 100*time.Second, true)
	s.observe(0, at(0).Add(2*settleEpoch+2*time.Hour))
	equal(t, "the one before does not", s.time(), settleFirst)
}

// TestManyEarlyChangesSayNothingAboutLateOnes shows thousands of changes at once, in the first seconds of a busy portal: those
// that are late are still to come.
func TestManyEarlyChangesSayNothingAboutLateOnes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		every int // seconds from one pass to the next
		want  time.Duration
	}{
		{"passes that see late ones", 30, settleFloor},
		{"passes too far apart to see how late they are", 90, settleFirst},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := settling{reach: reach}
			s.begin(nil)
			s.passing(at(0))
			s.passed(at(-200), at(0))
			for id := range 3000 {
				s.sighted([]hubspot.Record{{ID: strconv.Itoa(id), UpdatedAt: at(1).Add(time.Duration(id) * 10 * time.Millisecond)}}, at(32))
			}
			equal(t, "settle time after half a minute", s.time(), settleFirst)
			for now := test.every; now <= 360; now += test.every {
				s.passed(at(now-200), at(now))
			}
			equal(t, "settle time after six minutes", s.time(), test.want)
		})
	}
}
