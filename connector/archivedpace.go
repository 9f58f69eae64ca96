package connector

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// walkShare is the part of the daily quota that walks over the recycle bins may take, all object types together.
	walkShare = 0.02
	// walkBurst is the part of the burst quota that walks may take while one is under way: a full read has more use for it.
	walkBurst = 0.1
	// unknownDaily is the daily quota while it is unknown. HubSpot rule: 250,000 requests for the smallest accounts.
	unknownDaily = 250_000
)

// interval returns the time from one walk to the next.
func (w *archivedWalk) interval() time.Duration {
	source := w.follower.source
	all := make([]int64, len(source.followers))
	for i, f := range source.followers {
		all[i] = f.archived.requests.Load()
	}
	return walkInterval(source.cfg.ArchivedInterval, w.requests.Load(), all, w.client.Usage().Daily.Limit)
}

// walkInterval returns the time between two walks that cost that many requests, beside those of all object types, at least
// the given one. A large recycle bin is walked less often than a small one, as the square root of its size: of all ways to
// spend the walks' share of the quota this finds changes soonest on average.
func walkInterval(least time.Duration, requests int64, all []int64, daily int) time.Duration {
	root := func(n int64) float64 { return math.Sqrt(float64(max(n, 1))) }
	sum := 0.0
	for _, n := range all {
		sum += root(n)
	}
	if daily <= 0 {
		daily = unknownDaily
	}
	spread := root(requests) * sum / (walkShare * float64(daily)) * float64(24*time.Hour)
	return max(least, time.Duration(spread))
}

// pacer lets the walks of all object types together send a request every so often.
type pacer struct {
	mu   sync.Mutex // guards next
	next time.Time
}

// walkPace waits until the next request of a walk may be sent.
func (s *Source) walkPace(ctx context.Context) error {
	window := s.cfg.Client.Usage().Window
	gap := time.Duration(float64(window.Interval) / (walkBurst * float64(max(window.Limit, 1))))
	s.walks.mu.Lock()
	at := later(s.walks.next, time.Now())
	s.walks.next = at.Add(gap)
	s.walks.mu.Unlock()
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err()
	}
	return pause(ctx, wait, wait)
}
