package sink

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// staticColumns are the columns of a static table that the migrations made, and its key, quoted: those that the copy's table
// has. The live one may have more, of the owner's, whose values stay with the rows that stay.
type staticColumns struct{ all, key string }

func (r *rebuilding) staticColumns(ctx context.Context, db queryer, table string) (c staticColumns, err error) {
	err = db.QueryRow(ctx, `select coalesce(string_agg(quote_ident(a.attname), ', ' order by a.attnum), ''),
		coalesce(string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attnum = any(x.indkey)), '')
		from pg_attribute a left join pg_index x on x.indrelid = a.attrelid and x.indisprimary
		where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped`, quote(r.copy, table)).Scan(&c.all, &c.key)
	if err != nil {
		return c, fmt.Errorf("read the columns of %s: %w", table, err)
	}
	return c, nil
}

// replaced is the clause by which a row that comes takes the values' place of the one that is there.
func (c staticColumns) replaced() string {
	var sets []string
	for _, name := range strings.Split(c.all, ", ") {
		sets = append(sets, name+" = excluded."+name)
	}
	return " on conflict (" + c.key + ") do update set " + strings.Join(sets, ", ")
}

// insertStatic lets rows of a static table come from one schema to another. where begins with "where", and may end with what is
// to be done about a conflict.
func (r *rebuilding) insertStatic(ctx context.Context, tx pgx.Tx, table, from, to, where string, args ...any) error {
	c, err := r.staticColumns(ctx, tx, table)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into `+quote(to, table)+` (`+c.all+`) select `+c.all+` from `+quote(from, table)+` `+where, args...)
	return err
}

// linkColumnNames are the columns and keys of the tables of links, which change places whole.
var linkColumnNames = map[string]struct{ all, key []string }{
	"links": {
		[]string{"from_object", "from_id", "to_object", "to_id", "type_id", "category", "label"},
		[]string{"from_object", "from_id", "to_object", "to_id", "category", "type_id"},
	},
	"link_sets": {[]string{"from_object", "from_id", "to_object", "_seq", "_synced_at"}, []string{"from_object", "from_id", "to_object"}},
}
