package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// CopyKind says why a copy was made.
type CopyKind string

// The kinds of copies.
const (
	CopyShadow CopyKind = "shadow" // tables that a rebuild is filling
	CopyOld    CopyKind = "old"    // tables that a rebuild replaced, kept for the way back
	CopyAsOf   CopyKind = "as_of"  // tables as they were at some time
)

// Copy is a schema, other than the live one, that was filled from the same log. It is registered in the live schema before
// its first row is written, so that a deletion for privacy reaches it.
type Copy struct {
	Schema    string    `json:"schema"`
	Kind      CopyKind  `json:"kind"`
	Stream    string    `json:"stream"`
	Objects   []string  `json:"objects,omitempty"`  // nil for all
	Position  uint64    `json:"position,omitempty"` // every message up to here is in its tables
	AsOfSeq   uint64    `json:"as_of_seq,omitempty"`
	AsOf      time.Time `json:"as_of,omitzero"`
	Phase     string    `json:"phase,omitempty"` // what is being done to it; "" when it is complete
	Done      int64     `json:"done,omitempty"`  // messages of the phase
	Total     int64     `json:"total,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// ErrCopyTaken says that a schema is registered as a copy of another kind, or holds what is no copy of the live tables.
var ErrCopyTaken = errors.New("the schema is taken")

// RegisterCopy notes a copy in the live schema. It must come before the log is read for the copy: what is deleted for
// privacy later is then deleted there too, and what was deleted before is no longer in the log. A copy of the same name and
// kind is replaced; one of another kind is ErrCopyTaken.
func RegisterCopy(ctx context.Context, pool *pgxpool.Pool, live string, c Copy) error {
	tag, err := pool.Exec(ctx, `insert into `+quote(live, "copies")+` as c
		(schema_name, kind, stream, objects, position, as_of_seq, as_of_at, phase, total)
		values ($1, $2, $3, $4, $5, nullif($6::bigint, 0), $7, $8, $9)
		on conflict (schema_name) do update set stream = excluded.stream, objects = excluded.objects, position = excluded.position,
		as_of_seq = excluded.as_of_seq, as_of_at = excluded.as_of_at, phase = excluded.phase, done = 0, total = excluded.total,
		created_at = now(), updated_at = now() where c.kind = excluded.kind`,
		c.Schema, string(c.Kind), c.Stream, c.Objects, int64(c.Position), int64(c.AsOfSeq), timeOrNull(c.AsOf), c.Phase, c.Total)
	if err != nil {
		return fmt.Errorf("register schema %s as a copy of %s: %w", c.Schema, live, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("register schema %s as a copy of %s: %w", c.Schema, live, ErrCopyTaken)
	}
	return nil
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// NoteCopy notes how far a copy is: what is being done to it ("" when it is complete), how much of that, and its position.
func NoteCopy(ctx context.Context, pool *pgxpool.Pool, live, schema, phase string, done, total int64, position uint64) error {
	_, err := pool.Exec(ctx, `update `+quote(live, "copies")+` set phase = $2, done = $3, total = $4,
		position = greatest(position, $5), updated_at = now() where schema_name = $1`, schema, phase, done, total, int64(position))
	if err != nil {
		return fmt.Errorf("note the progress of copy %s: %w", schema, err)
	}
	return nil
}

// Copies returns the copies of a live schema, by name.
func Copies(ctx context.Context, pool *pgxpool.Pool, live string) ([]Copy, error) {
	rows, err := pool.Query(ctx, `select schema_name, kind, stream, objects, position, coalesce(as_of_seq, 0),
		coalesce(as_of_at, '0001-01-01'), phase, done, total, created_at, updated_at from `+quote(live, "copies")+` order by 1`)
	if err != nil {
		return nil, fmt.Errorf("read the copies of %s: %w", live, err)
	}
	copies, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Copy, err error) {
		err = row.Scan(&c.Schema, &c.Kind, &c.Stream, &c.Objects, &c.Position, &c.AsOfSeq, &c.AsOf, &c.Phase, &c.Done, &c.Total,
			&c.CreatedAt, &c.UpdatedAt)
		if c.AsOf.Year() <= 1 {
			c.AsOf = time.Time{}
		}
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the copies of %s: %w", live, err)
	}
	return copies, nil
}

// FindCopy returns the copy of a name; false if there is none.
func FindCopy(ctx context.Context, pool *pgxpool.Pool, live, schema string) (Copy, bool, error) {
	copies, err := Copies(ctx, pool, live)
	for _, c := range copies {
		if c.Schema == schema {
			return c, true, err
		}
	}
	return Copy{}, false, err
}

// ForgetCopy takes a copy off the list. Deletions for privacy no longer reach the schema: it must be gone, or empty.
func ForgetCopy(ctx context.Context, db execer, live, schema string) error {
	if _, err := db.Exec(ctx, `delete from `+quote(live, "copies")+` where schema_name = $1`, schema); err != nil {
		return fmt.Errorf("forget copy %s of %s: %w", schema, live, err)
	}
	return nil
}

// DropCopy drops a copy's schema with everything in it, and takes it off the list, all or nothing. It fails, and says what is in
// the way, if something outside the schema depends on its tables, and with ErrCopyTaken if what is there is no copy of ours.
func DropCopy(ctx context.Context, pool *pgxpool.Pool, live, schema string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, ddlTimeouts); err != nil {
			return err
		}
		if err := checkCopySchema(ctx, tx, live, schema, allCopies...); err != nil {
			return err
		}
		outside, err := dependentsOutside(ctx, tx, schema)
		if err != nil {
			return err
		}
		if len(outside) > 0 {
			return fmt.Errorf("schema %s is not dropped: %s would go with it; drop or change that first", schema, joinShort(outside))
		}
		if _, err := tx.Exec(ctx, `drop schema if exists `+quote(schema)+` cascade`); err != nil {
			return fmt.Errorf("drop schema %s: %w", schema, err)
		}
		return ForgetCopy(ctx, tx, live, schema)
	})
}

// execer is a pool or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// dependentsOutside describes what, outside a schema, would be dropped with its tables: views and functions of their owners.
func dependentsOutside(ctx context.Context, db queryer, schema string) ([]string, error) {
	rows, err := db.Query(ctx, `with inside as (
		select 'pg_class'::regclass as class, oid from pg_class where relnamespace = to_regnamespace($1)
		union all select 'pg_type'::regclass, oid from pg_type where typnamespace = to_regnamespace($1))
	select distinct coalesce(
		(select format('%s %I.%I', case v.relkind when 'm' then 'materialized view' else 'view' end, n.nspname, v.relname)
		 from pg_rewrite r join pg_class v on v.oid = r.ev_class join pg_namespace n on n.oid = v.relnamespace
		 where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid),
		pg_describe_object(d.classid, d.objid, 0))
	from pg_depend d join inside i on i.class = d.refclassid and i.oid = d.refobjid
	where d.deptype in ('n', 'a') and not exists (select from inside x where x.class = d.classid and x.oid = d.objid)
	and d.classid in ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass, 'pg_constraint'::regclass)
	and not exists (select from pg_rewrite r join pg_class v on v.oid = r.ev_class
		where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and v.relnamespace = to_regnamespace($1))
	and not exists (select from pg_constraint k join pg_class t on t.oid = k.conrelid
		where d.classid = 'pg_constraint'::regclass and k.oid = d.objid and t.relnamespace = to_regnamespace($1))
	and not exists (select from pg_proc f where d.classid = 'pg_proc'::regclass and f.oid = d.objid and f.pronamespace = to_regnamespace($1))
	order by 1`, quote(schema))
	if err != nil {
		return nil, fmt.Errorf("look for what depends on schema %s: %w", schema, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for what depends on schema %s: %w", schema, err)
	}
	return names, nil
}

// joinShort joins names for an error, the first few of many.
func joinShort(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
