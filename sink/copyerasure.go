package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// queueCopyErasures notes, in the transaction of deletions for privacy, that every copy has to carry them out as well.
func queueCopyErasures(batch *pgconn.Batch, schema string, p *purgedRecords) {
	p.params().int8s(p.seqs).int8s(p.updatedAt).queue(batch, `insert into `+quote(schema, "copy_erasures")+` as e
(schema_name, object, record_id, _seq, _updated_at)
select c.schema_name, p.object, p.id, p.seq, timestamptz '2000-01-01 00:00:00+00' + p.updated_at * interval '1 microsecond'
from `+quote(schema, "copies")+` c, unnest($1, $2, $3, $4) as p(object, id, seq, updated_at) order by 1, 2, 3
on conflict (schema_name, object, record_id) do update set _updated_at = excluded._updated_at, _seq = excluded._seq where e._seq < excluded._seq`)
}

// copyErasureAgain is how long a copy that could not be reached is left alone.
const copyErasureAgain = 10 * time.Second

// eraseInCopies carries out the deletions for privacy that copies still have to. What fails is noted in the database and
// tried again with later batches and after every start: it must not hold up the live tables.
func (a *Applier) eraseInCopies(ctx context.Context) {
	last := a.copyErasuresTried.Load()
	if !a.copyErasuresDue.Load() || last != 0 && time.Since(time.Unix(0, last)) < copyErasureAgain {
		return
	}
	left, err := a.drainCopyErasures(ctx)
	if err == nil && left == 0 {
		a.copyErasuresDue.Store(false)
		a.copyErasuresTried.Store(0)
		return
	}
	a.copyErasuresTried.Store(time.Now().UnixNano())
	a.log.WarnContext(ctx, "deletions for privacy are not in every copy yet: trying again", "left", left, "error", err)
}

// drainCopyErasures erases in every copy what is due there, each copy in transactions of its own, and returns how much is
// left because it failed.
func (a *Applier) drainCopyErasures(ctx context.Context) (left int64, err error) {
	rows, err := a.pool.Query(ctx, `select distinct schema_name from `+quote(a.schema, "copy_erasures")+` order by 1`)
	if err != nil {
		return 0, fmt.Errorf("look for deletions due in copies: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, fmt.Errorf("look for deletions due in copies: %w", err)
	}
	for _, schema := range due {
		if failed := a.eraseInCopy(ctx, schema); failed != nil && err == nil {
			err = fmt.Errorf("erase in copy %s: %w", schema, failed)
		}
	}
	if err == nil {
		return 0, nil
	}
	if counted := a.pool.QueryRow(ctx, `select count(*) from `+quote(a.schema, "copy_erasures")).Scan(&left); counted != nil {
		left = 1
	}
	return left, err
}

// eraseInCopy carries out what is due in one copy. The rows of copy_erasures are locked first, so that two sinks do not do
// it both.
func (a *Applier) eraseInCopy(ctx context.Context, schema string) error {
	c := NewApplier(ApplierConfig{Pool: a.pool, Schema: schema, Stream: a.stream, Created: a.created, Logger: a.log})
	due := quote(a.schema, "copy_erasures")
	rows, err := a.pool.Query(ctx, `select distinct object from `+due+` where schema_name = $1 order by 1`, schema)
	if err != nil {
		return err
	}
	objects, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	gone, err := a.isGone(ctx, schema)
	if err != nil {
		return err
	}
	if gone { // dropped by hand, and the values with it
		return ForgetCopy(ctx, a.pool, a.schema, schema)
	}
	for _, object := range objects {
		// A table that the copy lacks may be about to be made by whoever fills it, from a message that was read before.
		t, err := c.catalogue.load(ctx, a.pool, object)
		if err == nil && t == nil {
			t, err = c.createTable(ctx, object)
		}
		if err != nil {
			return err
		}
		if err := a.eraseObjectInCopy(ctx, schema, t); err != nil {
			return err
		}
	}
	return nil
}

// isGone reports whether the copy's tables are no more: dropped by hand, whatever has its name since.
func (a *Applier) isGone(ctx context.Context, schema string) (gone bool, err error) {
	err = a.pool.QueryRow(ctx, `select to_regclass($1) is null`, quote(schema, "objects")).Scan(&gone)
	if err != nil || gone {
		return gone, err
	}
	err = checkCopySchema(ctx, a.pool, a.schema, schema, allCopies...)
	if errors.Is(err, ErrCopyTaken) {
		return true, nil
	}
	return false, err
}

// eraseObjectInCopy erases records of one object type in a copy, by the statements that erase in the live tables, and strikes
// them off in the same transaction.
func (a *Applier) eraseObjectInCopy(ctx context.Context, schema string, t *table) error {
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('statement_timeout', '60s', true), set_config('lock_timeout', '2s', true)`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `delete from `+quote(a.schema, "copy_erasures")+` where schema_name = $1 and object = $2
			returning record_id, _seq, coalesce(_updated_at, '0001-01-01')`, schema, t.object)
		if err != nil {
			return err
		}
		set := &rowSet{table: t}
		var id, seq int64
		var updatedAt time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &seq, &updatedAt}, func() error {
			row := tombstone(id, seq)
			if updatedAt.Year() > 1 {
				row.updatedAt = postgresMicros(updatedAt)
			}
			set.rows = append(set.rows, row)
			return nil
		})
		if err != nil || len(set.rows) == 0 {
			return err
		}
		return writeTombstones(ctx, tx, schema, set)
	})
}

// tombstone is the row of a record that was deleted for privacy.
func tombstone(id, seq int64) recordRow {
	return recordRow{id: id, seq: seq, mergedInto: nullInt, createdAt: nullInt, updatedAt: nullInt, archivedAt: nullInt, archived: true, purged: true}
}

// writeTombstones erases the records of a set in the tables of a schema: rows, links, dead letters.
func writeTombstones(ctx context.Context, tx pgx.Tx, schema string, set *rowSet) error {
	batch := &pgconn.Batch{}
	set.queueUpsert(batch, schema)
	queueErased(batch, schema, []*group{{object: set.table.object, set: set}})
	_, err := tx.Conn().PgConn().ExecBatch(ctx, batch).ReadAll()
	return err
}

// EraseCopies carries out in every copy what was deleted for privacy in the live tables, and returns an error that names the
// copy if that cannot be done. It waits for locks for as long as ctx lasts.
func (s *Sink) EraseCopies(ctx context.Context) error {
	a := NewApplier(ApplierConfig{Pool: s.cfg.Pool, Schema: s.cfg.Schema, Stream: s.cfg.Stream, Logger: s.cfg.Logger})
	for attempt := 0; ; attempt++ {
		left, err := a.drainCopyErasures(ctx)
		if err == nil && left == 0 {
			return nil
		}
		f := classify(err)
		if f != faultRetry && f != faultConnect && f != faultWait || !pause(ctx, backoff(min(attempt, 4))) {
			return fmt.Errorf("the live tables are done, a copy is not: %w; drop it with `hubtail rebuild --drop-old`, or run this again", err)
		}
	}
}
