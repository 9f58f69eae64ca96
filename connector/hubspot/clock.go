package hubspot

import (
	"net/http"
	"sync"
	"time"
)

// clock estimates HubSpot's time. A Date header says the second in which an answer was made, and that was between sending
// the request and receiving the answer: every answer bounds the offset between the clocks, and many bound it closely.
//
// What a source claims to have read rests on this clock, so no single answer moves it: an edge server or a proxy may be an
// hour off. Only several answers in a row that contradict the bounds replace them, by the earliest of the times they say.
type clock struct {
	mu       sync.Mutex // guards everything below
	known    bool       // an answer agreed with our clock, or several agreed that it is wrong
	bounds   offset     // of HubSpot's clock
	bounded  time.Time  // when the bounds were last tightened
	dissent  []offset   // what the last answers said, if they contradict the bounds; at most witnesses
	reported time.Time  // the latest time given out: now never goes back
}

// offset is by how much HubSpot's clock is ahead of ours: at least low, at most high.
type offset struct{ low, high time.Duration }

const (
	// drift is how fast two clocks may diverge; the bounds widen by it.
	drift = 100e-6
	// witnesses is how many answers in a row have to contradict the clock before it is set.
	witnesses = 3
)

// observe learns from an answer with the given headers.
func (c *clock) observe(h http.Header, sent, answered time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || sent.IsZero() || answered.Before(sent) {
		return
	}
	said := offset{low: date.Sub(answered), high: date.Add(time.Second).Sub(sent)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known && said.holds(0) { // two clocks that know nothing of each other agree
		c.known, c.bounds, c.bounded, c.dissent = true, said, answered, nil
		return
	}
	if both := c.widened(answered).and(said); c.known && both.valid() {
		c.bounds, c.bounded, c.dissent = both, answered, nil
		return
	}
	c.dissent = append(c.dissent, said)
	if len(c.dissent) < witnesses {
		return
	}
	c.set(answered)
}

// set moves the clock to the earliest of the times that the last answers said.
func (c *clock) set(at time.Time) {
	c.dissent = c.dissent[len(c.dissent)-witnesses:]
	least := c.dissent[0]
	for _, said := range c.dissent {
		if said.low < least.low {
			least = said
		}
	}
	c.known, c.bounds, c.bounded = true, least, at
	// The others may say that it is still too early.
	still := c.dissent[:0]
	for _, said := range c.dissent {
		if both := c.bounds.and(said); both.valid() {
			c.bounds, still = both, still[:0]
		} else {
			still = append(still, said)
		}
	}
	c.dissent = still
	if time.Now().Add(c.offset()).Before(c.reported) {
		c.reported = time.Time{} // what was given out was wrong, or our own clock was set: it goes back, this once
	}
}

// widened returns the bounds as they hold at t.
func (c *clock) widened(t time.Time) offset {
	by := time.Duration(drift * float64(t.Sub(c.bounded)))
	return offset{c.bounds.low - by, c.bounds.high + by}
}

func (o offset) and(p offset) offset        { return offset{max(o.low, p.low), min(o.high, p.high)} }
func (o offset) valid() bool                { return o.low <= o.high }
func (o offset) holds(d time.Duration) bool { return o.low <= d && d <= o.high }

// estimate returns HubSpot's time. As long as the two clocks may agree, they are taken to agree.
func (c *clock) estimate() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset())
}

// now returns HubSpot's time, once it is known never less than before, unless the clock turned out to be wrong.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := time.Now().Add(c.offset()).UTC()
	if !c.known {
		return t
	}
	if t.After(c.reported) {
		c.reported = t
	}
	return c.reported
}

// offset returns by how much HubSpot's clock is taken to be ahead of ours. Until it is known, the earlier of what our clock
// and the answers say: a read that begins too early costs a request, one that begins too late loses changes.
func (c *clock) offset() time.Duration {
	if !c.known {
		early := time.Duration(0)
		for _, said := range c.dissent {
			early = min(early, said.low)
		}
		return early
	}
	if c.bounds.holds(0) {
		return 0
	}
	return (c.bounds.low + c.bounds.high) / 2
}
