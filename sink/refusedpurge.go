package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errRowKept says that a row is still there after it was deleted.
var errRowKept = errors.New("a trigger or rule of the owner keeps the row")

// refusedPurge returns the set of the one row of a segment that is a deletion for privacy; nil if it is anything else.
func refusedPurge(s *segment) *rowSet {
	if len(purged(s.groups).ids) != 1 || len(s.groups) != 1 {
		return nil
	}
	return s.groups[0].set
}

// applyRefusedPurge carries out a deletion for privacy whose tombstone Postgres refuses, by a constraint or a trigger of the
// owner: the row goes instead, and what is noted in the table erased keeps it away. If even that is refused the row stays,
// with a dead letter that says why; all else of the record goes, and a comparison with the log names it.
//
// It excludes other writers of the table: one of them may be adding the row at this moment.
func (a *Applier) applyRefusedPurge(ctx context.Context, s *segment, set *rowSet, d deadLetter, position uint64) error {
	high, kept := s.messages[0].Seq, false
	err := pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `select set_config('statement_timeout', '60s', true), set_config('lock_timeout', '10s', true)`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `select pg_advisory_xact_lock_shared(hashtextextended('hubtail ' || $1 || '.', 0)), pg_advisory_xact_lock(`+lockKey+`)`,
			a.schema, set.table.object)
		if err != nil {
			return err
		}
		err = a.deleteRow(ctx, tx, set.table, set.rows[0].id)
		if kept = err != nil; kept && !errors.Is(err, errRowKept) && classify(err) != faultData {
			return err
		}
		batch := &pgconn.Batch{}
		keep := int64(0)
		if kept {
			keep = int64(d.seq)
			d.reason = clean(fmt.Sprintf("%s; the row could not be deleted either: %s", d.reason, reasonOf(err)))
			d.queue(batch, a.schema, a.stream)
		}
		queueErasedBut(batch, a.schema, s.groups, keep)
		queueCopyErasures(batch, a.schema, purged(s.groups))
		a.positionParams(high, position, 0).queue(batch, positionSQL(a.schema))
		_, err = tx.Conn().PgConn().ExecBatch(ctx, batch).ReadAll()
		return ownError(err)
	})
	if err != nil {
		return fmt.Errorf("erase the row of %s %s: %w", d.object, d.id, err)
	}
	if kept {
		a.counts.dead.Add(1)
		a.log.ErrorContext(ctx, "a deletion for privacy is refused by the database: the row is still there", "object", d.object, "id", d.id, "seq", high, "reason", d.reason)
	} else {
		a.counts.written.Add(1)
		a.log.WarnContext(ctx, "a deletion for privacy leaves no tombstone: the database refused it, and the row was deleted", "object", d.object, "id", d.id, "seq", high,
			"sqlstate", d.state, "reason", d.reason)
	}
	a.fence.Store(max(a.fence.Load(), int64(high)))
	return nil
}

// deleteRow deletes a row, or leaves the transaction as it was.
func (a *Applier) deleteRow(ctx context.Context, tx pgx.Tx, t *table, id int64) error {
	return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from `+quote(a.schema, t.name)+` where id = $1`, id); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, `select exists (select from `+quote(a.schema, t.name)+` where id = $1)`, id).Scan(&there); err != nil {
			return err
		}
		if there {
			return errRowKept
		}
		return nil
	})
}

// reasonOf returns what Postgres says, without values of the row.
func reasonOf(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Message
	}
	return err.Error()
}

// isPurgeLetter is the condition for dead letters d that are deletions for privacy: those stay until they were carried out.
const isPurgeLetter = `d.origin = 'sink' and d.headers->'ce-type'->>0 like '%.purged'`

// mergeDepth bounds how far CheckErased follows merges of records that were merged before: HubSpot merges two at a time.
const mergeDepth = 50

// CheckErased reports whether the tables have carried out the deletions for privacy of records: each is in the table erased,
// and neither it nor what was merged into it, directly or by way of others, has a row with values. (A tombstone no longer says
// what it was merged into.) The error names those that have not, and what refused.
func (s *Sink) CheckErased(ctx context.Context, object string, ids ...int64) error {
	a := NewApplier(ApplierConfig{Pool: s.cfg.Pool, Schema: s.cfg.Schema, Stream: s.cfg.Stream, Logger: s.cfg.Logger})
	left := `select i from unnest($2::bigint[]) i where not exists (select from ` + quote(a.schema, "erased") + ` e where e.object = $1 and e.record_id = i)`
	family := ""
	t, err := readTable(ctx, a.pool, a.schema, object)
	if err != nil {
		return fmt.Errorf("look for the table of %s: %w", object, err)
	}
	if t != nil {
		left += ` union select id from family join ` + quote(a.schema, t.name) + ` using (id) where not _purged`
		family = `with recursive family(id, depth) as (select i, 0 from unnest($2::bigint[]) i
union select r.id, f.depth + 1 from family f join ` + quote(a.schema, t.name) + ` r on r._merged_into = f.id where f.depth < ` + strconv.Itoa(mergeDepth) + `)
`
	}
	rows, err := a.patient().Query(ctx, family+`select l.i, coalesce((select d.reason from `+quote(a.schema, "dead_letters")+` d
where d.object = $1 and d.record_id = l.i::text and `+isPurgeLetter+` order by d.seq desc limit 1), 'no deletion for privacy was applied')
from (`+left+`) l(i) order by 1`, object, ids)
	if err != nil {
		return fmt.Errorf("look what was erased of %s: %w", object, err)
	}
	var refused []string
	var id int64
	var reason string
	if _, err := pgx.ForEachRow(rows, []any{&id, &reason}, func() error {
		refused = append(refused, fmt.Sprintf("%s %d (%s)", object, id, reason))
		return nil
	}); err != nil {
		return fmt.Errorf("look what was erased of %s: %w", object, err)
	}
	if len(refused) > 0 {
		return fmt.Errorf("the log has erased them, the tables of schema %s have not: %s; change what refuses it, then `hubtail dead-letters redrive --all` or `hubtail verify --repair`",
			a.schema, strings.Join(refused, ", "))
	}
	return nil
}
