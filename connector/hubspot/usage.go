package hubspot

import (
	"maps"
	"sync"
	"time"
)

// Usage is a snapshot of what the client has used and what holds it up.
type Usage struct {
	Requests    map[string]int64 // attempts sent, by kind: list, search, batch, properties, pipelines, owners, schemas, associations, labels, account, token
	RateLimited int64            // answers of 429
	Retries     int64            // attempts after the first of a call
	Failures    int64            // calls that ended in an error, cancelled ones not counted
	Window      Window           // the burst quota
	Search      SearchUsage
	Daily       Daily
	Waiting     int       // calls waiting for the budget
	InFlight    int       // calls on the wire
	Breaker     string    // "closed", "open", "half-open"
	ParkedUntil time.Time // nothing is sent before; zero if nothing holds
	ParkedFor   string    // why
}

// Sent returns the attempts of all kinds together.
func (u Usage) Sent() (n int64) {
	for _, kind := range u.Requests {
		n += kind
	}
	return n
}

// Window is the state of the burst quota.
type Window struct {
	Limit    int           // requests per interval that we may use
	Used     int           // slots taken now, by us or by others
	Reserved int           // slots beyond these that backfill leaves to higher priorities
	Interval time.Duration // 10 s unless headers said otherwise
}

// SearchUsage is the state of the search quota.
type SearchUsage struct {
	Limit    int           // searches per interval, less what others seem to use
	Used     int           // slots taken now
	Interval time.Duration // 1 s
	InWindow string        // whether searches count in the burst quota too: "assumed", "yes", "no"
}

// Daily is the state of the daily quota.
type Daily struct {
	Limit     int       // of the account; 0 if unknown
	Allowed   int       // our share of it
	Used      int       // by us, since the client started or the day began
	Remaining int       // of the account, as HubSpot last said, less what was sent since; -1 if unknown
	ResetsAt  time.Time // midnight of the account's time zone; zero if the zone is unknown
}

// counters count requests.
type counters struct {
	mu                             sync.Mutex // guards everything below
	requests                       map[string]int64
	rateLimited, retries, failures int64
}

func (c *counters) sent(kind string, attempt int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = make(map[string]int64)
	}
	c.requests[kind]++
	if attempt > 1 {
		c.retries++
	}
}

func (c *counters) denied() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rateLimited++
}

func (c *counters) failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
}

// Usage returns a snapshot.
func (c *Client) Usage() Usage {
	u := c.budget.usage()
	u.Breaker = c.breaker.state()
	n := &c.core.usage
	n.mu.Lock()
	defer n.mu.Unlock()
	u.Requests = maps.Clone(n.requests)
	u.RateLimited, u.Retries, u.Failures = n.rateLimited, n.retries, n.failures
	return u
}

func (b *budget) usage() Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.prune(now)
	d := &b.daily
	u := Usage{
		Window:  Window{Limit: b.window.limit, Used: b.held(now), Reserved: b.reserveHigher(PriorityBackfill, now), Interval: b.window.interval},
		Search:  SearchUsage{Limit: b.search.effective(), Used: b.searchesHeld(now), Interval: b.search.interval, InWindow: b.learned.state.String()},
		Daily:   Daily{Limit: d.limit, Allowed: int(float64(d.limit) * d.share), Used: d.used, Remaining: -1},
		Waiting: len(b.waiters), InFlight: b.inFlight,
		ParkedUntil: b.parked.until, ParkedFor: b.parked.reason,
	}
	if left, known := d.left(); known {
		u.Daily.Remaining = left
	}
	if d.zoneKnown {
		u.Daily.ResetsAt = d.resetsAt
	}
	return u
}
