package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// linkReader keeps the links between records in the log. HubSpot has no list of links that changed, and a change of links
// alone changes no record, so there are three ways to find one:
//
//   - the links of every record that has a new event in the log are read. The reader follows the log, whoever appended to
//     it, from the position in its cursor: a crash between a record and its links loses nothing, and a million changes wait
//     in the log, not in memory;
//   - those that a webhook names are read at once;
//   - a sweep reads the links of all records, slowly, over and over.
//
// What is read is a set: all links from one record to one object type. A set that changed names the records at the other
// end, whose sets are read as well. All of it is one goroutine's work, so that no set that was read earlier can come into the
// log after one that was read later; against other processes the cursor guards, as everywhere.
type linkReader struct {
	source *Source
	types  []*linkType
	choice linkChoice
	labels *hubspot.Client // at the priority of full reads
	logger *slog.Logger

	news   chan struct{} // holds one element when a record was appended
	hinted chan *linkHints
	short  atomic.Bool // the ration is used up

	// The fields below are for the goroutine that reads.
	discoverAt time.Time // zero before the first time
	discovered bool
	told       map[[2]string]string // refusals that were reported
	failure    string               // of the search for pairs
	ration     ration
	cost       int64 // requests of the work under way
	once       bool  // no lingering, no pacing: read what there is, and end
}

func newLinkReader(s *Source) (*linkReader, error) {
	r := &linkReader{
		source: s, labels: s.cfg.Client.At(hubspot.PriorityBackfill), logger: s.cfg.Logger.With("component", "links"),
		news: make(chan struct{}, 1), hinted: make(chan *linkHints), told: make(map[[2]string]string),
	}
	for _, f := range s.followers {
		t := &linkType{follower: f}
		r.types = append(r.types, t)
		f.log.head.news = r.wake
	}
	var err error
	r.choice, err = chooseLinks(r.types, s.cfg.Associations)
	return r, err
}

// wake says that a record came into the log.
func (r *linkReader) wake() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

const (
	// linkPatience is how long the reader waits at most before it looks whether there is something to do.
	linkPatience = 15 * time.Second
	// readyPatience is the same while an object type cannot be read yet.
	readyPatience = 250 * time.Millisecond
)

// run reads links until ctx ends.
func (r *linkReader) run(ctx context.Context) error {
	stopHints := r.followHints(ctx)
	defer stopHints()
	if r.choice.none || len(r.types) == 0 {
		<-ctx.Done()
		return nil
	}
	defer r.reset(ctx)
	r.reset(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var hinted *linkHints
		select {
		case <-timer.C:
		case <-r.news:
			for _, t := range r.types {
				t.soil(time.Now())
			}
		case hinted = <-r.hinted:
		case <-ctx.Done():
			return nil
		}
		if hinted != nil {
			r.answerHints(ctx, hinted)
		}
		wait, err := r.pass(ctx)
		if err != nil && ctx.Err() == nil {
			wait = max(wait, retryFirst)
		}
		timer.Reset(wait)
	}
}

// reset makes all types begin from their cursors: someone else may have led meanwhile.
func (r *linkReader) reset(ctx context.Context) {
	for _, t := range r.types {
		t.restart(ctx)
	}
}

func (t *linkType) restart(ctx context.Context) {
	t.follow.close(ctx)
	t.sweep.close(ctx)
	t.follow, t.sweep, t.todo, t.read, t.dirty = nil, nil, nil, 0, time.Now()
}

// soil notes that events may wait in the log.
func (t *linkType) soil(now time.Time) {
	if t.dirty.IsZero() {
		t.dirty = now
	}
}

// pass does one piece of work for every object type that has some, and returns how long there is nothing to do.
func (r *linkReader) pass(ctx context.Context) (wait time.Duration, err error) {
	wait = linkPatience
	for _, t := range r.types {
		now := time.Now()
		switch {
		case r.loading(), t.needsBackfill(), t.log.standsBy(ctx):
			wait = min(wait, readyPatience)
			continue
		case now.Before(t.retryAt):
			wait = min(wait, t.retryAt.Sub(now))
			continue
		}
		if now.After(r.discoverAt) {
			if err := r.look(ctx); err != nil {
				return wait, err
			}
		}
		if !r.discovered {
			return wait, nil
		}
		next, workErr := r.work(ctx, t)
		t.outcome(ctx, workErr)
		err = errors.Join(err, workErr)
		wait = min(wait, next)
	}
	return max(wait, 0), err
}

// look searches for pairs. What was found before stays if it fails.
func (r *linkReader) look(ctx context.Context) error {
	err := r.discover(ctx)
	if err == nil {
		r.discovered, r.failure = true, ""
		return nil
	}
	r.discoverAt = time.Now().Add(retryMost)
	if cause := causeOf(err); ctx.Err() == nil && r.failure != cause {
		r.failure = cause
		r.logger.Warn("association types not read, trying on", "err", err)
	}
	return err
}

// outcome decides when a type is tried again after an error, and reports that once.
func (t *linkType) outcome(ctx context.Context, err error) {
	switch {
	case err == nil:
		t.wait, t.retryAt = 0, time.Time{}
		if t.trouble != "" {
			t.trouble = ""
			t.logger.Info("links are read again")
		}
		return
	case ctx.Err() != nil:
		return
	case errors.Is(err, ErrStandby):
		t.restart(ctx)
		return
	}
	t.wait = min(max(2*t.wait, retryFirst), retryMost)
	t.retryAt = time.Now().Add(t.wait)
	if cause := causeOf(err); t.trouble != cause && !errors.Is(err, errWalkBroken) {
		t.trouble = cause
		t.logger.Warn("links cannot be read now, trying on", "err", err)
	}
}

// work does one piece of what is to be done for a type, and returns after how long there is more, 0 for at once.
func (r *linkReader) work(ctx context.Context, t *linkType) (time.Duration, error) {
	if err := r.begin(ctx, t); err != nil {
		return 0, err
	}
	if t.log.Cursor().Links == nil { // nothing to link to, as yet
		return linkPatience, nil
	}
	next, err := r.followLog(ctx, t)
	if err != nil {
		return 0, err
	}
	swept, err := r.sweepOn(ctx, t)
	return min(next, swept), err
}

// linger is how long changes are waited for, so that one request reads the links of many.
func (r *linkReader) linger() time.Duration {
	switch linger := r.source.cfg.LinksLinger; {
	case r.once || linger < 0:
		return 0
	case linger == 0:
		return time.Second
	default:
		return linger
	}
}

// followLog reads the links of the records that have new events in the log.
func (r *linkReader) followLog(ctx context.Context, t *linkType) (time.Duration, error) {
	if t.dirty.IsZero() && len(t.todo) == 0 {
		return linkPatience, r.move(ctx, t)
	}
	pairs := t.open(nil)
	if wait := max(time.Until(t.dirty.Add(r.linger())), r.wantFor(int64(len(pairs)))); wait > 0 && len(t.todo) == 0 {
		return wait, nil
	}
	if t.follow == nil {
		t.read = t.log.Cursor().Links.Seq
		t.follow = t.log.walk(t.read, false)
	}
	if len(t.todo) == 0 {
		t.dirty = time.Time{} // what comes from here on says so itself
		todo, more, err := t.follow.take(ctx)
		if err != nil || more {
			t.soil(time.Now().Add(-r.linger()))
		}
		if err != nil {
			return 0, err
		}
		t.todo = todo
	}
	if len(t.todo) > 0 {
		r.cost = 0
		err := r.readSets(ctx, t.client, t, newestOf(t.todo), pairs, true)
		r.ration.saved -= float64(r.cost)
		if err != nil {
			return 0, err
		}
		t.read, t.todo = t.todo[len(t.todo)-1].seq, nil
	}
	return 0, r.move(ctx, t)
}

// newestOf returns the last event of every record.
func newestOf(events []walked) []walked {
	at := make(map[string]int, len(events))
	newest := make([]walked, 0, len(events))
	for _, e := range events {
		if i, seen := at[e.id]; seen {
			newest[i] = e
			continue
		}
		at[e.id] = len(newest)
		newest = append(newest, e)
	}
	return newest
}

// move puts into the cursor how far the log was followed, every so often.
func (r *linkReader) move(ctx context.Context, t *linkType) error {
	read := t.read
	c := t.log.Cursor()
	if c.Links == nil || read <= c.Links.Seq || !r.once && time.Since(t.moved) < moveEvery {
		return nil
	}
	refused := t.refusals()
	_, err := t.log.Append(ctx, page{Origin: schemas.OriginPoll}, func(c *schemas.Cursor) {
		if c.Links != nil {
			c.Links.Seq, c.Links.Refused = max(c.Links.Seq, read), refused
		}
	})
	if err != nil {
		return err
	}
	t.moved = time.Now()
	return nil
}

// readOnce reads the links of what changed, and, where one is due, makes a sweep; it ends when all is read.
func (r *linkReader) readOnce(ctx context.Context, followers []*follower) error {
	if r.choice.none {
		return nil
	}
	r.once = true
	defer func() { r.once = false }()
	defer r.reset(ctx)
	r.reset(ctx)
	var errs error
	for _, t := range r.types {
		if !slices.Contains(followers, t.follower) || t.needsBackfill() {
			continue
		}
		if !r.discovered && !r.recall() {
			if err := r.look(ctx); err != nil {
				return err
			}
		}
		for broken := 0; ; {
			wait, err := r.work(ctx, t)
			if broken++; errors.Is(err, errWalkBroken) && broken < maxRefusals {
				continue
			}
			if err != nil {
				errs = errors.Join(errs, fmt.Errorf("read links of %s: %w", t.object.Name, err))
				break
			}
			if wait > 0 {
				break
			}
		}
	}
	return cmp.Or(ctx.Err(), errs)
}
