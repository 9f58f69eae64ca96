package connector

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/internal/jetlog"
)

func TestChaosLosesNothing(t *testing.T) {
	t.Parallel()
	size := chaosSize{changes: 4000, seed: chaosSeed(t, 22), clock: 0.02}
	r := runChaos(t, size)
	t.Log(r)
	r.require(t)
}

func TestChaosWithWebhooksLosesNothing(t *testing.T) {
	t.Parallel()
	size := chaosSize{changes: 4000, seed: chaosSeed(t, 22), clock: 0.02, webhooks: true}
	r := runChaos(t, size)
	t.Log(r)
	r.require(t)
}

func TestChaosSeesWhatOtherRulesLose(t *testing.T) {
	t.Parallel()
	size := chaosSize{changes: 10_000, seed: chaosSeed(t, 1), clock: 0.02}
	verdicts := runControls(t, size)
	t.Log(controlTable(verdicts, size.kinds()))
	for _, name := range []string{"newer than the newest seen (GT)", "newest seen + 1 ms, page by page", "one page a tick", "window up to now, bookmark = now"} {
		if verdicts[name].failures() == 0 {
			t.Errorf("%s loses nothing: who looks on is blind", name)
		}
	}
}

// BenchmarkChaos changes a portal in every way, under storms, with the source killed now and then, and holds the log
// against the portal afterwards: by polling alone, beside the cursor rules of other connectors, and with webhooks. It
// prints what is lost, wrong or twice, and how long changes took.
//
//	make chaos
//	HUBTAIL_CHAOS_CHANGES=1000000 HUBTAIL_CHAOS_SEED=7 HUBTAIL_BENCH_CLOCK=0.2 make chaos
func BenchmarkChaos(b *testing.B) {
	size := chaosSize{changes: 100_000, seed: chaosSeed(b, 1), clock: 0.1, flicker: 0.02}
	if n, err := strconv.Atoi(os.Getenv("HUBTAIL_CHAOS_CHANGES")); err == nil {
		size.changes = n
	}
	if f, err := strconv.ParseFloat(os.Getenv("HUBTAIL_BENCH_CLOCK"), 64); err == nil {
		size.clock = f
	}
	b.Run("polling", func(b *testing.B) {
		for range b.N {
			var others map[string]*chaosVerdict
			var beside sync.WaitGroup
			beside.Go(func() { others = runControls(b, size) })
			r := runChaos(b, size)
			beside.Wait()
			b.Logf("%s%s", r, controlTable(others, size.kinds()))
			r.require(b)
		}
		b.ReportMetric(0, "ns/op")
	})
	b.Run("webhooks", func(b *testing.B) {
		size.webhooks = true
		for range b.N {
			r := runChaos(b, size)
			b.Log(r)
			r.require(b)
		}
		b.ReportMetric(0, "ns/op")
	})
}

// chaosSeed returns the seed that was asked for, or another one.
func chaosSeed(tb testing.TB, otherwise int64) int64 {
	if seed, err := strconv.ParseInt(os.Getenv("HUBTAIL_CHAOS_SEED"), 10, 64); err == nil {
		return seed
	}
	tb.Logf("HUBTAIL_CHAOS_SEED=%d", otherwise)
	return otherwise
}

// chaosResult is what a run came to.
type chaosResult struct {
	size              chaosSize
	verdict           *chaosVerdict
	log               *chaosLog
	requests, limited int
	refused           int // 429s that were earned, not injected
	kills             int
	load, play        time.Duration
	settled, rest     time.Duration // until the watermark passed the last change; until nothing differed
	watermark         bool          // it passed the last change
}

// runChaos plays a whole scenario: a full read, the changes under storms and crashes, and the time it takes the watermark
// to pass them.
func runChaos(tb testing.TB, size chaosSize) *chaosResult {
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	ledger := newChaosLedger()
	ledger.reread = size.webhooks // see config
	sim, url := startChaosPortal(tb, size.portal(ledger))
	portal := newChaosPortal(tb, size, sim, ledger)
	logs := setupLog(tb)
	log := newChaosLog(tb, logs.js, ledger)
	stopLog := log.follow(ctx)
	defer stopLog()
	source := &chaosSource{tb: tb, size: size, log: logs, url: url}
	source.shortenLease(ctx)
	if size.webhooks {
		source.receive(sim)
	}
	source.start(ctx)
	defer source.stop()
	r := &chaosResult{size: size, log: log}

	began := time.Now()
	patience := 5*time.Minute + 10*size.at(size.lasts())
	eventuallyWithin(tb, "the full read is done", patience, func() bool { return log.passed(0) })
	r.load, began = time.Since(began), time.Now()

	steps := portal.steps()
	for _, more := range [][]chaosStep{portal.neighbours(), portal.storms(), portal.expiries(), source.crashes(ctx, portal)} {
		steps = mergeSteps(steps, more)
	}
	portal.play(ctx, steps)
	sim.ClearFaults()
	r.play, began = time.Since(began), time.Now()

	end, _ := ledger.end()
	r.watermark = waitFor(patience, func() bool { return log.passed(end) })
	r.settled = time.Since(began)
	deadline := time.Now().Add(size.patience())
	must(tb, r.rested(ctx, sim, func() bool {
		if testing.Verbose() && os.Getenv("HUBTAIL_BENCH_LOG") != "" {
			tb.Logf("%d differ: %q", r.verdict.failures(), r.verdict.first)
		}
		return pause(ctx, time.Second, time.Second) == nil && time.Now().Before(deadline)
	}))
	r.rest = time.Since(began)
	source.stop()
	stream, err := logs.js.Stream(ctx, jetlog.DefaultStream)
	must(tb, err)
	eventuallyWithin(tb, "all of the log is read", patience, func() bool { return log.reached(stream.CachedInfo().State.LastSeq) })
	must(tb, r.rested(ctx, sim, func() bool { return false }))
	log.measure(r.verdict)

	stats := sim.Stats()
	r.requests, r.limited, r.kills = stats.Requests, stats.ByStatus[429], source.kills
	r.refused = stats.Search.Refused
	for _, w := range stats.Burst {
		r.refused += w.Refused
	}
	return r
}

// require fails if anything was lost, wrong, twice or out of order, or if a watermark did not keep its word.
func (r *chaosResult) require(tb testing.TB) {
	tb.Helper()
	if !r.watermark {
		tb.Errorf("the watermark does not pass the last change: %v", r.log.through)
	}
	for _, kind := range r.verdict.kinds {
		if kind.lost+kind.wrong+kind.duplicates > 0 {
			tb.Errorf("lost, wrong or twice: %q", r.verdict.first)
			break
		}
	}
	if n := len(r.log.disorder); n > 0 {
		tb.Errorf("%d events out of order: %q", n, r.log.disorder[:min(n, 5)])
	}
	if n := len(r.log.broken); n > 0 {
		tb.Errorf("%d changes that a watermark claimed were not in the log: %q", n, r.log.broken[:min(n, 5)])
	}
}

func (r *chaosResult) String() string {
	how := "by polling"
	if r.size.webhooks {
		how = "with webhooks"
	}
	s := fmt.Sprintf("%s: %d changes over %s, seed %d, 1:%g of HubSpot's pace (load %s, changes %s, until the watermark %s, until nothing differed %s)", how, r.size.changes, r.size.lasts(),
		r.size.seed, 1/r.size.clock, r.load.Round(time.Millisecond), r.play.Round(time.Millisecond), r.settled.Round(time.Millisecond), r.rest.Round(time.Millisecond))
	s += r.verdict.table(r.size.clock)
	s += fmt.Sprintf("%d events, %d out of order, %d false claims of the watermark; it was %s s behind (p50 p95 max)\n",
		r.log.events, len(r.log.disorder), len(r.log.broken), quantiles(r.log.late, r.size.clock))
	s += fmt.Sprintf("%d requests, %d of them answered by 429 (%d earned, the others part of a storm), source killed %d times\n",
		r.requests, r.limited, r.refused, r.kills)
	return s
}

// waitFor waits until a condition holds, or no longer.
func waitFor(patience time.Duration, ok func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			return false
		}
		<-tick.C
	}
	return true
}

// mergeSteps joins two lists of steps, each in order.
func mergeSteps(a, b []chaosStep) []chaosStep {
	merged := make([]chaosStep, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].at < a[0].at {
			merged, b = append(merged, b[0]), b[1:]
		} else {
			merged, a = append(merged, a[0]), a[1:]
		}
	}
	return append(append(merged, a...), b...)
}
