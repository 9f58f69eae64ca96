package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// exchangeRows lets the rows that describe the tables change places with them, and brings what only one of the logs or
// schemas knows to where it belongs. These tables are read and written where they are, so they need no lock.
func (r *rebuilding) exchangeRows(ctx context.Context, tx pgx.Tx, pairs []pair) error {
	var objects []string
	for _, p := range pairs {
		if p.object != "" {
			objects = append(objects, p.object)
		}
	}
	tables := []string{"properties", "pipelines", "pipeline_stages", "objects"}
	if r.whole() {
		tables = append(tables, "cursors")
	}
	// Whoever prepared rows for the table that was there prepares them again. And a sink that runs looks at the columns once
	// more: what held one at its type may be gone with the swap.
	err := execAll(ctx, tx, fmt.Sprintf(`update %s x set generation = greatest(x.generation, l.generation) + 1,
		reshape = x.reshape or l.reshape or exists (select from %s p where p.object = x.object and p.note is not null)
		from %s l where l.object = x.object`, quote(r.copy, "objects"), quote(r.copy, "properties"), quote(r.live, "objects")))
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := r.exchange(ctx, tx, table, objects); err != nil {
			return fmt.Errorf("exchange %s: %w", table, err)
		}
	}
	if err := r.exchangeDeadLetters(ctx, tx, objects); err != nil {
		return fmt.Errorf("exchange dead_letters: %w", err)
	}
	for _, sides := range [][2]string{{r.live, r.copy}, {r.copy, r.live}} {
		if err := r.insertStatic(ctx, tx, "erased", sides[1], sides[0], `where object = any($1) on conflict do nothing`, objects); err != nil {
			return fmt.Errorf("exchange erased: %w", err)
		}
	}
	if r.whole() {
		if err := r.insertStatic(ctx, tx, "sync_logs", r.copy, r.live, `on conflict do nothing`); err != nil {
			return fmt.Errorf("exchange sync_logs: %w", err)
		}
	}
	return r.exchangePositions(ctx, tx)
}

// exchange lets the rows of some object types change places. Those that stay keep what they have in the owner's columns.
func (r *rebuilding) exchange(ctx context.Context, tx pgx.Tx, table string, objects []string) error {
	live, other := quote(r.live, table), quote(r.copy, table)
	var rows string
	if err := tx.QueryRow(ctx, `select coalesce(jsonb_agg(to_jsonb(t)), '[]')::text from `+live+` t where object = any($1)`, objects).Scan(&rows); err != nil {
		return err
	}
	c, err := r.staticColumns(ctx, tx, table)
	if err != nil {
		return err
	}
	for _, sql := range []string{
		`delete from ` + live + ` where object = any($1) and (` + c.key + `) not in (select ` + c.key + ` from ` + other + `)`,
		`insert into ` + live + ` (` + c.all + `) select ` + c.all + ` from ` + other + ` where object = any($1)` + c.replaced(),
		`delete from ` + other + ` where object = any($1)`,
	} {
		if _, err := tx.Exec(ctx, sql, objects); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `insert into `+other+` select * from jsonb_populate_recordset(null::`+other+`, $1::text::jsonb)`, rows)
	return err
}

// exchangePositions notes where the tables are after the swap. The copy of the same log is at least as far as the live tables:
// so whatever a running sink knows of its position stays true, and it goes on without noticing.
func (r *rebuilding) exchangePositions(ctx context.Context, tx pgx.Tx) error {
	live, other := quote(r.live, "positions"), quote(r.copy, "positions")
	var rows string
	var was uint64
	err := tx.QueryRow(ctx, `select coalesce(jsonb_agg(to_jsonb(p) - 'withheld'), '[]')::text, coalesce(max(seq), 0) from `+live+` p where stream = $1`, r.a.stream).Scan(&rows, &was)
	if err != nil {
		return err
	}
	if r.whole() {
		if !r.sameLog {
			// What waits for a position of the old stream would come with the same one of the new stream.
			for _, table := range []string{"positions", "withheld"} {
				if _, err := tx.Exec(ctx, `delete from `+quote(r.live, table)+` where stream = $1`, r.a.stream); err != nil {
					return err
				}
			}
		}
		_, err := tx.Exec(ctx, `insert into `+live+` as p (stream, consumer, portal, stream_created, seq, high)
			select stream, consumer, portal, stream_created, seq, high from `+other+` where stream = $1 and (consumer = $2 or $3)
			on conflict (stream, consumer) do update set seq = greatest(p.seq, excluded.seq), high = greatest(p.high, excluded.high), updated_at = now()`,
			r.a.stream, r.a.consumer, r.foreign)
		if err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `delete from `+other); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into `+other+` select * from jsonb_populate_recordset(null::`+other+`, $1::text::jsonb)`, rows); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update `+quote(r.live, "copies")+` set kind = 'old', phase = '', position = $2, created_at = now(), updated_at = now() where schema_name = $1`,
		r.copy, int64(was))
	return err
}
