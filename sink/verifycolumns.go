package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// verifyTable looks whether the object type's table is there, and whether its columns still have types that are written to.
// A table that was dropped is made again, if asked, so that its rows can be.
func (v *tableVerifier) verifyTable(ctx context.Context, object string) error {
	t, err := readTable(ctx, v.a.pool, v.a.schema, object)
	if err != nil || t == nil {
		return err
	}
	there, err := v.a.isThere(ctx, t)
	switch {
	case err != nil:
		return err
	case !there && v.o.Repair:
		return v.remakeTable(ctx, object)
	case !there:
		return nil // every row is missing
	}
	return v.verifyColumnTypes(ctx, t)
}

// isThere reports whether a table of the catalogue really exists.
func (a *Applier) isThere(ctx context.Context, t *table) (there bool, err error) {
	err = a.pool.QueryRow(ctx, `select to_regclass($1) is not null`, quote(a.schema, t.name)).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look for table %s: %w", t.name, err)
	}
	return there, nil
}

// remakeTable creates a table that was dropped, with the columns of the newest definitions in the log. It is empty.
func (v *tableVerifier) remakeTable(ctx context.Context, object string) error {
	if _, err := v.a.createTable(ctx, object); err != nil {
		return err
	}
	_, err := v.a.pool.Exec(ctx, `update `+quote(v.a.schema, "objects")+` set definitions_seq = 0, generation = generation + 1 where object = $1`, object)
	if err != nil {
		return fmt.Errorf("prepare definitions to be applied again: %w", err)
	}
	v.a.catalogue.forget(object)
	last, err := v.lastMessages(ctx, []string{schemas.ControlSubject(schemas.KindProperties, v.a.portalName(), object)})
	if err != nil || len(last) == 0 {
		return err
	}
	if err := v.a.Apply(ctx, last, 0); err != nil {
		return fmt.Errorf("make the columns again: %w", err)
	}
	return nil
}

// verifyColumnTypes looks for columns that somebody gave a type that the sink does not write, and that have values: those are
// what they were then, for ever.
func (v *tableVerifier) verifyColumnTypes(ctx context.Context, t *table) error {
	rows, err := v.a.pool.Query(ctx, `select p.name, p.column_name, coalesce(p.column_type, 'text'), format_type(c.atttypid, c.atttypmod), c.atttypid::bigint
from `+quote(v.a.schema, "properties")+` p join pg_attribute c on c.attrelid = to_regclass($2) and c.attname = p.column_name
and c.attnum > 0 and not c.attisdropped where p.object = $1 order by 1`, t.object, quote(v.a.schema, t.name))
	if err != nil {
		return fmt.Errorf("read column types of %s: %w", t.object, err)
	}
	type altered struct{ property, column, want, have string }
	var all []altered
	var c altered
	var oid int64
	if _, err := pgx.ForEachRow(rows, []any{&c.property, &c.column, &c.want, &c.have, &oid}, func() error {
		if columnTypeByOID(uint32(oid)) == 0 {
			all = append(all, c)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read column types of %s: %w", t.object, err)
	}
	for _, c := range all {
		table, column := quote(v.a.schema, t.name), quote(c.column)
		var filled bool
		if err := v.a.patient().QueryRow(ctx, `select exists (select from `+table+` where `+column+` is not null)`).Scan(&filled); err != nil {
			return fmt.Errorf("read column %s of %s: %w", c.column, t.object, err)
		}
		if !filled {
			continue // all values are in _extra
		}
		using := "null"
		if c.want == "text" {
			using = column + "::text"
		}
		v.report.Add(difference.Definition, c.property, fmt.Sprintf("column type was altered: it is %s, which is not written to, so its values are old ones; "+
			"give it its type back, then run `hubtail verify --repair`: alter table %s alter column %s type %s using %s", c.have, table, column, c.want, using))
	}
	return nil
}

// isNoTable recognises a table that was dropped.
func isNoTable(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "42P01"
}
