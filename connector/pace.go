package connector

import (
	"slices"
	"time"
)

// pace says when one more request may start, given that at most so many may start in any interval. The client's budget
// has the last word; pacing here as well keeps choices late, so that none waits in the budget's queue and goes stale.
type pace struct {
	starts  []*pageRequest // of the last interval
	fastest time.Duration  // shortest time that an answer took
}

// free returns how many requests may start now.
func (p *pace) free(now time.Time, limit int, interval time.Duration) int {
	p.starts = slices.DeleteFunc(p.starts, func(r *pageRequest) bool { return now.Sub(r.at) >= interval })
	return limit - len(p.starts)
}

// start notes a request.
func (p *pace) start(r *pageRequest, now time.Time) {
	r.at = now
	p.starts = append(p.starts, r)
}

// took notes an answer. One that took much longer than others waited for the budget: its place in the interval is later
// than we thought.
func (p *pace) took(r *pageRequest, now time.Time) {
	took := now.Sub(r.at)
	if p.fastest == 0 || took < p.fastest {
		p.fastest = took
	}
	if took > p.fastest*3/2 {
		r.at = now.Add(-p.fastest)
	}
}

// waits returns how long until each request of the last interval no longer counts, ascending.
func (p *pace) waits(now time.Time, interval time.Duration) []time.Duration {
	waits := make([]time.Duration, len(p.starts))
	for i, r := range p.starts {
		waits[i] = r.at.Add(interval).Sub(now)
	}
	slices.Sort(waits)
	return waits
}
