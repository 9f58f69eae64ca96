package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// keptType is a type that something of the owner's holds a live column at.
type keptType struct {
	typ    columnType
	holder string
}

// wanted returns the type that a property's column should have: that of its definition, or in a copy the one that the live
// column is held at, so that what holds it fits the copy's column too; then with a note that says so.
func (s *shape) wanted(p *shapedProperty) (t columnType, note string) {
	t = columnTypeOf(p.typ)
	if k, is := s.kept[p.name]; is && k.typ != t {
		column := p.column
		if column == "" {
			column = p.name
		}
		return k.typ, heldNote(column, k.typ, k.holder)
	}
	return t, ""
}

func heldNote(column string, t columnType, holder string) string {
	return fmt.Sprintf("%s stays %s, because something depends on it (%s): values that do not fit are in _extra; drop that and restart the sink",
		quote(column), t, holder)
}

// heldColumnsSQL returns what else of the database hangs on a column of the table @table, by column: views, indexes, constraints,
// defaults, generated columns, policies, triggers, statistics; and rights on the column alone.
const heldColumnsSQL = `select a.attname, min(coalesce(
		(select 'view ' || r.ev_class::regclass::text from pg_rewrite r where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid),
		pg_describe_object(d.classid, d.objid, d.objsubid))) as holder
	from pg_attribute a join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid and d.refobjsubid = a.attnum
	where a.attrelid = to_regclass(@table) and a.attnum > 0 and not a.attisdropped group by 1
	union all
	select attname, case when attnotnull then 'not null' else 'a right on the column' end from pg_attribute
	where attrelid = to_regclass(@table) and attnum > 0 and not attisdropped and (attnotnull or attacl is not null)`

// readKept returns what the live columns of an object type are held at, by property.
func readKept(ctx context.Context, tx pgx.Tx, live, object string) (map[string]keptType, error) {
	var table string
	err := tx.QueryRow(ctx, `select table_name from `+quote(live, "objects")+` where object = $1`, object).Scan(&table)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what holds columns of %s: %w", object, err)
	}
	rows, err := tx.Query(ctx, `select p.name, a.atttypid::bigint, min(h.holder) from (`+heldColumnsSQL+`) h
		join `+quote(live, "properties")+` p on p.object = @object and p.column_name = h.attname
		join pg_attribute a on a.attrelid = to_regclass(@table) and a.attname = h.attname and a.attnum > 0 group by 1, 2`,
		pgx.NamedArgs{"table": quote(live, table), "object": object})
	if err != nil {
		return nil, fmt.Errorf("read what holds columns of %s: %w", object, err)
	}
	kept := make(map[string]keptType)
	var name, holder string
	var oid int64
	_, err = pgx.ForEachRow(rows, []any{&name, &oid, &holder}, func() error {
		if t := columnTypeByOID(uint32(oid)); t != 0 {
			kept[name] = keptType{t, holder}
		}
		return nil
	})
	return kept, err
}
