package proof

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Rows are some rows of an object type's table, ascending by id, as one transaction sees them.
type Rows struct {
	t      *table
	object string
}

// OpenRows reads the rows with the given ids. Nothing else may use the transaction until Close.
func OpenRows(ctx context.Context, tx pgx.Tx, schema, object string, ids []int64) (*Rows, error) {
	t, err := openTable(ctx, tx, schema, object, "where id = any($1)", ids)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", object, err)
	}
	return &Rows{t, object}, nil
}

// Next goes to the next row, and says whether there is one.
func (r *Rows) Next() bool { return r.t.next() }

// ID returns the row's record id.
func (r *Rows) ID() int64 { return r.t.id }

// Seq returns the stream sequence that the row says it is from.
func (r *Rows) Seq() int64 {
	n, _ := strconv.ParseInt(r.t.text("_seq"), 10, 64)
	return n
}

// Purged reports whether the row is the tombstone of a record that was deleted for privacy.
func (r *Rows) Purged() bool { return r.t.text("_purged") == "t" }

// Differs says how the row differs from the record, "" if it does not.
func (r *Rows) Differs(want Record) string { return r.t.differs(want) }

// Close ends the reading and returns what went wrong in it.
func (r *Rows) Close() error {
	r.t.rows.Close()
	if err := r.t.rows.Err(); err != nil {
		return fmt.Errorf("read rows of %s: %w", r.object, err)
	}
	return nil
}
