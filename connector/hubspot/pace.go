package hubspot

import "time"

// pace is a quota of limit requests in any interval.
type pace struct {
	limit    int
	interval time.Duration
	// margin bounds how much longer a request is believed to have taken to HubSpot than the one that gets its slot. It
	// grows when HubSpot answers 429 nevertheless, and shrinks again.
	margin time.Duration
	clean  int // requests answered without a 429 since the margin last changed

	marginPart, slackPart time.Duration // the smallest margin and the slack, as parts of the interval

	pausedUntil time.Time
	// Somebody else spends the same quota: we use reduced requests less until restoreAt.
	reduced    int
	restoreAt  time.Time
	restoreIn  time.Duration // grows every time that restoring was too early
	lastDenied time.Time
}

func newPace(limit int, interval, marginPart, slackPart time.Duration) pace {
	return pace{limit: limit, interval: interval, margin: interval / marginPart, marginPart: marginPart, slackPart: slackPart}
}

// effective returns the limit without what others seem to take.
func (p *pace) effective() int { return max(1, p.limit-p.reduced) }

// free returns when the slot of a request is free again, which was written to the network at written and answered at
// answered, zero if it is not yet. least is the least time that such a request takes from one to the other.
//
// The request arrived at HubSpot at some moment between the two. From there to the answer it took as long as the fastest such
// request at least, so it did not arrive later than least before the answer, plus the time that a request needs to get
// there at best; and that time the next request needs as well. It also hardly took longer than margin to get there.
func (p *pace) free(written, answered time.Time, least time.Duration) time.Time {
	if written.IsZero() && answered.IsZero() {
		return time.Time{}
	}
	arrived := written.Add(p.margin)
	if !answered.IsZero() {
		if t := answered.Add(-least); written.IsZero() || t.Before(arrived) {
			arrived = t
		}
	}
	return arrived.Add(p.interval + max(p.interval/p.slackPart, time.Millisecond))
}

// denied learns from a 429: first that requests take longer to arrive than thought, then that others spend the quota.
func (p *pace) denied(now time.Time) {
	p.margin = min(2*p.margin, p.interval/4)
	p.clean = 0
	if now.Sub(p.lastDenied) < 60*p.interval && !p.lastDenied.IsZero() {
		p.reduced = min(p.reduced+1, p.limit-1)
		p.restoreIn = min(max(2*p.restoreIn, 30*p.interval), 1800*p.interval)
		p.restoreAt = now.Add(p.restoreIn)
	}
	p.lastDenied = now
}

// ok learns from an answer that was no 429.
func (p *pace) ok() {
	if p.clean++; p.clean >= 200 {
		p.margin = max(p.margin*9/10, p.interval/p.marginPart)
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
