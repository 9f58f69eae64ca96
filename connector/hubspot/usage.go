package hubspot

import "time"

// Usage is a snapshot of what the client has used and what holds it up.
type Usage struct {
	Requests    map[string]int64 // attempts sent, by kind: list, search, batch, properties, pipelines, owners, schemas, associations, labels, account, token
	RateLimited int64            // answers of 429
	Retries     int64            // attempts after the first of a call
	Failures    int64            // calls that ended in an error
	Window      Window           // the burst quota
	Search      SearchUsage
	Daily       Daily
	Waiting     int       // calls waiting for the budget
	InFlight    int       // calls on the wire
	Breaker     string    // "closed", "open", "half-open"
	ParkedUntil time.Time // nothing is sent before; zero if nothing holds
	ParkedFor   string    // why: "daily limit", "account is migrating", ...
}

// Window is the state of the burst quota.
type Window struct {
	Limit    int           // requests per interval that we may use
	Used     int           // slots taken now
	Interval time.Duration // 10 s unless headers said otherwise
}

// SearchUsage is the state of the search quota.
type SearchUsage struct {
	Limit    int           // searches per interval
	Used     int           // slots taken now
	Interval time.Duration // 1 s
	InWindow string        // whether searches count in the burst quota too: "assumed", "yes", "no"
}

// Daily is the state of the daily quota.
type Daily struct {
	Limit     int       // of the account; 0 if unknown
	Allowed   int       // our share of it
	Used      int       // by us, since the client started or the day began
	Remaining int       // of the account, as HubSpot last said; -1 if unknown
	ResetsAt  time.Time // midnight of the account's time zone; zero if unknown
}

// Usage returns a snapshot.
func (c *Client) Usage() Usage { return Usage{} }
