package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/migrations"
)

// ErrNoCopySchema says that the role may not create the schema for a copy.
var ErrNoCopySchema = errors.New("there is no schema for the copy, and this role may not create one")

// prepareShadow makes the copy's schema empty, registers it, and makes its tables, with the columns that the live ones have.
func (r *rebuilding) prepareShadow(ctx context.Context) error {
	if err := r.ensureSchema(ctx); err != nil {
		return err
	}
	if err := r.emptySchema(ctx, CopyShadow, CopyOld); err != nil {
		return err
	}
	// Before and after: a deletion for privacy that meets a registered copy without tables takes it for dropped, and what is left of
	// a run that dies is a copy of ours. Nothing of the log is read before.
	register := func(ctx context.Context) error {
		return RegisterCopy(ctx, r.pool, r.live, Copy{Schema: r.copy, Kind: CopyShadow, Stream: r.a.stream, Objects: r.o.Objects, Phase: "preparing"})
	}
	migrate := func(ctx context.Context) error { return migrations.Apply(ctx, r.pool, r.copy) }
	for _, step := range []func(context.Context) error{register, migrate, register} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	var err error
	if r.registered, err = r.registeredAt(ctx, r.pool); err != nil {
		return err
	}
	if err := noteIdentity(ctx, r.pool, r.live, r.copy); err != nil {
		return err
	}
	if err := r.seed(ctx); err != nil || !r.careful {
		return err
	}
	if err := r.dressEmpty(ctx); err != nil {
		return err
	}
	return r.foreignFirst(ctx)
}

// seed makes the tables.
func (r *rebuilding) seed(ctx context.Context) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if err := execAll(ctx, tx, ddlTimeouts, "revoke all on schema "+quote(r.copy)+" from public",
			// Built when the links are in, with the owner's own.
			"drop index if exists "+quote(r.copy, "links_to")); err != nil {
			return err
		}
		if err := r.seedCatalogue(ctx, tx); err != nil {
			return err
		}
		if err := r.fitLinks(ctx, tx); err != nil {
			return err
		}
		return r.seedStorage(ctx, tx)
	})
}

// seedStorage lets the tables be stored as the live ones are, before there is anything in them.
func (r *rebuilding) seedStorage(ctx context.Context, tx pgx.Tx) error {
	pairs, err := r.pairs(ctx, tx)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		var live, other *uint32
		if err := tx.QueryRow(ctx, `select to_regclass($1)::oid, to_regclass($2)::oid`, p.liveTable(), p.otherTable()).Scan(&live, &other); err != nil {
			return err
		}
		found, err := statements(ctx, tx, storageSQL, pgx.NamedArgs{"live": live, "other": other, "copy": p.otherTable()})
		if err != nil {
			return err
		}
		if err := execAll(ctx, tx, found...); err != nil {
			return fmt.Errorf("store %s as %s is: %w", p.otherTable(), p.liveTable(), err)
		}
	}
	return nil
}

func (r *rebuilding) ensureSchema(ctx context.Context) error {
	var exists bool
	if err := r.pool.QueryRow(ctx, `select to_regnamespace($1) is not null`, quote(r.copy)).Scan(&exists); err != nil || exists {
		return err
	}
	_, err := r.pool.Exec(ctx, `create schema if not exists `+quote(r.copy))
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == "42501" {
		role := r.pool.Config().ConnConfig.User
		return fmt.Errorf("%w: once, as an administrator, `create schema %s authorization %s`", ErrNoCopySchema, quote(r.copy), quote(role))
	}
	return err
}

// emptySchema drops all that the copy's schema has, a copy of one of the kinds, which was left there. The schema stays, since the
// role may own it without the right to create another.
func (r *rebuilding) emptySchema(ctx context.Context, kinds ...CopyKind) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, ddlTimeouts); err != nil {
			return err
		}
		// A swap that is under way all the same, see registeredAt, ends first.
		if _, err := tx.Exec(ctx, `select from `+quote(r.live, "copies")+` where schema_name = $1 for update`, r.copy); err != nil {
			return err
		}
		if err := checkCopySchema(ctx, tx, r.live, r.copy, kinds...); err != nil {
			return err
		}
		outside, err := dependentsOutside(ctx, tx, r.copy)
		if err != nil {
			return err
		}
		if len(outside) > 0 {
			return fmt.Errorf("schema %s cannot be used again: %s depends on what an earlier rebuild left there; drop or change that first",
				r.copy, joinShort(outside))
		}
		rows, err := tx.Query(ctx, `select format('drop %s if exists %I.%I cascade', case relkind when 'v' then 'view' when 'm' then 'materialized view'
				when 'S' then 'sequence' else 'table' end, $2::text, relname)
			from pg_class where relnamespace = to_regnamespace($1) and relkind in ('r', 'p', 'v', 'm', 'S')
			union all
			select format('drop routine if exists %s cascade', oid::regprocedure) from pg_proc where pronamespace = to_regnamespace($1)`,
			quote(r.copy), r.copy)
		if err != nil {
			return err
		}
		drops, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if err := execAll(ctx, tx, drops...); err != nil {
			return fmt.Errorf("empty schema %s: %w", r.copy, err)
		}
		return ForgetCopy(ctx, tx, r.live, r.copy)
	})
}

// seedCatalogue makes the tables as the live ones are: what the log's own definitions no longer name has a column too, and
// so have the owner's own.
func (r *rebuilding) seedCatalogue(ctx context.Context, tx pgx.Tx) error {
	// The log may know nothing of what was deleted for privacy before it began, however long ago that was.
	for _, table := range []string{"objects", "properties", "erased"} {
		c, err := r.staticColumns(ctx, tx, table)
		if err == nil { // a deletion for privacy may have come between: it makes a table, and its row in objects, itself
			err = r.insertStatic(ctx, tx, table, r.live, r.copy, `where object = any($1)`+c.replaced(), r.objects)
		}
		if err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	if err := execAll(ctx, tx, `update `+quote(r.copy, "objects")+` set generation = generation + 1, definitions_seq = 0, pipelines_seq = 0, refill = false,
			reshape = false, reshaped_to = null`,
		// A change of a type that is under way on the live table is none here: the definitions come again, to empty columns.
		`update `+quote(r.copy, "properties")+` set _seq = 0, next_name = null, fill = false`); err != nil {
		return err
	}
	var lz4 bool
	if err := tx.QueryRow(ctx, `select exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any(enumvals))`).Scan(&lz4); err != nil {
		return err
	}
	for _, object := range r.objects {
		if err := r.seedTable(ctx, tx, object, lz4); err != nil {
			return fmt.Errorf("make the table of %s: %w", object, err)
		}
	}
	return nil
}

func (r *rebuilding) seedTable(ctx context.Context, tx pgx.Tx, object string, lz4 bool) error {
	var name, typeID string
	err := tx.QueryRow(ctx, `select table_name, coalesce(object_type_id, '') from `+quote(r.copy, "objects")+` where object = $1`, object).Scan(&name, &typeID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // the log's definitions make it
	}
	if err != nil {
		return err
	}
	columns, err := r.columnsSQL(ctx, tx, object, name, lz4)
	if err != nil {
		return err
	}
	closing := r.a.closeTableSQL(ctx, tx, name)
	return execAll(ctx, tx, "drop table if exists "+quote(r.copy, name), createTableSQL(r.copy, name, object, typeID, lz4), closing, columns)
}

// columnsSQL returns the statement that adds a live table's columns to its copy: those of properties, as the catalogue has
// them, and the owner's.
func (r *rebuilding) columnsSQL(ctx context.Context, tx pgx.Tx, object, name string, lz4 bool) (string, error) {
	if _, err := tx.Exec(ctx, carryPlain); err != nil {
		return "", err
	}
	rows, err := tx.Query(ctx, `select coalesce(a.attnum, 32767)::integer, format('add column %I %s%s', p.column_name, p.column_type, case when $3 and p.column_type = 'text' then ' compression lz4' else '' end)
		from `+quote(r.live, "properties")+` p
		left join pg_attribute a on a.attrelid = to_regclass($2) and a.attname = p.column_name and a.attnum > 0 and not a.attisdropped
		where p.object = $1 and p.column_name is not null and p.column_type is not null and (a.attnum is not null or to_regclass($2) is null)
		order by a.attnum nulls last, p.name`, object, quote(r.live, name), lz4)
	if err != nil {
		return "", err
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c ownColumn, err error) {
		err = row.Scan(&c.number, &c.clause)
		return c, err
	})
	if err != nil {
		return "", err
	}
	own, err := ownColumns(ctx, tx, r.live, object, name)
	if err != nil || len(own)+len(columns) == 0 {
		return "", err
	}
	// In the order of the live table: whoever has prepared a "select *" must not find other columns after the swap.
	columns = append(columns, own...)
	slices.SortStableFunc(columns, func(x, y ownColumn) int { return cmp.Compare(x.number, y.number) })
	clauses := make([]string, len(columns))
	for i, c := range columns {
		clauses[i] = c.clause
	}
	return "alter table " + quote(r.copy, name) + " " + strings.Join(clauses, ", "), nil
}
