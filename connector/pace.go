package connector

import "time"

// pace says when one more request may start, given that at most so many may start in any interval. The client's budget
// has the last word; pacing here as well keeps choices late, so that none waits in the budget's queue and goes stale.
type pace struct {
	starts []time.Time // of the last interval, ascending
}

// free returns how many requests may start now.
func (p *pace) free(now time.Time, limit int, interval time.Duration) int {
	old := 0
	for old < len(p.starts) && now.Sub(p.starts[old]) >= interval {
		old++
	}
	p.starts = p.starts[old:]
	return limit - len(p.starts)
}

// start notes a request.
func (p *pace) start(now time.Time) { p.starts = append(p.starts, now) }

// wait returns how long until free grows; 0 if nothing was started.
func (p *pace) wait(now time.Time, interval time.Duration) time.Duration {
	if len(p.starts) == 0 {
		return 0
	}
	return p.starts[0].Add(interval).Sub(now)
}
