package schemas

import (
	"errors"
	"fmt"
	"time"
)

// Cursor says how far the source has read an object type, on `_cursor.<object>`, in the same atomic batch as the page it
// accounts for. It is all the source needs to go on after a crash.
type Cursor struct {
	Portal   string    `json:"portal"`
	Object   string    `json:"object"`
	Instance string    `json:"instance"` // the process that wrote it
	At       time.Time `json:"at"`       // HubSpot's clock when it was written
	// Backfill is the full read under way, nil if there is none.
	Backfill *Backfill `json:"backfill,omitempty"`
	// BackfilledAt is when the last full read that finished began; zero if none ever did.
	BackfilledAt time.Time `json:"backfilled_at,omitzero"`
	// PolledTo is where the fast lane stands: the newest modification time it has read.
	PolledTo time.Time `json:"polled_to,omitzero"`
	// CompleteThrough is the watermark: everything modified before it is in the log. Zero until the first backfill is done.
	CompleteThrough time.Time `json:"complete_through,omitzero"`
	// Links says how far associations were read, nil if they never were.
	Links *LinkProgress `json:"links,omitempty"`
	// ArchivedWalk says how far the recycle bin was read, nil if it never was.
	ArchivedWalk *ArchivedWalk `json:"archived_walk,omitempty"`
	// Verified is the source's last comparison of HubSpot with the log; nil before the first.
	Verified *Verified `json:"verified,omitempty"`
	// Settle is what was learned of how late search is, nil before anything was.
	Settle *Settle `json:"settle,omitempty"`
	// Records is how many live records the log has; 0 if they were never counted.
	Records int64 `json:"records,omitempty"`
	// NewProperties are those whose values are still being fetched for the records that the log has.
	NewProperties []NewProperty `json:"new_properties,omitempty"`
	// Reread is the last walk that read all records again, finished or not; nil before the first.
	Reread *Reread `json:"reread,omitempty"`
	// Webhooks is what HubSpot's webhooks told of the object type since the source started; nil if nothing and the source has
	// no receiver.
	Webhooks *Webhooks `json:"webhooks,omitempty"`
	// Quota is what the source had used of HubSpot's quota when it wrote the cursor, all object types together.
	Quota *Quota `json:"quota,omitempty"`
}

// Verified is a comparison of HubSpot with the log.
type Verified struct {
	At          time.Time `json:"at"`          // HubSpot's clock when it began
	Differences int64     `json:"differences"` // found
	Repaired    int64     `json:"repaired"`    // of these
}

// Webhooks compares what webhooks told of with what polling found.
type Webhooks struct {
	Since time.Time `json:"since"` // when the first hint was read, or, without any yet, when the source began; HubSpot's clock
	Hints int64     `json:"hints"` // read since
	// Judged is up to when the changes that polling found were compared with the hints; zero if it is too early to.
	Judged time.Time `json:"judged,omitzero"`
	// Missed counts changes that polling found and no webhook told of, by kind of subscription: "propertyChange", ...
	Missed map[string]int64 `json:"missed,omitempty"`
	// Properties counts in how many of the propertyChanges among them each property had changed.
	Properties map[string]int64 `json:"properties,omitempty"`
}

// Quota is the use of HubSpot's quota by one source.
type Quota struct {
	Requests    int64     `json:"requests"`                  // sent since the source started
	RateLimited int64     `json:"rate_limited"`              // of these, answered by 429
	DailyLimit  int       `json:"daily_limit,omitempty"`     // of the account; absent if unknown
	DailyUsed   int       `json:"daily_used"`                // by this source since the day began, or since it started
	Remaining   *int      `json:"daily_remaining,omitempty"` // of the account, as HubSpot last said
	Breaker     string    `json:"breaker,omitempty"`         // "closed", "open", "half-open"
	ParkedUntil time.Time `json:"parked_until,omitzero"`     // nothing is sent before
	ParkedFor   string    `json:"parked_for,omitempty"`      // why
}

// Backfill is the state of a full read: the id ranges that remain.
type Backfill struct {
	RunID     string    `json:"run_id"`
	StartedAt time.Time `json:"started_at"` // HubSpot's clock; the incremental pass at the end starts from before it
	Ranges    []Range   `json:"ranges"`     // disjoint, ascending; empty when everything was read
	Total     int64     `json:"total"`      // records, as search counted them at the start; 0 if unknown
	Counts    Counts    `json:"counts"`
}

// Range is a half-open range of record ids, [From, To): list reads it upward, search downward, until they meet.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Subject returns where the message travels.
func (c *Cursor) Subject() Subject {
	return Subject{Kind: KindCursor, Portal: c.Portal, Object: c.Object}
}

func (*Cursor) schema() string { return "cursor" }

// normalise cuts the times downward, so that a cursor never claims more than was read.
func (c *Cursor) normalise() {
	milliseconds(&c.At)
	milliseconds(&c.BackfilledAt)
	milliseconds(&c.PolledTo)
	milliseconds(&c.CompleteThrough)
	if c.Verified != nil {
		milliseconds(&c.Verified.At)
	}
	if c.ArchivedWalk != nil {
		c.ArchivedWalk.normalise()
	}
	if c.Settle != nil {
		c.Settle.normalise()
	}
	if c.Reread != nil {
		c.Reread.normalise()
	}
	for i := range c.NewProperties {
		milliseconds(&c.NewProperties[i].Since)
	}
	if c.Webhooks != nil {
		milliseconds(&c.Webhooks.Since)
		milliseconds(&c.Webhooks.Judged)
	}
	if c.Quota != nil {
		milliseconds(&c.Quota.ParkedUntil)
	}
	if c.Links != nil {
		c.Links.normalise()
	}
	if c.Backfill != nil {
		milliseconds(&c.Backfill.StartedAt)
		c.Backfill.Ranges = orEmpty(c.Backfill.Ranges)
	}
}

func (c *Cursor) check() error {
	if c.Links != nil {
		if err := c.Links.check(); err != nil {
			return fmt.Errorf("links: %w", err)
		}
	}
	if c.ArchivedWalk != nil {
		if err := c.ArchivedWalk.check(); err != nil {
			return fmt.Errorf("archived walk: %w", err)
		}
	}
	if c.Backfill == nil {
		return nil
	}
	if c.Backfill.Ranges == nil {
		return errMissing("ranges") // none would say that everything was read
	}
	if len(c.Backfill.Ranges) > 0 && c.Backfill.Ranges[0].From < 0 {
		return errors.New("backfill range begins below 0")
	}
	end := int64(0)
	for _, r := range c.Backfill.Ranges {
		if r.From < end || r.To <= r.From {
			return fmt.Errorf("backfill range %d-%d is empty or out of order", r.From, r.To)
		}
		end = r.To
	}
	return nil
}
