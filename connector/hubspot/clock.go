package hubspot

import (
	"net/http"
	"sync"
	"time"
)

// clock estimates HubSpot's time. A Date header says the second in which an answer was made, and that was between sending
// the request and receiving the answer: every answer bounds the offset between the clocks, and many bound it closely.
type clock struct {
	mu       sync.Mutex // guards everything below
	known    bool
	low      time.Duration // HubSpot's clock is at least this much ahead of ours
	high     time.Duration // and at most this much
	bounded  time.Time     // when the bounds were last tightened
	reported time.Time     // the latest time given out: now never goes back
}

// drift is how fast two clocks may diverge; the bounds widen by it.
const drift = 100e-6

// observe learns from an answer with the given headers.
func (c *clock) observe(h http.Header, sent, answered time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || sent.IsZero() || answered.Before(sent) {
		return
	}
	low, high := date.Sub(answered), date.Add(time.Second).Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	widened := time.Duration(drift * float64(answered.Sub(c.bounded)))
	lower, upper := max(low, c.low-widened), min(high, c.high+widened)
	if !c.known || lower > upper { // the first answer, or one of the clocks was set
		lower, upper = low, high
	}
	c.known, c.low, c.high, c.bounded = true, lower, upper, answered
}

// estimate returns HubSpot's time. As long as the two clocks may agree, they are taken to agree.
func (c *clock) estimate() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset())
}

// now returns HubSpot's time, never less than before.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := time.Now().Add(c.offset()).UTC(); t.After(c.reported) {
		c.reported = t
	}
	return c.reported
}

func (c *clock) offset() time.Duration {
	if !c.known || c.low <= 0 && c.high >= 0 {
		return 0
	}
	return (c.low + c.high) / 2
}
