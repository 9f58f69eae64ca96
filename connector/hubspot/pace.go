package hubspot

import "time"

// pace is a quota of limit requests in any interval.
type pace struct {
	limit    int
	interval time.Duration
	// margin bounds how much longer a request is believed to have taken to HubSpot than the one that gets its slot. It
	// starts generous, shrinks to least while all goes well, and doubles when HubSpot answers 429 nevertheless.
	margin time.Duration
	least  func(interval time.Duration) time.Duration
	slack  func(interval time.Duration) time.Duration
	clean  int // requests answered without a 429 since the margin last changed

	pausedUntil time.Time
	// Somebody else spends the same quota: we use reduced requests less until restoreAt.
	reduced    int
	restoreAt  time.Time
	restoreIn  time.Duration // grows every time that restoring was too early
	lastDenied time.Time
}

// newPace returns a pace whose margin starts at a tenth of the interval and shrinks to one part in leastPart, and whose slack is
// one part in slackPart. Networks and processors are as slow for short intervals as for long ones, hence the minima: in
// benchmarks with a scaled clock.
func newPace(limit int, interval time.Duration, leastPart, slackPart time.Duration) pace {
	p := pace{
		limit: limit,
		least: func(interval time.Duration) time.Duration { return max(interval/leastPart, 30*time.Millisecond) },
		slack: func(interval time.Duration) time.Duration { return max(interval/slackPart, time.Millisecond) },
	}
	p.setInterval(interval)
	return p
}

func (p *pace) setInterval(interval time.Duration) {
	if interval != p.interval {
		p.interval = interval
		p.margin = max(interval/10, 50*time.Millisecond)
	}
}

// effective returns the limit without what others seem to take.
func (p *pace) effective() int { return max(1, p.limit-p.reduced) }

// free returns when the slot of a request is free again, which was written to the network at written and answered at
// answered, zero if it is not yet; l is how long such requests take.
//
// The request arrived at HubSpot at some moment between the two. From there to the answer it took as long as the fastest such
// request at least, so it did not arrive later than that before the answer, plus the time that a request needs to get
// there at best; and that time the next request needs as well. Where answers take very different times, this bound is far
// off: there the request is believed to have taken not longer than margin to get there.
func (p *pace) free(written, answered time.Time, l *latency) time.Time {
	var arrived time.Time
	switch {
	case written.IsZero() && answered.IsZero():
		return time.Time{}
	case answered.IsZero():
		arrived = written.Add(max(p.margin, p.interval/2))
	default:
		arrived = answered.Add(-l.least())
		if t := written.Add(p.margin); !written.IsZero() && t.Before(arrived) && (!l.known() || l.spread() > p.least(p.interval)) {
			arrived = t
		}
	}
	return arrived.Add(p.interval + p.slack(p.interval))
}

// late learns from a 429 that requests take longer to arrive than thought.
func (p *pace) late() {
	p.margin = min(2*p.margin, p.interval/4)
	p.clean = 0
}

// denied learns from a 429 of a quota whose use HubSpot does not report: the first may be because of a late arrival, another
// one soon after means that others spend the quota too.
func (p *pace) denied(now time.Time) {
	p.late()
	if now.Sub(p.lastDenied) < 60*p.interval && !p.lastDenied.IsZero() {
		p.reduced = min(p.reduced+1, p.limit-1)
		p.restoreIn = min(max(2*p.restoreIn, 30*p.interval), 1800*p.interval)
		p.restoreAt = now.Add(p.restoreIn)
	}
	p.lastDenied = now
}

// ok learns from an answer that was no 429.
func (p *pace) ok() {
	if p.clean++; p.clean >= 20 {
		p.margin = max(p.margin*9/10, p.least(p.interval))
		p.clean = 0
	}
}

// recover takes back one reduction after a while without a 429.
func (p *pace) recover(now time.Time) {
	if p.reduced == 0 || now.Before(p.restoreAt) {
		return
	}
	if p.reduced--; p.reduced > 0 {
		p.restoreAt = now.Add(p.restoreIn)
	}
}
