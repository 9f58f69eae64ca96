package hubspot

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// budget decides when a request may be sent, so that HubSpot never has to answer 429. It spends the burst quota (a number
// of requests in any interval of 10 s), the search quota (5 in any second) and a share of the daily quota.
//
// Every request takes a slot. A slot is free again one interval after the latest moment at which its request can have
// arrived at HubSpot; slot.go says how that moment is known closely. Waiting requests get free slots by priority, then by
// age; reserve.go says which slots they leave for others.
type budget struct {
	log *slog.Logger

	mu         sync.Mutex // guards everything below
	window     pace       // the burst quota
	search     pace       // the search quota
	burstShare float64
	daily      daily
	learned    searchLearning
	slots      []*slot // that still count somewhere, by time of grant
	past       []*slot // that did until lately
	history    []grant // of the last three intervals
	waiters    []*waiter
	latency    map[string]*latency // by kind of request
	listGrants int                 // requests other than searches granted ever
	neighbours neighbours          // that spend the same burst quota
	inFlight   int
	started    time.Time // first request granted
	lastAged   time.Time // last time that age beat priority
	lastSearch [PriorityWebhook + 1]time.Time
	lastFull   [PriorityWebhook + 1]time.Time // last time that a request had to wait for the burst quota
	crowded    time.Time                      // last time that a search had to wait for the search quota
	parked     park
	probing    bool // one request at a time, until one is answered
	wake       *time.Timer
}

// waiter is a request that wants a slot.
type waiter struct {
	kind     string
	search   bool
	priority Priority
	since    time.Time
	ready    chan *slot // gets the slot; buffered, so that granting never waits
}

// park is a time during which nothing is sent.
type park struct {
	until  time.Time
	reason string
}

func newBudget(cfg Config, clock func() time.Time) *budget {
	b := &budget{
		log:        cfg.Logger,
		window:     newPace(cfg.BurstLimit, cfg.Interval, 20, 500),
		search:     newPace(max(1, int(float64(cfg.SearchLimit)*cfg.BurstShare)), cfg.SearchInterval, 25, 200),
		burstShare: cfg.BurstShare,
		daily:      daily{share: cfg.Share, limit: cfg.DailyLimit, remaining: -1, zone: time.UTC, clock: clock},
		latency:    make(map[string]*latency),
	}
	b.window.limit = b.ourBurst(cfg.BurstLimit)
	return b
}

// ourBurst returns our share of a burst limit.
func (b *budget) ourBurst(limit int) int { return max(1, int(float64(limit)*b.burstShare)) }

// acquire waits for a slot. The caller must report what became of the request with slot.sent and slot.answered, or give the
// slot back with slot.unused.
func (b *budget) acquire(ctx context.Context, kind string, search bool, p Priority) (*slot, error) {
	w := &waiter{kind: kind, search: search, priority: p, ready: make(chan *slot, 1)}
	b.mu.Lock()
	w.since = time.Now()
	b.waiters = append(b.waiters, w)
	b.dispatch()
	b.mu.Unlock()

	select {
	case s := <-w.ready:
		return s, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	b.waiters = slices.DeleteFunc(b.waiters, func(other *waiter) bool { return other == w })
	why := b.parked
	b.dispatch() // nothing is reserved for w any more
	b.mu.Unlock()
	select {
	case s := <-w.ready: // granted in the same moment
		s.unused()
	default:
	}
	if why.reason == parkedDaily || why.reason == parkedShare {
		return nil, fmt.Errorf("%w: %w", ErrDailyLimit, ctx.Err())
	}
	return nil, ctx.Err()
}

// dispatch gives slots to all waiters that can have one now and sets the timer for the next change. The caller holds mu.
func (b *budget) dispatch() {
	now := time.Now()
	b.prune(now)
	for b.serve(now) {
	}
	b.schedule(now)
}

// serve gives slots to waiters in order. It returns true if the order has changed and another pass is due.
func (b *budget) serve(now time.Time) (again bool) {
	var full [blockedAll + 1]bool
	for _, w := range b.order(now) {
		class := blockedList
		if w.search {
			class = blockedSearch
		}
		if full[class] || full[blockedWindow] && b.countsInWindow(w.search) {
			continue
		}
		aged := b.aged(w, now)
		switch v := b.verdict(w, aged, now); v {
		case grantNow:
			b.grant(w, now)
			if aged {
				b.lastAged = now
				return true
			}
		case blockedAll:
			return false
		case blockedReserve:
			full[class] = true
		default:
			full[v] = true
		}
	}
	return false
}

type verdict int

const (
	grantNow       verdict = iota
	blockedSelf            // the daily share of this priority is used up
	blockedReserve         // the room that is left is kept for others
	blockedList            // no room for requests other than searches
	blockedSearch          // no room in the search quota
	blockedWindow          // no room in the burst quota
	blockedAll             // nothing may be sent
)

func (b *budget) verdict(w *waiter, aged bool, now time.Time) verdict {
	counts := b.countsInWindow(w.search)
	switch {
	case now.Before(b.parked.until) || b.probing && b.inFlight > 0:
		return blockedAll
	case !b.daily.allows(w.priority):
		if w.priority > PriorityBackfill {
			b.parkForDay(now, parkedShare)
			return blockedAll
		}
		return blockedSelf
	case w.search && (now.Before(b.search.pausedUntil) || b.searchesHeld(now) >= b.search.effective()):
		b.crowded = now
		return blockedSearch
	case !counts:
		return grantNow
	case !w.search && b.neighbours.present(now, b.window.interval) && b.unanswered() >= max(2, b.window.limit/12):
		return blockedList
	}
	held := b.held(now)
	switch {
	case now.Before(b.window.pausedUntil) || held+b.neighboursExpected(now) >= b.window.limit:
		b.lastFull[w.priority] = now
		return blockedWindow
	case !aged && held > 0 && held+1+b.neighboursExpected(now)+b.reserve(w, now) > b.window.limit:
		return blockedReserve
	}
	return grantNow
}

// order returns the waiters by priority, then age. One that has waited for very long comes first.
func (b *budget) order(now time.Time) []*waiter {
	sorted := slices.Clone(b.waiters)
	slices.SortStableFunc(sorted, func(x, y *waiter) int {
		if ax, ay := b.aged(x, now), b.aged(y, now); ax != ay {
			if ax {
				return -1
			}
			return 1
		}
		return int(y.priority - x.priority)
	})
	return sorted
}

// aged reports whether w has waited so long that it may go before higher priorities: after six intervals, and so that such
// requests take a tenth of the burst quota at most.
func (b *budget) aged(w *waiter, now time.Time) bool {
	return now.Sub(w.since) >= 6*b.window.interval &&
		now.Sub(b.lastAged) >= b.window.interval*10/time.Duration(max(10, b.window.limit))
}

func (b *budget) grant(w *waiter, now time.Time) {
	if b.started.IsZero() {
		b.started = now
	}
	if !w.search {
		b.listGrants++
	}
	b.inFlight++
	b.daily.used++
	b.daily.sinceHeader++
	s := &slot{b: b, kind: w.kind, search: w.search, priority: w.priority, granted: now}
	b.slots = append(b.slots, s)
	s.before = b.spent()
	b.history = append(b.history, grant{at: now, priority: w.priority, search: w.search})
	if w.search {
		b.lastSearch[w.priority] = now
	}
	b.waiters = slices.DeleteFunc(b.waiters, func(other *waiter) bool { return other == w })
	w.ready <- s
}

// schedule sets the timer for the next moment at which a waiter may be served without anything else happening.
func (b *budget) schedule(now time.Time) {
	if b.wake != nil {
		b.wake.Stop()
	}
	if len(b.waiters) == 0 {
		return
	}
	var next time.Time
	at := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, s := range b.slots {
		at(s.windowFree())
		if s.search {
			at(s.searchFree())
		}
	}
	at(b.parked.until)
	at(b.window.pausedUntil)
	at(b.search.pausedUntil)
	at(b.search.restoreAt)
	at(b.daily.resetsAt)
	b.reserveEnds(now, at)
	if next.IsZero() {
		return // a request in flight will call dispatch
	}
	if b.wake == nil {
		b.wake = time.AfterFunc(next.Sub(now), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.dispatch()
		})
		return
	}
	b.wake.Reset(next.Sub(now))
}

// prune forgets what no longer counts.
func (b *budget) prune(now time.Time) {
	b.slots = slices.DeleteFunc(b.slots, func(s *slot) bool {
		free := s.windowFree()
		over := !free.IsZero() && !free.After(now) && (!s.search || !s.searchFree().After(now))
		if over {
			b.past = append(b.past, s)
		}
		return over
	})
	b.past = slices.DeleteFunc(b.past, func(s *slot) bool { return now.Sub(s.granted) > 3*b.window.interval/2 })
	cut := now.Add(-3 * b.window.interval)
	if n, _ := slices.BinarySearchFunc(b.history, cut, func(g grant, t time.Time) int { return g.at.Compare(t) }); n > 0 {
		b.history = slices.Delete(b.history, 0, n)
	}
	b.daily.roll(now)
	b.search.recover(now)
	b.neighbours.forget(now, b.window.interval)
	if !now.Before(b.parked.until) {
		b.parked = park{}
	}
}

// held returns the slots of the burst quota that are taken.
func (b *budget) held(now time.Time) (n int) {
	for _, s := range b.slots {
		if free := s.windowFree(); b.countsInWindow(s.search) && (free.IsZero() || free.After(now)) {
			n++
		}
	}
	return n
}

// unanswered returns how many requests other than searches are on the wire.
func (b *budget) unanswered() (n int) {
	for _, s := range b.slots {
		if !s.search && s.answered.IsZero() {
			n++
		}
	}
	return n
}

func (b *budget) neighboursExpected(now time.Time) int {
	return b.neighbours.expected(now, b.window.interval, b.window.limit)
}

func (b *budget) searchesHeld(now time.Time) (n int) {
	for _, s := range b.slots {
		if free := s.searchFree(); s.search && (free.IsZero() || free.After(now)) {
			n++
		}
	}
	return n
}

func (b *budget) countsInWindow(search bool) bool { return !search || b.learned.state != searchOutside }
