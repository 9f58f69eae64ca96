package connector

import (
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// coverage is what the deep passes of this process have read: of what was modified since from, everything that the index
// had at start, when the last of them began. Consecutive passes overlap, so it has no gaps. Every change up to the settle
// time before start was in the index, and so was read.
type coverage struct {
	from, start time.Time
}

// to returns where the coverage's certainty ends.
func (v coverage) to(settle time.Duration) time.Time { return v.start.Add(-settle) }

// next returns where the next deep pass begins: where the last one's certainty ends, if the coverage goes back as far as
// needed (if the settle time grew since, that is earlier than it was); else where the log says that certainty ended, or
// before the full read that is to be completed, less what the index may show far too late.
func (v coverage) next(c schemas.Cursor, now time.Time, settle, reach time.Duration) time.Time {
	from := needed(c, now, settle)
	since := from.Add(-reach)
	switch {
	case !v.start.IsZero() && (from.IsZero() || !v.from.After(from)):
		since = v.to(settle)
	case from.IsZero():
		since = now
	}
	return earlier(since, now.Add(-settle))
}

// needed returns how far a coverage must go back to say something about the watermark; zero if nothing was read yet. A
// watermark in the future is a lie that a wrong clock told.
func needed(c schemas.Cursor, now time.Time, settle time.Duration) time.Time {
	switch {
	case !c.CompleteThrough.IsZero() && !c.CompleteThrough.After(now):
		return c.CompleteThrough
	case !c.BackfilledAt.IsZero():
		return c.BackfilledAt.Add(-settle)
	case c.Backfill != nil:
		return c.Backfill.StartedAt.Add(-settle)
	}
	return time.Time{}
}

// extend notes a deep pass that read everything the index had at start from since on. One that begins past the coverage's
// certainty, because the settle time grew meanwhile, proves nothing.
func (v coverage) extend(since, start time.Time, settle time.Duration) coverage {
	switch {
	case v.start.IsZero():
		return coverage{since, start}
	case since.After(v.to(settle)):
		return v
	}
	return coverage{from: earlier(v.from, since), start: later(v.start, start)}
}

// extendShort notes a deep pass in which results were counted and not shown. They may have changed at any time since, so it
// proves nothing yet; only what the coverage has waited for as long as reach it waits for no longer.
func (v coverage) extendShort(c schemas.Cursor, since, start time.Time, settle, reach time.Duration) coverage {
	proven := start.Add(-reach)
	if !proven.After(v.start) || v.start.IsZero() && (since.After(proven) || needed(c, start, settle).After(proven)) {
		return v
	}
	return v.extend(since, proven, settle)
}

// watermark returns the CompleteThrough that the coverage proves on top of what the cursor says: none before the first
// full read is done, for that brings what is older than the coverage.
func (v coverage) watermark(c schemas.Cursor, settle time.Duration) time.Time {
	if c.BackfilledAt.IsZero() || v.start.IsZero() || v.from.After(needed(c, v.start, settle)) {
		return c.CompleteThrough
	}
	if c.CompleteThrough.After(v.start) {
		return v.to(settle)
	}
	return later(c.CompleteThrough, v.to(settle))
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
