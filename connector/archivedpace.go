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
	// walkBurst is the part of the burst quota that walks may take while one is under way, and half as much at once: a full
	// read has more use for it.
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

// pacer lets the walks of all object types together send a request every so often, and a few at once after a pause: several
// small recycle bins cost a one-shot pass no waiting.
type pacer struct {
	mu   sync.Mutex // guards next
	next time.Time  // when the requests so far would have been sent, one every so often
}

// wait takes a turn and returns how long to wait for it. Turns are a gap apart on average, but up to slack ahead of that.
func (p *pacer) wait(now time.Time, gap, slack time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = later(p.next, now).Add(gap)
	return max(0, p.next.Sub(now)-max(gap, slack))
}

// walkPace waits until the next request of a walk may be sent.
func (s *Source) walkPace(ctx context.Context) error {
	window := s.cfg.Client.Usage().Window
	gap := time.Duration(float64(window.Interval) / (walkBurst * float64(max(window.Limit, 1))))
	wait := s.walks.wait(time.Now(), gap, window.Interval/2)
	if wait == 0 {
		return ctx.Err()
	}
	return pause(ctx, wait, wait)
}
