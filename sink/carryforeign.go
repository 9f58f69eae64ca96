package sink

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// unchecked begins the comment of a foreign key that a swap made again and whose rows are not checked yet. It is in the database
// with the key, so that whoever comes next finishes it.
const unchecked = "hubtail: to be validated after a rebuild"

// foreignSQL returns foreign keys of the table, and of others on it, without a check of the rows. In the order of o: the
// others' are dropped first. What the incoming table has of its own by then stays.
const foreignSQL = `
with keys as (
 select c.*, c.convalidated or coalesce(starts_with(note, @unchecked::text), false) as checked,
  case when starts_with(note, @unchecked::text) then nullif(substr(note, length(@unchecked::text) + 2), '') else note end as note,
  case when c.conrelid = any(@all::oid[]) then @name::text else c.conrelid::regclass::text end as tab,
  c.conrelid = @live::oid and exists (select from pg_constraint n where n.conrelid = @other::oid and n.conname = c.conname) as present
 from pg_constraint c, lateral (select obj_description(c.oid, 'pg_constraint') as note) d
 where c.contype = 'f' and (c.conrelid = @live::oid or c.confrelid = @live::oid and c.conrelid <> all(@all::oid[]))
)
select o, s from (
select 0 as o, format('alter table %s drop constraint %I', conrelid::regclass, conname) as s from keys where conrelid <> all(@all::oid[])
union all
select 1, format('alter table %s add constraint %I %s%s', tab, conname, pg_get_constraintdef(oid), case when convalidated then ' not valid' else '' end)
 from keys where not present
union all
select 2, format('comment on constraint %I on %s is %L', conname, tab,
  nullif(concat_ws(E'\n', case when checked and not present then @unchecked::text end, note), ''))
 from keys where note is not null or checked and not present
) as statements order by o, s`

// validateForeignKeys checks the foreign keys of the live tables, and of others on them, that a swap left to be checked. Postgres
// rule: meanwhile rows are read and written. What does not hold stays as it is, and is returned. Where there is a limit of time for
// each key the connection is one of its own: a sink's few are for its rows.
func validateForeignKeys(ctx context.Context, pool *pgxpool.Pool, live string, limit time.Duration) (broken []string, err error) {
	rows, err := pool.Query(ctx, `select format('foreign key %I of %I.%I', c.conname, n.nspname, t.relname), format('alter table %I.%I validate constraint %I', n.nspname, t.relname, c.conname),
		format('comment on constraint %I on %I.%I is %L', c.conname, n.nspname, t.relname, nullif(substr(obj_description(c.oid, 'pg_constraint'), length($2) + 2), ''))
		from pg_constraint c join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace join pg_class f on f.oid = c.confrelid
		where c.contype = 'f' and to_regnamespace($1) in (t.relnamespace, f.relnamespace) and starts_with(obj_description(c.oid, 'pg_constraint'), $2)
		and pg_has_role(t.relowner, 'usage') order by 1`, quote(live), unchecked)
	if err != nil {
		return nil, fmt.Errorf("look for foreign keys to check: %w", err)
	}
	var keys [][3]string
	var k [3]string
	if _, err = pgx.ForEachRow(rows, []any{&k[0], &k[1], &k[2]}, func() error { keys = append(keys, k); return nil }); err != nil {
		return nil, fmt.Errorf("look for foreign keys to check: %w", err)
	}
	var db interface {
		Begin(context.Context) (pgx.Tx, error)
	} = pool
	if limit > 0 && len(keys) > 0 {
		conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
		if err != nil {
			return nil, fmt.Errorf("connect to check foreign keys: %w", err)
		}
		defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is under way
		db = conn
	}
	for _, k := range keys {
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			return execAll(ctx, tx, fmt.Sprintf(`select set_config('statement_timeout', '%d', true), set_config('lock_timeout', '10s', true)`, limit.Milliseconds()), k[1], k[2])
		})
		switch {
		case err != nil && classify(err) == faultData:
			broken = append(broken, k[0])
		case err != nil:
			return broken, fmt.Errorf("check %s: %w", k[0], err)
		}
	}
	return broken, nil
}

// foreignLimit is how long a sink checks one foreign key at its start: changes of columns wait meanwhile. One that takes longer is
// checked by the next rebuild.
const foreignLimit = time.Minute

// finishForeignKeys does what a rebuild that was killed after its swap left to do.
func finishForeignKeys(ctx context.Context, pool *pgxpool.Pool, live string, limit time.Duration, log *slog.Logger) error {
	broken, err := validateForeignKeys(ctx, pool, live, limit)
	if len(broken) > 0 {
		log.WarnContext(ctx, "rows refer to records that are not there: foreign keys stay not valid", "keys", joinShort(broken))
	}
	return err
}

// foreignKey is a foreign key between the new tables, or between one of them and another table.
type foreignKey struct {
	name, table, to   string // quoted
	live              string // the live table in whose place to is, if that is a table of records; else ""
	own               bool   // of a table that changes places
	columns, toColumn []string
}

// foreignKeys returns the foreign keys of the new tables, and of others on them, as they will be after the swap.
func (r *rebuilding) foreignKeys(ctx context.Context, tx pgx.Tx, pairs []pair) ([]foreignKey, error) {
	var live, other []string
	for _, p := range pairs {
		live, other = append(live, p.liveTable()), append(other, p.otherTable())
	}
	rows, err := tx.Query(ctx, `with pairs as (select to_regclass(l)::oid as l, to_regclass(o)::oid as o from unnest($1::text[], $2::text[]) as p(l, o))
		select quote_ident(c.conname), coalesce(p.o, c.conrelid)::regclass::text, coalesce(q.o, c.confrelid)::regclass::text,
		case when exists (select from pg_attribute a where a.attrelid = q.l and a.attname = '_seq') then q.l::regclass::text else '' end, p.l is not null,
		array(select quote_ident(a.attname) from unnest(c.conkey) with ordinality k(n, i) join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by i),
		array(select quote_ident(a.attname) from unnest(c.confkey) with ordinality k(n, i) join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by i)
		from pg_constraint c left join pairs p on p.l = c.conrelid left join pairs q on q.l = c.confrelid
		where c.contype = 'f' and (c.convalidated or starts_with(obj_description(c.oid, 'pg_constraint'), $3))
		and (p.l is not null or q.l is not null) and (p.l is null or p.o is not null) and (q.l is null or q.o is not null) order by 1, 2`, live, other, unchecked)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (k foreignKey, err error) {
		err = row.Scan(&k.name, &k.table, &k.to, &k.live, &k.own, &k.columns, &k.toColumn)
		return k, err
	})
}

// checkForeign refuses tables that a foreign key would not hold for.
func (r *rebuilding) checkForeign(ctx context.Context) error {
	return pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := execAll(ctx, tx, `select set_config('statement_timeout', '0', true)`); err != nil {
			return err
		}
		pairs, err := r.pairs(ctx, tx)
		if err != nil {
			return err
		}
		keys, err := r.foreignKeys(ctx, tx, pairs)
		if err != nil {
			return fmt.Errorf("read the foreign keys: %w", err)
		}
		for _, k := range keys {
			lacking, err := r.lacking(ctx, tx, k)
			switch {
			case err != nil:
				return fmt.Errorf("check foreign key %s of %s: %w", k.name, k.table, err)
			case lacking == 0:
			case k.own && r.fills && !r.careful:
				return fmt.Errorf("%w: foreign key %s of %s", errRefusedRows, k.name, k.table)
			case !r.o.Force:
				return fmt.Errorf("%d rows of %s refer to records that %s lacks (foreign key %s), so nothing was swapped: see to these rows, or go on with --force",
					lacking, k.table, k.to, k.name)
			}
		}
		return nil
	})
}

// lacking counts the rows that refer to nothing. What only the live table has yet is on its way.
func (r *rebuilding) lacking(ctx context.Context, tx pgx.Tx, k foreignKey) (n int64, err error) {
	var there, inNew, inLive []string
	for i, c := range k.columns {
		there = append(there, "c."+c+" is not null")
		inNew, inLive = append(inNew, "p."+k.toColumn[i]+" = c."+c), append(inLive, "l."+k.toColumn[i]+" = c."+c)
	}
	sql := fmt.Sprintf(`select count(*) from %s c where %s and not exists (select from %s p where %s)`,
		k.table, strings.Join(there, " and "), k.to, strings.Join(inNew, " and "))
	if k.live != "" && r.sameLog {
		sql += fmt.Sprintf(` and not exists (select from %s l where %s and l._seq > %d)`, k.live, strings.Join(inLive, " and "), r.position)
	}
	err = tx.QueryRow(ctx, sql).Scan(&n)
	return n, err
}
