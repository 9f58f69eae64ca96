package connector

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// archivedWalk finds what was archived and restored without a webhook. HubSpot rule: neither moves the modification time,
// archived records are in no search, and the recycle bin keeps them for about 90 days. So the whole list of archived
// records is walked again and again: what it shows goes into the log, and a record that it shows no longer was restored, or
// is gone for good. Which records the log has as archived is read from the log itself when the walk begins to work, so that
// also what was restored while no source ran is found.
//
// Records that other reads find missing are looked after here, too, without waiting for the next walk.
type archivedWalk struct {
	follower *follower
	client   *hubspot.Client
	requests atomic.Int64 // of the last walk
	told     toldCounts   // what walks found since polls last recorded a run

	mu      sync.Mutex           // guards the fields below
	known   idSet                // records that the log has as archived, less those that left the recycle bin for good
	lost    idSet                // records to be looked after
	noted   map[int64]schemas.Op // what came into the log while known is read from it; else nil
	arrived chan struct{}        // holds one element while there may be records to be looked after

	loaded bool // known was read from the log; for the goroutine that walks
}

func newArchivedWalk(f *follower) *archivedWalk {
	w := &archivedWalk{follower: f, client: f.source.cfg.Client.At(hubspot.PriorityDeletes), arrived: make(chan struct{}, 1)}
	f.log.missing, f.log.logged = w.lookAfter, w.note
	return w
}

// note keeps known equal to the log.
func (w *archivedWalk) note(id string, op schemas.Op) {
	n, ok := parseID(id)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noted != nil {
		w.noted[n] = op
	}
	w.set(n, op)
}

func (w *archivedWalk) set(id int64, op schemas.Op) {
	if op == schemas.OpArchived {
		w.known.add(id)
	} else {
		w.known.remove(id)
	}
}

// lookAfter asks for these records to be read soon.
func (w *archivedWalk) lookAfter(ids []string) {
	w.mu.Lock()
	for _, id := range ids {
		if n, ok := parseID(id); ok {
			w.lost.add(n)
		}
	}
	w.mu.Unlock()
	select {
	case w.arrived <- struct{}{}:
	default:
	}
}

// run walks whenever it is time, and looks after missing records at once, until ctx ends. What HubSpot answers to it does
// not stop other ways of reading: it returns an error only if the object type cannot go on.
func (w *archivedWalk) run(ctx context.Context) error {
	w.loaded = false // someone else may have led meanwhile
	timer, again := time.NewTimer(w.wait()), time.NewTimer(retryMost)
	defer timer.Stop()
	defer again.Stop()
	told := ""
	for {
		var err error
		select {
		case <-timer.C:
			if w.follower.loading.Load() { // the quota is for that
				timer.Reset(readyPatience)
				continue
			}
			if err = w.walk(ctx); err == nil {
				timer.Reset(jitter(w.interval()))
			} else {
				timer.Reset(jitter(min(w.interval(), retryMost)))
			}
		case <-w.arrived:
			err = w.settle(ctx)
		case <-again.C: // what could not be looked after
			err = w.settle(ctx)
			again.Reset(jitter(retryMost))
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case err == nil:
			told = ""
		case w.stops(ctx, err):
			return err
		case told != causeOf(err):
			told = causeOf(err)
			w.follower.logger.Warn("recycle bin cannot be read, trying on: what is archived or restored shows up late", "err", err)
		}
	}
}

// once makes a walk if it is time for one, and looks after missing records.
func (w *archivedWalk) once(ctx context.Context) error {
	step := w.walk
	if w.wait() > 0 {
		step = w.settle
	}
	err := step(ctx)
	if err != nil && !w.stops(ctx, err) {
		w.follower.logger.Warn("recycle bin cannot be read: what was archived or restored shows up with another pass", "err", err)
		return nil
	}
	return err
}

// stops reports whether an error ends all reading of the object type.
func (w *archivedWalk) stops(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrStandby) || errors.Is(err, hubspot.ErrUnauthorized)
}

// wait returns how long it is to the next walk.
func (w *archivedWalk) wait() time.Duration {
	state := w.follower.log.Cursor().ArchivedWalk
	if state == nil || state.Running() {
		return 0
	}
	if w.requests.Load() == 0 {
		w.requests.Store(state.Records/listPage + 1)
	}
	return max(0, w.interval()-w.client.Now().Sub(state.StartedAt))
}

// moveWalkEvery is after how many pages the cursor is moved: what a crash makes a walk read again.
const moveWalkEvery = 20

// walk goes through the recycle bin once, from its start or from where an interrupted walk was.
func (w *archivedWalk) walk(ctx context.Context) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	f, at := w.follower, walkState{}
	if c := f.log.Cursor().ArchivedWalk; c != nil {
		at.ArchivedWalk = *c
	}
	if !at.Running() {
		at.ArchivedWalk = schemas.ArchivedWalk{StartedAt: w.client.Now().UTC().Truncate(time.Millisecond), DoneAt: at.DoneAt}
	}
	if at.Next > 0 {
		at.after, at.low = strconv.FormatInt(at.Next, 10), at.Next-1
	}
	for pages := 1; at.Running(); pages++ {
		if err := f.source.walkPace(ctx); err != nil {
			return err
		}
		if err := w.page(ctx, &at, pages%moveWalkEvery == 0); err != nil {
			return fmt.Errorf("walk over archived %s: %w", f.object.Name, err)
		}
		if err := w.settle(ctx); err != nil {
			return err
		}
	}
	w.requests.Store(at.Records/listPage + 1)
	return nil
}

// walkState is how far a walk is.
type walkState struct {
	schemas.ArchivedWalk
	after string // HubSpot's cursor of the next page, "" for the first
	low   int64  // all ids up to it were looked at
}

// page appends the next page of the recycle bin, and asks for those records to be looked after that should have been on it.
func (w *archivedWalk) page(ctx context.Context, at *walkState, move bool) error {
	f := w.follower
	p := page{Origin: schemas.OriginPoll, Primary: true, After: f.log.Position(), Asked: f.properties(), APICalls: 1}
	found, err := w.client.List(ctx, hubspot.ListRequest{Object: f.object, After: at.after, Properties: p.Asked, Archived: true})
	if err != nil {
		return err
	}
	p.Records, p.Rejected = found.Records, found.Rejected
	ids := idsOf(found)
	next := *at
	next.Records, next.after = at.Records+int64(len(p.Records)+len(p.Rejected)), found.Next
	if len(ids) > 0 {
		next.low = max(at.low, ids[len(ids)-1])
	}
	next.Next, _ = parseID(found.Next) // else an interrupted walk begins anew
	if found.Next == "" {
		next.low, next.DoneAt = math.MaxInt64, later(w.client.Now().UTC().Truncate(time.Millisecond), at.StartedAt)
	}
	gone := w.vanished(at.low, next.low, ids)
	var advance func(*schemas.Cursor)
	if move || !next.Running() {
		advance = func(c *schemas.Cursor) { state := next.ArchivedWalk; c.ArchivedWalk = &state }
	}
	counts, err := f.log.Append(ctx, p, advance)
	if err != nil {
		return err
	}
	w.mu.Lock()
	for _, id := range ids {
		w.known.add(id)
	}
	w.mu.Unlock()
	w.told.add(counts)
	if len(gone) > 0 {
		w.lookAfter(gone)
	}
	*at = next
	return nil
}

// idsOf returns the ids of a page, ascending.
func idsOf(p hubspot.Page) (ids []int64) {
	for _, r := range p.Records {
		if id, ok := parseID(r.ID); ok {
			ids = append(ids, id)
		}
	}
	for _, r := range p.Rejected {
		if id, ok := parseID(r.ID); ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// vanished returns the records that the log has as archived and a page, which should show all from low up to high, does
// not. (Should HubSpot's order be another one, they are read for nothing: what they are read as counts.)
func (w *archivedWalk) vanished(low, high int64, shown []int64) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return formatIDs(slices.DeleteFunc(w.known.between(low, high), func(id int64) bool {
		_, is := slices.BinarySearch(shown, id)
		return is
	}))
}

// settleSize is how many missing records are looked after at a time.
const settleSize = 200

// settle reads the missing records and appends what has become of them. Those that are gone for good are not known any
// longer: they must not be asked for with every walk. One that is in the recycle bin all the same, the next walk meets.
func (w *archivedWalk) settle(ctx context.Context) error {
	for {
		w.mu.Lock()
		ids := slices.Clone(w.lost.ids[:min(settleSize, len(w.lost.ids))])
		for _, id := range ids {
			w.known.remove(id)
		}
		w.mu.Unlock()
		if len(ids) == 0 {
			return nil
		}
		counts, err := w.follower.hydrate(ctx, w.client, schemas.OriginPoll, formatIDs(ids))
		if err != nil {
			return fmt.Errorf("look after missing %s: %w", w.follower.object.Name, err)
		}
		w.mu.Lock()
		for _, id := range ids {
			w.lost.remove(id)
		}
		w.mu.Unlock()
		w.told.add(counts)
	}
}

// binLife is more than how long HubSpot's recycle bin keeps a record. HubSpot rule: about 90 days.
const binLife = 100 * 24 * time.Hour

// load reads from the log which records it has as archived. Of those that left the recycle bin before the last walk nothing
// is to be expected any more.
func (w *archivedWalk) load(ctx context.Context) error {
	if w.loaded {
		return nil
	}
	w.mu.Lock()
	w.noted = make(map[int64]schemas.Op)
	w.mu.Unlock()
	archived, err := w.archivedInLog(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	noted := w.noted
	w.noted = nil
	if err != nil {
		return err
	}
	slices.Sort(archived)
	w.known.ids = slices.Compact(archived)
	for id, op := range noted {
		w.set(id, op)
	}
	w.loaded = true
	return nil
}

// archivedInLog returns the records whose last event says that they are in the recycle bin, in no order.
func (w *archivedWalk) archivedInLog(ctx context.Context) (ids []int64, err error) {
	log, expired := w.follower.log, time.Time{}
	if state := log.Cursor().ArchivedWalk; state != nil && !state.DoneAt.IsZero() {
		expired = state.DoneAt.Add(-binLife)
	}
	walk := log.walk(0, true)
	defer walk.close(ctx)
	for more := true; more; {
		var events []walked
		err := log.persist(ctx, "read which records are archived", func(ctx context.Context) (err error) {
			events, more, err = walk.take(ctx)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if id, ok := parseID(e.id); ok && e.op == schemas.OpArchived && e.at.After(expired) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}
