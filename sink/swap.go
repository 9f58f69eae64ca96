package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// swapGap is how many messages a copy may be behind when the writers are stopped: applying them takes well under a second.
const swapGap = 2_000

// errBehind says that the log moved on too far since the copy was caught up, errUndressed that the live tables got an index or
// the like since.
var (
	errBehind    = errors.New("the log moved on")
	errUndressed = errors.New("the live tables got something new")
)

// swap tries until the tables have changed places. Between two tries writers and readers go on.
func (r *rebuilding) swap(ctx context.Context) error {
	if err := r.awaitSnapshots(ctx); err != nil {
		return err
	}
	if err := r.stillAlone(ctx); err != nil {
		return err
	}
	began := time.Now()
	for attempt := 0; ; attempt++ {
		at, err := r.registeredAt(ctx, r.pool)
		if err == nil {
			var swapped bool
			if swapped, err = r.checkCopy(at); swapped {
				return nil // the try before was committed, and its answer got lost
			}
		}
		if err == nil {
			err = r.catchUp(ctx)
		}
		if err == nil {
			err = r.eraseDue(ctx)
		}
		if err == nil {
			r.result.Tries++
			err = r.trySwap(ctx)
		}
		if err == nil {
			return nil
		}
		switch f := classify(err); {
		case errors.Is(err, errUndressed):
			if err := r.dress(ctx); err != nil {
				return err
			}
		case !errors.Is(err, errBehind) && !errors.Is(err, errErasuresDue) && f != faultRetry && f != faultConnect && f != faultWait:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > r.o.Patience {
			return fmt.Errorf("no moment for the swap within %s; the live tables are as they were: %w%s", r.o.Patience, err, r.blockers(ctx))
		}
		if attempt%10 == 0 {
			r.log.InfoContext(ctx, "the swap waits for a moment", "attempt", attempt+1, "error", err, "readers", r.blockers(ctx))
		}
		if !pause(ctx, backoff(min(attempt, 4))) {
			return ctx.Err()
		}
	}
}

// checkCopy reports whether one of the tries was committed, given when the copy became what it is. It refuses a copy that
// another run made or put back since: then the lock that keeps runs alone was lost with its connection.
func (r *rebuilding) checkCopy(at time.Time) (swapped bool, err error) {
	switch {
	case at.Equal(r.registered):
		return false, nil
	case slices.ContainsFunc(r.tried, at.Equal):
		return true, nil
	}
	return false, fmt.Errorf("%w: it has taken schema %s since this one began; nothing was swapped", ErrRebuilding, r.copy)
}

// registeredAt returns when the copy became what it is, which every swap changes. In a transaction it keeps others from
// changing that until the end.
func (r *rebuilding) registeredAt(ctx context.Context, db queryer) (at time.Time, err error) {
	err = db.QueryRow(ctx, `select created_at from `+quote(r.live, "copies")+` where schema_name = $1 for update`, r.copy).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return at, fmt.Errorf("%w: it has dropped copy %s; nothing was swapped", ErrRebuilding, r.copy)
	}
	if err != nil {
		return at, fmt.Errorf("look for copy %s: %w", r.copy, err)
	}
	return at, nil
}

// snapshotWait is how long the swap waits for transactions that are older than the new tables' rows.
const snapshotWait = 30 * time.Second

// awaitSnapshots waits until all transactions have begun after the new tables were filled. Postgres rule: one that is
// repeatable read, as pg_dump's, sees rows as of its beginning and tables by their present names: so it would find the new
// tables empty. What is older after that has most likely nothing to do with these tables.
func (r *rebuilding) awaitSnapshots(ctx context.Context) error {
	var filled string
	if err := r.pool.QueryRow(ctx, `select pg_current_xact_id()::xid::text`).Scan(&filled); err != nil {
		return err
	}
	for began := time.Now(); ; {
		var older int
		err := r.pool.QueryRow(ctx, `select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
			and coalesce(backend_type, 'client backend') = 'client backend' and age(backend_xmin) > age($1::text::xid)`, filled).Scan(&older)
		if err != nil || older == 0 {
			return err
		}
		if time.Since(began) > snapshotWait {
			r.log.WarnContext(ctx, "transactions older than the new tables go on: one that is repeatable read may find them empty", "transactions", older)
			return nil
		}
		if !pause(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// blockers names sessions that use the live tables for long.
func (r *rebuilding) blockers(ctx context.Context) string {
	rows, err := r.pool.Query(ctx, `select distinct format('pid %s (%s, since %s)', l.pid, a.usename, to_char(a.xact_start, 'HH24:MI:SS'))
		from pg_locks l join pg_stat_activity a using (pid) join pg_class c on c.oid = l.relation
		where l.granted and c.relnamespace = to_regnamespace($1) and c.relkind = 'r' and l.pid <> pg_backend_pid()
		and a.xact_start < now() - interval '1 second' order by 1 limit 5`, quote(r.live))
	if err != nil {
		return ""
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(pids) == 0 {
		return ""
	}
	return "; in use by " + strings.Join(pids, ", ")
}

// trySwap stops the writers, catches up with them, and lets the tables change places, in one transaction: all of it or
// nothing.
func (r *rebuilding) trySwap(ctx context.Context) error {
	tx, err := r.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit this is a no-op, after an error the error says more
	pairs, err := r.stopWriters(ctx, tx)
	if err != nil {
		return err
	}
	at, err := r.registeredAt(ctx, tx)
	if err != nil {
		return err
	}
	if swapped, err := r.checkCopy(at); swapped || err != nil {
		return err // nil: the try before was committed after all
	}
	if unfit, err := r.unfit(ctx, tx); err != nil {
		return err
	} else if len(unfit) > 0 {
		return fmt.Errorf("%w: something built on a column of %s", errUndressed, joinShort(unfit))
	}
	for _, p := range pairs {
		if sql, err := fitOwnSQL(ctx, tx, p); err != nil {
			return err
		} else if sql != "" && !r.fitted[sql] {
			return fmt.Errorf("%w: %s", errUndressed, sql)
		}
	}
	var began time.Time
	if err := tx.QueryRow(ctx, `select now()`).Scan(&began); err != nil {
		return err
	}
	r.tried = append(r.tried, began)
	c, err := planCarry(ctx, tx, pairs)
	if err != nil {
		return err
	}
	if len(c.before) > 0 {
		return fmt.Errorf("%w: %s", errUndressed, c.before[0])
	}
	if len(c.lost) > 0 && !r.o.Force {
		return fmt.Errorf("%w: %s", ErrNotCarried, strings.Join(c.lost, "; "))
	}
	moves, err := r.moves(ctx, tx, pairs)
	if err != nil {
		return err
	}
	if err := r.copyLate(ctx, tx, pairs); err != nil { // while the catalogues are of the tables beside them
		return err
	}
	if err := r.noneRefused(ctx, tx, pairs); err != nil {
		return err
	}
	if err := r.noErasuresDue(ctx, tx); err != nil {
		return err
	}
	if err := r.exchangeRows(ctx, tx, pairs); err != nil {
		return err
	}
	for _, p := range pairs { // where the name was taken by an owner's table, in one of the schemas
		if _, err := tx.Exec(ctx, `update `+quote(r.live, "objects")+` set table_name = $2 where object = $1 and table_name <> $2`, p.object, p.name); err != nil {
			return err
		}
	}
	script, err := r.lockTables(ctx, tx, pairs)
	if err != nil {
		return err
	}
	script = slices.Concat(script, moves, c.outgoing, c.after, []string{"commit"})
	// One message: the tables are locked for no longer than Postgres needs, however slow the way there is.
	locked := time.Now()
	if err := execAll(ctx, tx, strings.Join(script, ";\n")); err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	r.result.Locked = time.Since(locked)
	return nil
}

// stopWriters excludes the sinks for the rest of the transaction, and brings the copy to where the live tables are. Readers
// notice nothing.
func (r *rebuilding) stopWriters(ctx context.Context, tx pgx.Tx) ([]pair, error) {
	if err := execAll(ctx, tx, `select set_config('lock_timeout', '2s', true), set_config('statement_timeout', '60s', true)`); err != nil {
		return nil, err
	}
	before, err := r.pairs(ctx, tx)
	if err != nil {
		return nil, err
	}
	objects := []string{""} // the lock that every writer holds, whatever it writes
	for _, p := range before {
		if p.object != "" {
			objects = append(objects, p.object)
		}
	}
	_, err = tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('hubtail ' || $1 || '.' || o, 0)) from unnest($2::text[]) o`, r.live, objects)
	if err != nil {
		return nil, err
	}
	if err := r.catchUpTo(ctx, tx); err != nil {
		return nil, err
	}
	if err := r.keepLate(ctx); err != nil {
		return nil, err
	}
	return r.pairs(ctx, tx)
}

// catchUpTo catches up with the live tables, if they are of the same log, or with the log.
func (r *rebuilding) catchUpTo(ctx context.Context, tx pgx.Tx) error {
	if !r.sameLog {
		return nil // no sink writes to the live tables: it is refused
	}
	var high uint64
	err := tx.QueryRow(ctx, `select coalesce(max(greatest(seq, high)), 0) from `+quote(r.live, "positions")+` where stream = $1`, r.a.stream).Scan(&high)
	if err != nil || high <= r.position {
		return err
	}
	if high > r.position+swapGap {
		return fmt.Errorf("%w: the live tables are at %d, the copy at %d", errBehind, high, r.position)
	}
	return r.catchUp(ctx)
}

// lockTables returns the statements that take the tables that change places from their readers. Postgres rule: behind a lock that waits everybody waits,
// so it waits briefly, and is tried again.
func (r *rebuilding) lockTables(ctx context.Context, tx pgx.Tx, pairs []pair) ([]string, error) {
	wait := strconv.FormatInt(r.o.LockWait.Milliseconds(), 10)
	names := make([]string, 0, 2*len(pairs))
	for _, p := range pairs {
		for _, table := range []string{p.liveTable(), p.otherTable()} {
			var there bool
			if err := tx.QueryRow(ctx, `select to_regclass($1) is not null`, table).Scan(&there); err != nil {
				return nil, err
			}
			if there {
				names = append(names, table)
			}
		}
	}
	return []string{
		`select set_config('lock_timeout', '` + wait + `ms', true), set_config('statement_timeout', '` + wait + `ms', true)`,
		`lock table ` + strings.Join(names, ", ") + ` in access exclusive mode`, `select set_config('statement_timeout', '10s', true)`,
	}, nil
}

// moves returns the statements by which the tables, with their indexes, change places. Every name is taken in both schemas, so
// the incoming ones go by other names on the way.
func (r *rebuilding) moves(ctx context.Context, tx pgx.Tx, pairs []pair) ([]string, error) {
	var first, last []string
	for i, p := range pairs {
		var live, other bool
		if err := tx.QueryRow(ctx, `select to_regclass($1) is not null, to_regclass($2) is not null`, p.liveTable(), p.otherTable()).Scan(&live, &other); err != nil {
			return nil, err
		}
		out := "alter table " + p.liveTable() + " set schema " + quote(r.copy)
		switch {
		case live && !other:
			first = append(first, out)
			continue
		case !other:
			continue
		}
		rows, err := tx.Query(ctx, `select i.relname from pg_index x join pg_class i on i.oid = x.indexrelid where x.indrelid = to_regclass($1) order by 1`, p.otherTable())
		if err != nil {
			return nil, err
		}
		indexes, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		passing := "hubtail swap " + strconv.Itoa(i)
		for j, index := range indexes {
			name := passing + " " + strconv.Itoa(j)
			first = append(first, "alter index "+quote(r.copy, index)+" rename to "+quote(name))
			if p.otherName != p.name && index == p.otherName+"_pkey" { // an owner's table of the other name has such a one too
				index = cutName(p.name, maxName-len("_pkey")) + "_pkey"
			}
			last = append(last, "alter index "+quote(r.live, name)+" rename to "+quote(index))
		}
		first = append(first, "alter table "+p.otherTable()+" rename to "+quote(passing))
		if live {
			first = append(first, out)
		}
		first = append(first, "alter table "+quote(r.copy, passing)+" set schema "+quote(r.live))
		last = append(last, "alter table "+quote(r.live, passing)+" rename to "+quote(p.name))
	}
	return append(first, last...), nil
}
