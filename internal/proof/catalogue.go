package proof

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrNoTable says that the sink has made no table of an object type yet.
var ErrNoTable = errors.New("there is no table")

// catalogue returns an object type's table and the column of each of its properties.
func catalogue(ctx context.Context, tx pgx.Tx, schema, object string) (table string, columns map[string]string, err error) {
	from := func(name string) string { return pgx.Identifier{schema, name}.Sanitize() }
	err = tx.QueryRow(ctx, "select table_name from "+from("objects")+" where object = $1", object).Scan(&table)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil, fmt.Errorf("%w for %s", ErrNoTable, object)
	}
	if err != nil {
		return "", nil, err
	}
	rows, err := tx.Query(ctx, "select name, column_name from "+from("properties")+" where object = $1 and column_name is not null", object)
	if err != nil {
		return "", nil, err
	}
	columns = map[string]string{}
	var name, column string
	_, err = pgx.ForEachRow(rows, []any{&name, &column}, func() error {
		columns[name] = column
		return nil
	})
	return table, columns, err
}
