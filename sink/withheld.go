package sink

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/schemas"
)

// withheld returns the lowest sequence of a cursor or a run in the segment that the position has not reached, 0 if there
// is none.
func (s *segment) withheld(position uint64) (lowest uint64) {
	add := func(seq uint64) {
		if seq > position && (lowest == 0 || seq < lowest) {
			lowest = seq
		}
	}
	for _, c := range s.cursors {
		add(c.seq)
	}
	for _, r := range s.runs {
		add(r.seq)
	}
	return lowest
}

// queueProgress adds cursors and runs, or withholds them. It comes last but for the position, whose row it locks first: the
// transaction that moves the position releases what is withheld into the same rows, while it holds that lock, and would else
// wait for this one, and this one for it.
func (a *Applier) queueProgress(batch *pgconn.Batch, s *segment, position uint64) {
	if len(s.cursors)+len(s.runs) == 0 {
		return
	}
	(&params{}).text(a.stream).text(a.consumer).queue(batch,
		`select from `+quote(a.schema, "positions")+` where stream = $1 and consumer = $2 for update`)
	for _, object := range slices.Sorted(maps.Keys(s.cursors)) {
		if c := s.cursors[object]; c.seq <= position {
			queueCursor(batch, a.schema, c.value, int64(c.seq))
		} else {
			a.queueWithheld(batch, "cursor", withheldCursor(c.value), c.seq)
		}
	}
	for _, r := range s.runs {
		if r.seq <= position {
			queueRun(batch, a.schema, r.value, int64(r.seq))
		} else {
			a.queueWithheld(batch, "run", withheldRun(r.value), r.seq)
		}
	}
}

// queueWithheld keeps a row for cursors or sync_logs until the position reaches seq: other sinks of the consumer may still
// hold messages from before it. The trigger of positions releases it, in whichever transaction moves the position there.
func (a *Applier) queueWithheld(batch *pgconn.Batch, kind string, row map[string]any, seq uint64) {
	content, _ := json.Marshal(row) // plain fields always marshal
	(&params{}).text(a.stream).text(a.consumer).int8(int64(seq)).text(kind).json(cleanJSON(content)).queue(batch,
		`insert into `+quote(a.schema, "withheld")+` (stream, consumer, seq, kind, content) values ($1, $2, $3, $4, $5) on conflict do nothing`)
}

// withheldCursor is what queueCursor writes, as JSON by column.
func withheldCursor(c *schemas.Cursor) map[string]any {
	row := map[string]any{
		"object": c.Object, "complete_through": jsonTime(c.CompleteThrough), "polled_to": jsonTime(c.PolledTo),
		"backfilled_at": jsonTime(c.BackfilledAt), "at": jsonTime(c.At),
	}
	if c.Backfill != nil {
		row["backfill"] = c.Backfill
	}
	if instance := clean(c.Instance); instance != "" {
		row["instance"] = instance
	}
	return row
}

// withheldRun is what queueRun writes, as JSON by column.
func withheldRun(r *schemas.Run) map[string]any {
	row := map[string]any{
		"run_id": clean(r.RunID), "object_type": r.Object, "sync_type": clean(r.SyncType),
		"sync_started_at": jsonTime(r.StartedAt), "sync_completed_at": jsonTime(r.CompletedAt),
		"records_fetched": r.Fetched, "records_created": r.Created, "records_updated": r.Updated, "records_unchanged": r.Unchanged,
		"records_deleted": r.Deleted, "records_failed": r.Failed, "api_calls": r.APICalls,
		"status": r.Status, "complete_through": jsonTime(r.CompleteThrough),
	}
	if text := clean(r.Error); text != "" {
		row["error_message"] = text
	}
	return row
}

func jsonTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Truncate(time.Microsecond) // as Postgres keeps it
}
