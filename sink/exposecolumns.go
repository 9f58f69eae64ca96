package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// shownColumns are those of the sink's columns that Exposure.System shows. What was purged is never shown.
var shownColumns = []string{"_created_at", "_updated_at", "_archived_at", "_merged_into", "_archived", "_seq", "_synced_at"}

// baseColumn is a column of the table below a view, and the property it holds, "" if none.
type baseColumn struct {
	exposedColumn
	property string
}

// exposedColumns returns the columns of a view: the key, the properties that are asked for, and what of the sink's own is.
// Columns that the owner of the tables added are not shown unless they are named. An unknown name is an error only when
// the view is made: later, a column may be gone.
func exposedColumns(ctx context.Context, tx pgx.Tx, schema string, e *exposed) ([]exposedColumn, error) {
	all, err := baseColumns(ctx, tx, schema, e)
	if err != nil {
		return nil, err
	}
	static := staticTables[e.table]
	var columns []exposedColumn
	for _, c := range all {
		system := strings.HasPrefix(c.name, "_") && c.property == ""
		switch {
		case c.name == "id" && !static,
			static && !system, // they have no properties
			system && e.System && (static || slices.Contains(shownColumns, c.name)),
			c.name == "_archived" && e.Archived && !static,
			c.name == "_extra" && e.Extra && !static,
			len(e.Columns) == 0 && c.property != "",
			slices.Contains(e.Columns, c.name),
			c.property != "" && slices.Contains(e.Columns, c.property):
			columns = append(columns, c.exposedColumn)
		}
	}
	// The key first, then properties, then the sink's own.
	slices.SortStableFunc(columns, func(a, b exposedColumn) int { return columnRank(a.name) - columnRank(b.name) })
	return columns, nil
}

func columnRank(name string) int {
	switch {
	case name == "id":
		return 0
	case strings.HasPrefix(name, "_"):
		return 2
	}
	return 1
}

func baseColumns(ctx context.Context, tx pgx.Tx, schema string, e *exposed) ([]baseColumn, error) {
	rows, err := tx.Query(ctx, `select a.attname, format_type(a.atttypid, a.atttypmod), coalesce(p.name, '')
		from pg_attribute a left join `+quote(schema, "properties")+` p on p.object = $2 and p.column_name = a.attname
		where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped order by a.attnum`, quote(schema, e.table), e.Object)
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", e.Object, err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c baseColumn, err error) {
		return c, row.Scan(&c.name, &c.typ, &c.property)
	})
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", e.Object, err)
	}
	return columns, nil
}

// checkColumns refuses names that the table does not have.
func checkColumns(ctx context.Context, tx pgx.Tx, schema string, e *exposed) error {
	if len(e.Columns) == 0 {
		return nil
	}
	if staticTables[e.table] {
		return fmt.Errorf("%w: columns can be chosen for object types only", ErrExposure)
	}
	all, err := baseColumns(ctx, tx, schema, e)
	if err != nil {
		return err
	}
	for _, name := range e.Columns {
		if !slices.ContainsFunc(all, func(c baseColumn) bool { return c.name == name || c.property == name && name != "" }) {
			return fmt.Errorf("%w: it has no property %q", ErrExposure, name)
		}
	}
	return nil
}
