package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// backfill reads the followers' object types whole, all at once, and goes on with reads that were interrupted. It calls
// ended once for each: with nil when everything is in the log and the cursor says so, else with what went wrong; such a
// type can go on from its cursor later. It returns when all have ended.
func (s *Source) backfill(ctx context.Context, followers []*follower, ended func(*follower, error)) {
	b := &backfill{
		client: s.cfg.Client.At(hubspot.PriorityBackfill),
		logger: s.cfg.Logger.With("component", "backfill"),
		byPlan: make(map[*objectPlan]*backfillObject),
		events: make(chan any),
	}
	b.lanes.plan = &b.plan
	for _, f := range followers {
		o := newBackfillObject(s, f, s.cfg.Client.Now())
		o.ended = func(err error) { ended(f, err) }
		b.objects = append(b.objects, o)
		b.plan.objects = append(b.plan.objects, o.plan)
		b.byPlan[o.plan] = o
	}
	b.run(ctx)
}

// backfill is a full read of several object types, which share one quota.
//
// A type's ids are covered by ranges that are still to be read, kept in its cursor. Pages are taken off a range's start by
// list and off its end by search; what a page settles is taken from the cursor's ranges in the atomic batch that holds the
// page's events. So a process that dies at any moment goes on with what the log lacks, and reads at most the pages again
// that were in flight. What is created above the highest id meanwhile is found by the poll, which reaches back to before
// the start.
//
// One goroutine, run's, owns the plan; requests and appends are goroutines that report to it.
type backfill struct {
	client  *hubspot.Client
	logger  *slog.Logger
	objects []*backfillObject
	byPlan  map[*objectPlan]*backfillObject
	plan    loadPlan
	lanes   lanes
	events  chan any // *answered or *committed
	tasks   sync.WaitGroup
	running int   // tasks that will report
	reading int   // of these, requests
	others  int   // requests in the burst quota that are not ours, as last seen
	held    int   // bytes of records received and not yet in the log
	fatal   error // ends the run for all types
}

// maxHeld bounds the records that wait for the log: while it is slow, HubSpot is not asked for more.
const maxHeld = 32 << 20

// answered is a page that HubSpot answered, or the error that it got instead.
type answered struct {
	request  *pageRequest
	object   *backfillObject
	at       time.Time
	records  []hubspot.Record
	rejected []hubspot.RejectedRecord
	ids      pageIDs
	settled  idRanges
	asked    []string // names of the properties it was asked for
	after    uint64   // position of the log when it was asked for
	calls    int      // requests that it took
	err      error
}

// committed is the end of an append.
type committed struct {
	object *backfillObject
	pages  []*answered
	err    error
}

// What is still done after ctx ended: answers are awaited that are about to come, and what was received is appended.
const (
	answerTime = time.Second
	appendTime = 10 * time.Second
)

// run reads and appends until all is done or ctx has ended.
func (b *backfill) run(ctx context.Context) {
	defer b.tasks.Wait()
	reads, stopReads := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReads()
	appends, stopAppends := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAppends()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := ctx.Err(); err != nil && b.fatal == nil {
			b.fatal = err
			defer time.AfterFunc(answerTime, stopReads).Stop()
			defer time.AfterFunc(appendTime, stopAppends).Stop()
		}
		wait := b.request(reads)
		b.commit(appends)
		if b.running == 0 && wait <= 0 {
			break
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case e := <-b.events:
			b.running--
			b.handle(e)
		case <-timer.C:
		case <-b.done(ctx):
		}
	}
	for _, o := range b.objects {
		if !o.over {
			o.end(cmp.Or(o.failed, b.fatal, errors.New("nothing left to ask, yet ids remain unread")))
		}
	}
}

// done is ctx's channel until its end was noticed: then the tasks in flight are all there is to wait for.
func (b *backfill) done(ctx context.Context) <-chan struct{} {
	if b.fatal != nil {
		return nil
	}
	return ctx.Done()
}

// request sends what the lanes allow. It returns after how long they allow more, 0 if there is nothing to wait for.
func (b *backfill) request(ctx context.Context) time.Duration {
	if b.fatal != nil || b.held > maxHeld {
		return 0
	}
	q := b.quota()
	for r := b.lanes.next(time.Now(), q); r != nil; r = b.lanes.next(time.Now(), q) {
		o := b.byPlan[r.object]
		b.reading++
		b.start(func() any { return b.read(ctx, o, r) })
	}
	for _, o := range b.objects {
		if !o.plan.stopped && !o.plan.done() {
			return min(b.lanes.wait(time.Now(), q), q.interval/100) // others' requests end without a sign
		}
	}
	return 0
}

// quota asks the client's budget what it allows.
func (b *backfill) quota() quota {
	u := b.client.Usage()
	q := quota{
		limit: u.Window.Limit, interval: u.Window.Interval,
		searchLimit: u.Search.Limit, searchInterval: u.Search.Interval,
		searchCounts: u.Search.InWindow != "no", others: b.others,
	}
	if u.InFlight+u.Waiting >= b.reading { // else some of ours are not with the budget yet
		ours := q.limit - b.lanes.both.free(time.Now(), q.limit, q.interval) - u.Waiting
		q.others = max(u.Window.Used-ours, 0)
		b.others = q.others
	}
	q.others += u.Window.Reserved
	return q
}

// start runs a task whose result is an event.
func (b *backfill) start(task func() any) {
	b.running++
	b.tasks.Go(func() { b.events <- task() })
}

// readTries is how often a page is read that holds a record without a readable id. Where such a record belongs nobody
// knows: with the page accounted for, it would not be read again if it was readable a moment later.
const readTries = 3

// read asks HubSpot for a page.
func (b *backfill) read(ctx context.Context, o *backfillObject, r *pageRequest) *answered {
	for try := 1; ; try++ {
		a := &answered{request: r, object: o, calls: try}
		if r.lane == laneList {
			a.list(ctx, b.client)
		} else {
			a.search(ctx, b.client)
		}
		a.at = time.Now()
		if a.err != nil || try == readTries || !slices.Contains(a.ids.rejected, 0) {
			return a
		}
		b.logger.Debug("page read again, the id of a record in it cannot be read", "object", o.name(), "lane", r.lane)
	}
}

// handle takes an event into account.
func (b *backfill) handle(event any) {
	switch e := event.(type) {
	case *answered:
		o := e.object
		b.reading--
		b.lanes.took(e.request, e.at)
		if e.err != nil {
			o.plan.release(e.request)
			b.refused(o, e.request.lane, e.err)
			return
		}
		b.held += o.receive(e)
		if shut := o.plan.shut[e.request.lane]; shut != nil && !errors.Is(shut, errNothingFound) && len(e.settled) == 0 {
			b.refused(o, e.request.lane, shut)
		}
	case *committed:
		o := e.object
		o.committing = false
		for _, p := range e.pages {
			b.held -= p.size()
		}
		switch {
		case e.err != nil:
			b.stop(o, fmt.Errorf("backfill %s: %w", o.name(), e.err))
			b.held -= o.drop()
		case e.pages == nil:
			o.end(nil)
		}
	}
}

// refused decides what an error of HubSpot means: the other lane may do, the type cannot be read, or nothing can.
func (b *backfill) refused(o *backfillObject, l lane, err error) {
	if errors.Is(err, hubspot.ErrInvalid) || errors.Is(err, errPageOrder) {
		o.plan.shut[l] = err
		if o.plan.shut[1-l] == nil {
			b.logger.Warn("one way of reading does not work for this type, the other goes on alone",
				"object", o.name(), "lane", l, "err", err)
			return
		}
	}
	if errors.Is(err, hubspot.ErrUnauthorized) && b.fatal == nil {
		b.fatal = err
	}
	b.stop(o, fmt.Errorf("backfill %s: %w", o.name(), err))
}

// stop ends the reading of one type. What was read is still appended, unless it is that which failed.
func (b *backfill) stop(o *backfillObject, err error) {
	if o.failed == nil {
		o.failed = err
	}
	o.plan.stopped = true
}

// commit appends what was read, one append a type at a time, and closes the types that are done.
func (b *backfill) commit(ctx context.Context) {
	for _, o := range b.objects {
		switch {
		case o.over || o.committing:
		case len(o.queue) > 0:
			pages, total := o.take(), o.plan.total
			o.committing = true
			b.start(func() any { return &committed{object: o, pages: pages, err: o.append(ctx, pages, total)} })
		case o.failed != nil:
			if !o.plan.waiting() {
				o.end(o.failed)
			}
		case o.plan.done():
			o.committing = true
			b.start(func() any { return &committed{object: o, err: o.close(ctx)} })
		}
	}
}
