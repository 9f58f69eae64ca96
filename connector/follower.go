package connector

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// follower keeps the records of one object type in the log up to date.
type follower struct {
	worker
	object hubspot.Object
	client *hubspot.Client // at the priority of incremental reads
	scan   *hubspot.Client // at that of full reads: a few definitions at the start must not make the budget keep room for more

	archived *archivedWalk
	reread   *rereading

	hinted *hubspot.Client // at that of reads that webhooks ask for
	told   toldCounts      // what those brought
	heard  *hintWatch      // what they did not tell of

	names atomic.Pointer[[]string] // of the properties that records are read with

	prepareOnce sync.Once
	definedAt   time.Time     // when the definitions were last read, by our clock
	suspect     chan struct{} // something hints at a change of the definitions
	prepared    chan struct{} // closed after the first try to read the definitions, good or bad
	loaded      chan error    // the result of the full read under way, one at most
	loading     atomic.Bool   // a full read was asked for and its result not taken yet

	settling settling // learns how late search is

	// What polls know beyond the cursor, for the goroutine that polls.
	covered  coverage
	lastDeep passStats
	lastLate passStats
	lastPass time.Time // when the last pass, deep or fast, began
	movedAt  time.Time // when the cursor was last moved
	short    bool      // it was told that search hides results and the coverage no longer waits for them
	summary  runSummary
}

func newFollower(s *Source, object hubspot.Object, log *objectLog) *follower {
	f := &follower{
		worker: newWorker(s, log), object: object, client: s.cfg.Client.At(hubspot.PriorityIncremental), scan: s.cfg.Client.At(hubspot.PriorityBackfill),
		prepared: make(chan struct{}), loaded: make(chan error, 1), suspect: make(chan struct{}, 1),
	}
	log.confirm, log.asked, log.condemn = f.confirm, f.properties, f.condemn
	f.hinted, f.heard = s.cfg.Client.At(hubspot.PriorityWebhook), &hintWatch{now: s.cfg.Client.Now}
	log.watcher = f.heard
	f.settling.fixed, f.settling.reach = s.cfg.Settle, s.cfg.Reach
	f.settling.begin(log.Cursor().Settle)
	log.learned, log.late = f.settling.learned, f.wasLate
	f.archived = newArchivedWalk(f)
	f.reread = newRereading(f)
	return f
}

// reset forgets what an earlier time as the leader left behind.
func (f *follower) reset() {
	f.prepareOnce, f.prepared, f.loaded = sync.Once{}, make(chan struct{}), make(chan error, 1)
	f.loading.Store(false)
	f.lastPass, f.movedAt, f.summary = time.Time{}, time.Time{}, runSummary{}
}

// properties returns the names of the properties that records are to be read with: all there are. The slice is never
// changed, but replaced when a definition comes or goes.
func (f *follower) properties() []string {
	if names := f.names.Load(); names != nil {
		return *names
	}
	return nil
}

// confirm reads records again from HubSpot's primary store, see objectLog.
func (f *follower) confirm(ctx context.Context, ids []string) (hubspot.Batch, error) {
	return f.client.BatchRead(ctx, hubspot.BatchReadRequest{Object: f.object, IDs: ids, Properties: f.properties()})
}

// wasLate takes note of changes that the watermark had passed when they came into the log.
func (f *follower) wasLate(modified []time.Time, now time.Time) {
	settle := f.settling.behind(modified, now)
	oldest := slices.MinFunc(modified, time.Time.Compare)
	f.logger.Warn("changes came into the log after the watermark had passed their time",
		"changes", len(modified), "late_by", now.Sub(oldest).Round(time.Second), "settle_time", settle.Round(time.Second))
}

// needsBackfill reports whether the object type was never read whole, or is being read.
func (f *follower) needsBackfill() bool {
	c := f.log.Cursor()
	return c.BackfilledAt.IsZero() || c.Backfill != nil
}

// follow works until ctx ends. It returns an error only if no object type can go on.
func (f *follower) follow(ctx context.Context) error {
	err := f.keep(ctx, func(ctx context.Context) error {
		// Nobody waits for us any longer once the first try failed.
		defer f.prepareOnce.Do(func() { close(f.prepared) })
		err := f.work(ctx)
		f.flush(ctx) // before the failed run: whoever looks at the newest run must see that one
		return err
	})
	return err
}

// begin takes the cursor over from whoever led, and prepares.
func (f *follower) begin(ctx context.Context) error {
	if _, err := f.log.Reload(ctx); err != nil {
		return err
	}
	return f.prepare(ctx)
}

// work prepares, asks for a full read if none was finished, and polls. It returns when something fails.
func (f *follower) work(ctx context.Context) error {
	f.covered, f.lastDeep, f.lastLate = coverage{}, passStats{}, passStats{} // someone else may have led meanwhile
	f.settling.begin(f.log.Cursor().Settle)
	select {
	case <-f.loaded: // ended while we waited
		f.loading.Store(false)
	default:
	}
	if err := f.prepare(ctx); err != nil {
		return err
	}
	if f.needsBackfill() && f.loading.CompareAndSwap(false, true) {
		select {
		case f.source.loads <- f:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.prepareOnce.Do(func() { close(f.prepared) })
	if err := f.preparePipelines(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.followChanges(gctx) })
	g.Go(func() error { return f.archived.run(gctx) })
	g.Go(func() error { return f.reread.run(gctx) })
	g.Go(func() error { return f.erase(gctx) })
	return g.Wait()
}

// errInterrupted says that another source led for a while during a full read.
var errInterrupted = errors.New("full read interrupted by another source, going on")

// followChanges polls, until something fails.
func (f *follower) followChanges(ctx context.Context) error {
	redefine := time.NewTimer(jitter(f.source.cfg.DefinitionsInterval))
	defer redefine.Stop()
	interval, first := f.source.cfg.PollInterval, time.Duration(0)
	if f.loading.Load() {
		first = f.interval(interval, 0) // there is nothing to follow yet
	}
	poll := time.NewTimer(first)
	defer poll.Stop()
	for {
		f.status.live(f.loading.Load())
		select {
		case err := <-f.loaded:
			f.loading.Store(false)
			if errors.Is(err, ErrStandby) && !f.log.standsBy(ctx) {
				return errInterrupted
			}
			if err != nil {
				return err
			}
			f.logger.Info("full read done", "records", f.status.get().Done)
			poll.Reset(0) // the incremental pass that completes a full read
		case <-redefine.C:
			if err := errors.Join(f.prepare(ctx), f.preparePipelines(ctx)); err != nil {
				return err
			}
			redefine.Reset(jitter(f.source.cfg.DefinitionsInterval))
		case <-f.suspect:
			redefine.Reset(f.redefineIn(f.source.cfg.DefinitionsInterval / redefineSuspect))
		case <-poll.C:
			now := f.client.Now()
			news, err := f.poll(ctx)
			if errors.Is(err, hubspot.ErrInvalid) { // a property that the request names may be gone
				if err = f.prepare(ctx); err == nil {
					news, err = f.poll(ctx)
				}
			}
			if err != nil {
				return err
			}
			if news > 0 || len(f.log.Cursor().NewProperties) > 0 {
				redefine.Reset(f.redefineIn(f.source.cfg.DefinitionsInterval / redefineBusy))
			}
			interval = f.interval(interval, news)
			poll.Reset(jitter(interval))
			if f.failure != "" && !f.loading.Load() {
				f.recovered(ctx, now, f.summary.counts)
				f.summary = runSummary{}
			}
			f.summarise(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// interval returns how long to wait for the next poll: a type that just changed changes again soon, and while a type is
// read whole the quota is for that.
//
// Many object types are polled less often while they are quiet, so that an idle portal stays within a fifth of the daily
// quota however many there are.
func (f *follower) interval(last time.Duration, news int64) time.Duration {
	busy := f.source.cfg.PollInterval
	quiet := busy * time.Duration(max(len(f.source.followers), pollTypes)) / pollTypes
	switch {
	case f.loading.Load():
		return 5 * busy / 2
	case news > 0:
		return busy / 3
	}
	return min(last+last/2, quiet)
}

// pollTypes is how many object types may be polled every Config.PollInterval.
const pollTypes = 6

// syncOnce reads what changed since the last time and records it as a run.
func (f *follower) syncOnce(ctx context.Context) error {
	from := f.client.Now()
	if err := f.preparePipelines(ctx); err != nil {
		return err
	}
	f.covered, f.lastLate, f.movedAt = coverage{}, passStats{}, time.Time{}
	f.settling.begin(f.log.Cursor().Settle)
	stats, err := f.deep(ctx)
	if err != nil {
		return err
	}
	if err := f.archived.once(ctx); err != nil {
		return err
	}
	if err := f.reread.once(ctx); err != nil {
		return err
	}
	counts := addCounts(stats.counts, f.takeTold())
	f.endRun(ctx, "incremental", from, counts, nil)
	f.status.live(false)
	return nil
}

// runSummary is what polls found since the last run was recorded.
type runSummary struct {
	from   time.Time
	counts schemas.Counts
}

func (r *runSummary) add(at time.Time, c schemas.Counts) {
	if r.from.IsZero() {
		r.from = at
	}
	r.counts = addCounts(r.counts, c)
}

// news returns how many records were new to the log.
func newsOf(c schemas.Counts) int64 { return c.Created + c.Updated + c.Deleted + c.Failed }

// takeTold returns what webhooks, walks over the recycle bin and re-reads brought since the last time.
func (f *follower) takeTold() schemas.Counts {
	return addCounts(f.told.take(), addCounts(f.archived.told.take(), f.reread.told.take()))
}

// summarise records what polls found as a run, if they found anything and it is time.
func (f *follower) summarise(ctx context.Context) {
	f.summary.add(f.client.Now(), f.takeTold())
	if now := f.client.Now(); newsOf(f.summary.counts) > 0 && now.Sub(f.summary.from) >= f.source.cfg.RunInterval {
		f.endRun(ctx, "incremental", f.summary.from, f.summary.counts, nil)
		f.summary = runSummary{}
	} else if newsOf(f.summary.counts) == 0 {
		f.summary = runSummary{}
	}
}

// flush records the last summary, after ctx ended too, within publishTimeout. After a failed run it waits for the recovery:
// a success would hide that.
func (f *follower) flush(ctx context.Context) {
	f.summary.add(f.client.Now(), f.takeTold())
	if newsOf(f.summary.counts) > 0 && f.failure == "" {
		f.endRun(context.WithoutCancel(ctx), "incremental", f.summary.from, f.summary.counts, nil)
		f.summary = runSummary{}
	}
}
