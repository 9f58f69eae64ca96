package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// lookRows is from how many rows on it pays to ask which of them the table has, one round trip, before writing.
	lookRows = 100

	// copyRows is from how many new rows on they go in by COPY, which costs Postgres a third of what the upsert costs
	// (measured at 367 columns): it has no arrays to take apart.
	copyRows = 50

	uniqueViolation = "23505"
)

// errNotNew says that rows were copied in the belief that all of them are new, and one is not.
var errNotNew = errors.New("a row is there already")

// writing is one transaction that writes a segment. It takes one round trip if there are few rows; three if there are
// many: a look at what is there, COPY of what is new, and the rest. While a table is being filled the look is left out:
// should a row be there after all, the whole is done again with it. Checks run on the server, and fail the transaction.
type writing struct {
	a       *Applier
	conn    *pgconn.PgConn
	request *pgconn.Batch // statements not yet sent
	queued  int           // in request
	written int64
	copied  int64 // of written
}

// write writes a segment and moves the position, or does nothing.
func (a *Applier) write(ctx context.Context, s *segment, high, position uint64) error {
	ctx, cancel := context.WithTimeout(ctx, a.answer)
	defer cancel()
	sets, offered := s.rowSets()
	if len(sets) == 0 && s.onlyKnown() {
		if err := a.movePosition(ctx, high, position); err != nil {
			return err
		}
		a.count(s, offered, 0)
		return nil
	}
	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Release()
	w := &writing{a: a, conn: conn.Conn().PgConn(), request: &pgconn.Batch{}}
	if err := w.run(ctx, s, sets, high, position); err != nil {
		if !w.conn.IsClosed() && w.conn.TxStatus() != 'I' {
			_, _ = w.conn.Exec(ctx, "rollback").ReadAll() // else Release closes the connection
		}
		return fmt.Errorf("write rows: %w", ownError(err))
	}
	a.count(s, offered, w.written)
	a.allNew.Store(w.copied >= lookRows && w.copied == offered)
	return nil
}

func (w *writing) run(ctx context.Context, s *segment, sets []*rowSet, high, position uint64) error {
	w.begin(sets)
	sets, err := w.copyNew(ctx, sets)
	if err != nil {
		return err
	}
	first := w.queued
	for _, set := range sets {
		set.queueUpsert(w.request, w.a.schema)
	}
	w.a.queueControl(w.request, s, position)
	w.a.positionParams(high, position, s.withheld(position)).queue(w.request, positionSQL(w.a.schema))
	w.request.ExecParams("commit", nil, nil, nil, nil)
	results, err := w.send(ctx)
	if err != nil {
		return err
	}
	for i := range sets {
		w.written += results[first+i].CommandTag.RowsAffected()
	}
	return nil
}

// begin queues the start of the transaction: changes of the tables wait until it ends, and it fails if one of them is
// not of the generation that the rows were built for.
func (w *writing) begin(sets []*rowSet) {
	w.queue("begin", &params{})
	w.queue(`select set_config('statement_timeout', '60s', true), set_config('lock_timeout', '10s', true),
set_config('idle_in_transaction_session_timeout', '60s', true)`, &params{})
	objects, generations := make([]string, len(sets)), make([]int64, len(sets))
	for i, set := range sets {
		objects[i], generations[i] = set.table.object, set.table.generation
	}
	// The empty name is for whoever swaps other tables in: it excludes writers of links and cursors, too.
	w.queue(`select pg_advisory_xact_lock_shared(hashtextextended('hubtail ' || $1 || '.' || o, 0)) from unnest('{""}' || $2::text[]) o`,
		(&params{}).text(w.a.schema).texts(objects))
	if len(sets) == 0 {
		return
	}
	w.queue(`select case when count(*) = cardinality($1) then 0 else ('hubtail: stale ' || count(*))::integer end
from unnest($1, $2) as w(object, generation) join `+quote(w.a.schema, "objects")+` o on o.object = w.object and o.generation = w.generation`,
		(&params{}).texts(objects).int8s(generations))
}

func (w *writing) queue(sql string, p *params) {
	p.queue(w.request, sql)
	w.queued++
}

// send sends what is queued and waits for the answers.
func (w *writing) send(ctx context.Context) ([]*pgconn.Result, error) {
	results, err := w.conn.ExecBatch(ctx, w.request).ReadAll()
	w.request, w.queued = &pgconn.Batch{}, 0
	return results, err
}

// copyNew writes the rows that the big sets add to their tables, and returns the sets of what is left. Another sink may
// add one of them at the same moment: then COPY fails on the key, and the batch is halved until it is upserted.
func (w *writing) copyNew(ctx context.Context, sets []*rowSet) ([]*rowSet, error) {
	blind := w.a.allNew.Load()
	stored, err := w.look(ctx, sets, blind)
	if err != nil {
		return nil, err
	}
	var rest []*rowSet
	for _, set := range sets {
		set.leaveOut(stored[set])
		if added, others := set.split(stored[set]); len(added.rows) >= copyRows && len(set.rows) >= lookRows {
			tag, err := w.conn.CopyFrom(ctx, added.copyReader(), added.copySQL(w.a.schema))
			var pgErr *pgconn.PgError
			if blind && errors.As(err, &pgErr) && pgErr.Code == uniqueViolation {
				return nil, errNotNew
			}
			if err != nil {
				return nil, err
			}
			w.copied += tag.RowsAffected()
			set = others
		}
		if len(set.rows) > 0 {
			rest = append(rest, set)
		}
	}
	w.written += w.copied
	return rest, nil
}

// look returns which of the big sets' rows are in their tables: none, it is believed, if blind.
func (w *writing) look(ctx context.Context, sets []*rowSet, blind bool) (stored map[*rowSet]map[int64]int64, err error) {
	looked := make(map[int]*rowSet) // by statement
	stored = make(map[*rowSet]map[int64]int64)
	for _, set := range sets {
		if len(set.rows) < lookRows {
			continue
		}
		stored[set] = make(map[int64]int64)
		if !blind {
			ids := make([]int64, len(set.rows))
			for i := range set.rows {
				ids[i] = set.rows[i].id
			}
			looked[w.queued] = set
			// What was deleted for privacy may have no row, and is not to get one.
			w.queue(`select id, _seq from `+quote(w.a.schema, set.table.name)+` where id = any($1)
union all select record_id, 9223372036854775807 from `+quote(w.a.schema, "erased")+` where object = $2 and record_id = any($1)`,
				(&params{}).int8s(ids).text(set.table.object))
		}
	}
	if len(stored) == 0 {
		return nil, nil // begin travels with the rest
	}
	results, err := w.send(ctx)
	if err != nil {
		return nil, err
	}
	for i, set := range looked {
		for _, row := range results[i].Rows {
			id, err := parseInt8(row[0])
			if err != nil {
				return nil, err
			}
			if stored[set][id], err = parseInt8(row[1]); err != nil {
				return nil, err
			}
		}
	}
	return stored, nil
}

// rowSets returns what there is to write, and how many records were offered.
func (s *segment) rowSets() (sets []*rowSet, offered int64) {
	for _, g := range s.groups {
		offered += int64(g.offered)
		if g.set != nil && len(g.set.rows) > 0 {
			sets = append(sets, g.set)
		}
	}
	return sets, offered
}
