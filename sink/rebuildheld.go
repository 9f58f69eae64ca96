package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Something of the owner's that is built on a column holds its type (see readHolders). A copy's column has the type of the live
// one then, whatever the log's definitions say, so that what is built on it fits the table that is swapped in.

// knownOIDs are the types that columns of properties have.
var knownOIDs = []uint32{oidText, oidNumeric, oidBool, oidDate, oidTimestamptz}

// unfit returns the object types with a live column that something holds at another type than the copy's column has.
func (r *rebuilding) unfit(ctx context.Context, db queryer) ([]string, error) {
	rows, err := db.Query(ctx, `select distinct p.object from `+quote(r.live, "properties")+` p join `+quote(r.live, "objects")+` o using (object)
		join `+quote(r.copy, "properties")+` q on q.object = p.object and q.name = p.name join `+quote(r.copy, "objects")+` c on c.object = p.object
		join pg_attribute a on a.attrelid = to_regclass(quote_ident($1) || '.' || quote_ident(o.table_name)) and a.attname = p.column_name and a.attnum > 0 and not a.attisdropped
		join pg_attribute b on b.attrelid = to_regclass(quote_ident($2) || '.' || quote_ident(c.table_name)) and b.attname = q.column_name and b.attnum > 0 and not b.attisdropped
		where a.atttypid <> b.atttypid and ($3 or p.object = any($4)) and a.atttypid = any($5)
		and (a.attnotnull or a.attacl is not null or exists (select from pg_depend d where d.refclassid = 'pg_class'::regclass
			and d.refobjid = a.attrelid and d.refobjsubid = a.attnum)) order by 1`,
		r.live, r.copy, r.whole(), r.objects, knownOIDs)
	if err != nil {
		return nil, fmt.Errorf("look which columns are held at a type: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// fitHeld gives the copy's columns the types that the live ones are held at by now.
func (r *rebuilding) fitHeld(ctx context.Context) error {
	objects, err := r.unfit(ctx, r.pool)
	if err != nil || len(objects) == 0 {
		return err
	}
	for _, object := range objects {
		if _, err := r.pool.Exec(ctx, `update `+quote(r.copy, "objects")+` set reshape = true where object = $1`, object); err != nil {
			return fmt.Errorf("look at the columns of %s again: %w", object, err)
		}
		if err := r.a.reshape(ctx, object); err != nil {
			return err
		}
	}
	if !r.foreign {
		if err := r.other.refill(ctx, r.a); err != nil {
			return err
		}
	}
	if objects, err = r.unfit(ctx, r.pool); err == nil && len(objects) > 0 {
		return fmt.Errorf("what is built on columns of %s changed while the tables were made; nothing was swapped: run it again", joinShort(objects))
	}
	return err
}
