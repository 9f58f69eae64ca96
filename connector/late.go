package connector

import (
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// late returns the modification times of those changes of a page that came into the log after the watermark, claimed, had
// passed them. What a full read brings is not late, nor what changed without a modification time, nor a record seen for the
// first time that is older than the log: it may have been in the recycle bin.
func (d *draft) late(claimed time.Time) (times []time.Time) {
	if d.page.Origin == schemas.OriginBackfill {
		return nil
	}
	for _, e := range d.entries {
		if e.op != schemas.OpCreated && e.op != schemas.OpUpdated || !e.done || e.record.ID == "" {
			continue
		}
		if at := e.record.UpdatedAt; at.After(e.last.time) && at.Before(claimed) {
			times = append(times, at)
		}
	}
	return times
}

// tellLate lets the follower know that the watermark was wrong.
func (l *objectLog) tellLate(d *draft, claimed time.Time) {
	if times := d.late(claimed); len(times) > 0 && l.late != nil {
		l.late(times, d.at)
	}
}

// countRecords returns how many live records the log has after a batch, given the cursor before and the one in the batch;
// 0 if nobody ever counted them.
func countRecords(before, now schemas.Cursor, entries []*entry) int64 {
	if now.Records != before.Records || now.Records == 0 && !before.BackfilledAt.IsZero() {
		return now.Records // counted just now, or never
	}
	n := now.Records
	for _, e := range entries {
		if e.dead != nil || e.links != nil {
			continue
		}
		if e.last.seq > 0 && isLive(e.last.op(), false) {
			n--
		}
		if isLive(e.op, e.record.Archived) {
			n++
		}
	}
	return max(n, 0)
}

// isLive reports whether a record whose last event has this op can be read among the others.
func isLive(op schemas.Op, archived bool) bool {
	switch op {
	case schemas.OpArchived, schemas.OpMerged, schemas.OpPurged:
		return false
	}
	return !archived
}
