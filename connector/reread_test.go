package connector

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// learn lets a source notice that the portal's clock was moved.
func (b *sourceBundle) learn(s *Source) {
	b.t.Helper()
	for range 3 {
		_, err := s.cfg.Client.Account(b.t.Context())
		must(b.t, err)
	}
}

// TestCalculatedValuesReachTheLogWithinATurn changes values without a sign, and ends the source in the middle of the turn.
func TestCalculatedValuesReachTheLogWithinATurn(t *testing.T) {
	t.Parallel()
	cfg := Config{Objects: []string{"calls"}}
	b := setupSource(t, simulator.Options{Calls: 950, IndexLag: simulator.Lag{Off: true}}, cfg)
	b.sync()
	ids := b.sim.IDs("calls", 0, 950, 37)
	for _, id := range ids {
		must(t, b.sim.Recalculate("calls", id, map[string]string{"hs_call_duration": "4242"}))
	}
	b.sim.Advance(30 * time.Minute)
	b.learn(b.source)
	before := b.requests("list calls")
	b.sync()
	equal(t, "pages soon after the full read", b.requests("list calls")-before, 0)

	for _, d := range []time.Duration{time.Hour, 12 * time.Hour} {
		b.sim.Advance(d)
		b.learn(b.source)
		b.sync()
	}
	half := b.follower("calls").log.Cursor().Reread
	if half == nil || !half.DoneAt.IsZero() || half.Done < 400 || half.Done > 700 {
		t.Fatalf("after half a day: %+v", half)
	}
	b.source = b.newSource(cfg)
	c := b.follower("calls").log.Cursor()
	for i := 0; i < 14 && c.Reread.DoneAt.IsZero(); i++ {
		b.sim.Advance(time.Hour)
		b.learn(b.source)
		b.sync()
		c = b.follower("calls").log.Cursor()
	}
	equal(t, "records", c.Reread.Done, 950)
	if n := c.Reread.Changed; n == 0 || n > int64(len(ids)) { // the last page before the restart is not counted
		t.Errorf("%d changed", n)
	}
	equal(t, "done within the day", c.Reread.DoneAt.Sub(half.StartedAt) <= 25*time.Hour, true)
	b.nothingLost("calls", b.sim.Now())
	for _, id := range ids {
		e := b.states("calls")[id]
		if v, _ := e.Properties.Get("hs_call_duration"); v != "4242" || e.Op != schemas.OpUpdated || !e.SameTime {
			t.Fatalf("%s is %q, %s", id, v, e.Op)
		}
	}
	b.noDuplicates()
	if n := b.requests("list calls") - before; n > 40 {
		t.Errorf("%d pages of 950 records in a day", n)
	}
}

// TestATurnGoesOnWhileTheSourceRuns has turns follow each other without a one-shot run.
func TestATurnGoesOnWhileTheSourceRuns(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 350, IndexLag: simulator.Lag{Off: true}},
		Config{Objects: []string{"calls"}, PollInterval: 50 * time.Millisecond, Settle: 100 * time.Millisecond, RereadTurn: time.Second})
	stop := b.run(b.source)
	id := b.sim.IDs("calls", 0, 350, 1)[200]
	for _, title := range []string{"1111", "2222"} {
		eventually(t, "it works", func() bool { return b.source.Status()[0].Phase == PhaseLive })
		must(t, b.sim.Recalculate("calls", id, map[string]string{"hs_call_duration": title}))
		eventually(t, "the value", func() bool {
			e := b.states("calls")[id]
			if e == nil {
				return false
			}
			v, _ := e.Properties.Get("hs_call_duration")
			return v == title
		})
	}
	must(t, stop())
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

// TestATurnEndsOnlyWhereTheRecordsEnd has HubSpot leave out the next page, show garbled records, and lose its order.
func TestATurnEndsOnlyWhereTheRecordsEnd(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 700, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"calls"}})
	b.sync()
	for _, id := range b.sim.IDs("calls", 0, 700, 1) {
		must(t, b.sim.Recalculate("calls", id, map[string]string{"hs_call_duration": "4242"}))
	}
	for _, kind := range []simulator.FaultKind{simulator.FaultNoPaging, simulator.FaultMalformed, simulator.FaultSkip, simulator.FaultLoop, simulator.FaultCut} {
		b.sim.Inject(simulator.Fault{Kind: kind, Endpoint: "list", Rate: 0.2})
	}
	f := b.follower("calls")
	for range 200 {
		if err := f.reread.page(t.Context()); err != nil {
			t.Log(err)
		}
		if r := f.log.Cursor().Reread; r != nil && !r.DoneAt.IsZero() {
			break
		}
	}
	r := f.log.Cursor().Reread
	equal(t, "done", r != nil && !r.DoneAt.IsZero(), true)
	equal(t, "records", r.Done, 700)
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

func TestTurnsStayWithinTheirShareOfTheQuota(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	equal(t, "a small portal", rereadTurn(day, 460, 250_000), day)
	equal(t, "an unknown quota", rereadTurn(day, 75_000, 0), 10*day)
	equal(t, "ten million records", rereadTurn(day, 100_000, 1_000_000).Round(time.Minute), time.Duration(100_000.0/30_000*float64(day)).Round(time.Minute))

	r := schemas.Reread{StartedAt: at(0)}
	equal(t, "first page", rereadAt(r, 900, day), at(0))
	r.Done = 500
	equal(t, "half of it", rereadAt(r, 900, day), at(0).Add(12*time.Hour))
	r.Done = 900
	equal(t, "the last page", rereadAt(r, 900, day), at(0).Add(day*9/10))
}

func TestRecordsAreCounted(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 120, Owners: 3, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"calls", "owners"}})
	b.sync()
	count := func(what string, want int64) {
		t.Helper()
		equal(t, "records "+what, b.follower("calls").log.Cursor().Records, want)
	}
	count("after a full read", 120)
	_, err := b.sim.CreateMany("calls", 5)
	must(t, err)
	b.sync()
	count("after five more", 125)
	f, id := b.follower("calls"), b.sim.IDs("calls", 0, 1, 1)[0]
	must(t, b.sim.Archive("calls", id))
	_, err = f.hydrate(t.Context(), f.client, schemas.OriginWebhook, []string{id})
	must(t, err)
	count("after one was archived", 124)
	must(t, b.sim.Restore("calls", id))
	_, err = f.hydrate(t.Context(), f.client, schemas.OriginWebhook, []string{id})
	must(t, err)
	count("after it was restored", 125)
	mustAppend(t, f.log, page{Origin: schemas.OriginPoll, Records: []hubspot.Record{}}, nil)
	for _, s := range b.newSource(Config{Objects: []string{"calls", "owners"}}).Status() {
		want := map[string]int64{"calls": 125, "owners": int64(len(b.states("owners")))}[s.Object]
		if s.Object == "owners" {
			for _, e := range b.states("owners") {
				if e.Archived {
					want--
				}
			}
		}
		equal(t, "done of "+s.Object+" after a restart", s.Done, want)
		equal(t, "total of "+s.Object+" after a restart", s.Total, want)
	}
}
