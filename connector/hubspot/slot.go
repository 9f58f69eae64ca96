package hubspot

import (
	"math"
	"time"
)

// slot is one request's place in the quotas.
type slot struct {
	b        *budget
	kind     string
	search   bool
	priority Priority
	granted  time.Time
	before   spent // when it was granted, itself included

	written  time.Time // when the last byte of the request left
	answered time.Time // when the first byte of the answer came, or the attempt ended without one
	denied   bool      // answered with 429: the usual time for an answer says nothing
}

// windowFree returns when the slot no longer counts in the burst quota, zero while that is unknown.
func (s *slot) windowFree() time.Time { return s.b.window.free(s.written, s.answered, s.latency()) }

// searchFree is the same for the search quota.
func (s *slot) searchFree() time.Time { return s.b.search.free(s.written, s.answered, s.latency()) }

func (s *slot) latency() *latency {
	if s.denied {
		return nil
	}
	return s.b.latency[s.kind]
}

// sent reports that the whole request has been written to the network.
func (s *slot) sent(at time.Time) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.written = at
	if s.search {
		s.b.dispatch()
	}
}

// outcome is what an answer says about the quotas.
type outcome struct {
	first   time.Time     // when the first byte came, zero if none did
	denied  denial        // of a 429
	retryIn time.Duration // Retry-After, 0 if absent
	limits  *limits       // nil without the headers
	failed  bool          // no complete answer
}

// denial says which quota a 429 is about.
type denial int

const (
	notDenied denial = iota
	deniedWindow
	deniedSearch
	deniedDaily
)

// finished reports the end of the attempt.
func (s *slot) finished(o outcome) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.inFlight--
	s.answered, s.denied = o.first, o.denied != notDenied
	if s.answered.IsZero() {
		s.answered, s.denied = now, true
	} else if took := s.answered.Sub(s.written); !s.denied && !s.written.IsZero() && took >= 0 {
		if b.latency[s.kind] == nil {
			b.latency[s.kind] = new(latency)
		}
		b.latency[s.kind].observe(took)
	}
	if o.limits != nil {
		b.learn(s, o.limits)
	}
	if !o.failed && o.denied != deniedDaily && b.parked.until.IsZero() {
		b.probing = false
	}
	b.punish(s, o, now)
	b.dispatch()
}

// unused gives back a slot whose request was never sent.
func (s *slot) unused() {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight--
	b.daily.used--
	b.daily.sinceHeader--
	for i, other := range b.slots {
		if other == s {
			b.slots = append(b.slots[:i:i], b.slots[i+1:]...)
			break
		}
	}
	b.dispatch()
}

// punish draws the consequences of a 429, or of its absence.
func (b *budget) punish(s *slot, o outcome, now time.Time) {
	switch o.denied {
	case notDenied:
		if s.search {
			b.search.ok()
		}
		if b.countsInWindow(s.search) {
			b.window.ok()
		}
	case deniedSearch:
		b.search.denied(now)
		b.search.pausedUntil = later(b.search.pausedUntil, now.Add(max(o.retryIn, b.search.interval)))
	case deniedWindow:
		b.window.late()
		b.learned.refuted()
		if o.retryIn > 0 {
			b.window.pausedUntil = later(b.window.pausedUntil, now.Add(o.retryIn))
		}
		// s had a slot by our count, so somebody else uses more than expected: suppose a step more, the headers will tell. The
		// window is full, so what we do not hold is theirs.
		b.neighbours.refuse(now, s.granted, b.window.interval, b.held(now), b.window.limit)
	case deniedDaily:
		b.parkForDay(now, parkedDaily)
	}
}

// park keeps everything back until then.
func (b *budget) park(until time.Time, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parkLocked(until, reason)
	b.dispatch()
}

func (b *budget) parkLocked(until time.Time, reason string) {
	if !until.After(b.parked.until) {
		return
	}
	if b.parked.until.IsZero() || b.parked.reason != reason {
		b.log.Warn("hubspot requests parked", "reason", reason, "until", until)
	}
	b.parked = park{until: until, reason: reason}
}

func later(x, y time.Time) time.Time {
	if x.After(y) {
		return x
	}
	return y
}

// limits are the numbers of the X-HubSpot-RateLimit headers, -1 where absent.
type limits struct {
	max, remaining, interval, daily, dailyRemaining int
}

// learn takes the limits from the headers of the answer to s. The headers may lower and raise what was configured.
func (b *budget) learn(s *slot, l *limits) {
	if l.interval >= 10 && l.interval <= math.MaxInt32 {
		b.window.setInterval(time.Duration(l.interval) * time.Millisecond)
	}
	// HubSpot rule: association endpoints name an older, smaller limit of their own.
	if l.max > 0 && s.kind != kindAssociations && s.kind != kindLabels {
		b.window.limit = b.ourBurst(l.max)
		if l.remaining >= 0 && l.remaining <= l.max {
			b.compare(s, l.max-l.remaining)
		}
	}
	b.daily.learn(l, b.inFlight)
}
