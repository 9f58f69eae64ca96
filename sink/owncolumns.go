package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ownColumn is a column that the owner added to a table of records.
type ownColumn struct {
	number            int
	name, typ, clause string // typ is whatever makes two columns of one name differ: a collation and an expression, too
	generated         bool
	lost              string // why it does not carry over as it is
}

// ownColumns returns the columns of a table that no property has, in their order.
func ownColumns(ctx context.Context, tx pgx.Tx, schema, object, name string) ([]ownColumn, error) {
	rows, err := tx.Query(ctx, `select a.attnum::integer, a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attgenerated, case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end), format('add column %I %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
			case when a.attcollation <> t.typcollation then ' collate ' || a.attcollation::regcollation::text else '' end,
			case when a.attgenerated = 's' then ' generated always as (' || pg_get_expr(d.adbin, d.adrelid) || ') stored'
			     when s.own then '' when d.oid is not null then ' default ' || pg_get_expr(d.adbin, d.adrelid) else '' end,
			case when a.attnotnull and d.oid is not null and not s.own then ' not null' else '' end),
		a.attgenerated <> '', case when s.own then format('column %I of %s: its sequence, and the rule that it is never null', a.attname, $2::text)
			when a.attnotnull and d.oid is null then format('column %I of %s: the rule that it is never null, since it has no default, and triggers do not fire for a rebuild', a.attname, $2::text)
			else '' end
		from pg_attribute a join pg_type t on t.oid = a.atttypid
		left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum,
		lateral (select a.attidentity <> '' or coalesce(pg_get_expr(d.adbin, d.adrelid) like 'nextval(%', false) as own) s
		where a.attrelid = to_regclass($2) and a.attnum > 0 and not a.attisdropped and a.attname <> all($3)
		and not exists (select from `+quote(schema, "properties")+` p where p.object = $1 and a.attname in (p.column_name, p.next_name))
		order by a.attnum`, object, quote(schema, name), reservedNames(object, name))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c ownColumn, err error) {
		err = row.Scan(&c.number, &c.name, &c.typ, &c.clause, &c.generated, &c.lost)
		return c, err
	})
}

// reservedNames returns the columns that a table of records, or else one of links, has from the beginning.
func reservedNames(object, table string) []string {
	if object == "" {
		return linkColumnNames[table].all
	}
	names := make([]string, 0, len(reservedColumns))
	for name := range reservedColumns {
		names = append(names, name)
	}
	return names
}

// fitOwnSQL returns the clauses by which a pair's other table gets the owner's columns that the live one has, and no others: the
// owner may add and drop them while the tables are made, or before old ones come back.
func fitOwnSQL(ctx context.Context, tx pgx.Tx, p pair) (string, error) {
	if is, err := there(ctx, tx, p.liveTable(), p.otherTable()); err != nil || !is {
		return "", err
	}
	if _, err := tx.Exec(ctx, carryPlain); err != nil {
		return "", err
	}
	want, err := ownColumns(ctx, tx, p.live, p.object, p.name)
	if err != nil {
		return "", err
	}
	has, err := ownColumns(ctx, tx, p.other, p.object, p.otherName)
	if err != nil {
		return "", err
	}
	same := func(columns []ownColumn, c ownColumn) bool {
		return slices.ContainsFunc(columns, func(o ownColumn) bool { return o.name == c.name && o.typ == c.typ })
	}
	// What goes may be what a generated column is made of: those are all made again then.
	stale := slices.ContainsFunc(has, func(c ownColumn) bool { return !same(want, c) })
	var clauses []string
	for _, c := range slices.Backward(has) { // what is generated comes after what it is made of
		if !same(want, c) || stale && c.generated {
			clauses = append(clauses, "drop column "+quote(c.name))
		}
	}
	for _, c := range want {
		if !same(has, c) || stale && c.generated {
			clauses = append(clauses, c.clause)
		}
	}
	if len(clauses) == 0 {
		return "", nil
	}
	return "alter table " + p.otherTable() + " " + strings.Join(clauses, ", "), nil
}

// fitLinks adds the owner's columns to the tables of links.
func (r *rebuilding) fitLinks(ctx context.Context, tx pgx.Tx) error {
	if !r.whole() {
		return nil
	}
	for name := range linkColumnNames {
		sql, err := fitOwnSQL(ctx, tx, pair{live: r.live, other: r.copy, name: name, otherName: name})
		if err != nil {
			return err
		}
		if err := execAll(ctx, tx, sql); err != nil {
			return fmt.Errorf("add the owner's columns to %s: %w", name, err)
		}
	}
	return nil
}
