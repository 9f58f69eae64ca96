package connector

import (
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// coverage is what the deep passes of this process have read: every change in [from, to). Consecutive passes overlap, so
// it has no gaps.
type coverage struct {
	from, to time.Time
}

// next returns where the next deep pass begins: where the last one's certainty ended, if it goes back as far as needed;
// else where the log says that certainty ended, less what the index may show late, or before the full read that is to be
// completed.
func (v coverage) next(c schemas.Cursor, now time.Time, settle, reach time.Duration) time.Time {
	from := needed(c, settle)
	switch {
	case !v.to.IsZero() && (from.IsZero() || !v.from.After(from)):
		return v.to
	case from.IsZero():
		return now.Add(-settle)
	case !c.CompleteThrough.IsZero():
		return from.Add(-reach)
	}
	return from
}

// needed returns how far a coverage must go back to say something about the watermark; zero if nothing was read yet.
func needed(c schemas.Cursor, settle time.Duration) time.Time {
	switch {
	case !c.CompleteThrough.IsZero():
		return c.CompleteThrough
	case !c.BackfilledAt.IsZero():
		return c.BackfilledAt.Add(-settle)
	case c.Backfill != nil:
		return c.Backfill.StartedAt.Add(-settle)
	}
	return time.Time{}
}

// extend notes a deep pass that read everything the index had at start from since on. A change is in the index within the
// settle time, so whatever happened longer than that before start was read.
func (v coverage) extend(since, start time.Time, settle time.Duration) coverage {
	to := start.Add(-settle)
	if v.from.IsZero() || since.After(v.to) { // the first pass, or one that begins past a gap
		return coverage{from: since, to: later(since, to)}
	}
	return coverage{from: earlier(v.from, since), to: later(v.to, to)}
}

// watermark returns the CompleteThrough that the coverage proves on top of what the cursor says: none before the first
// full read is done, for that brings what is older than the coverage.
func (v coverage) watermark(c schemas.Cursor, settle time.Duration) time.Time {
	if c.BackfilledAt.IsZero() || v.from.IsZero() || v.from.After(needed(c, settle)) {
		return c.CompleteThrough
	}
	return later(c.CompleteThrough, v.to)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
