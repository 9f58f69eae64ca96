package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// errErasuresDue says that the copy still has values that were deleted for privacy in the live tables.
var errErasuresDue = errors.New("the copy has not carried out all deletions for privacy")

// eraseDue carries out in the copy what was deleted for privacy since, which somebody's lock may have kept from it.
func (r *rebuilding) eraseDue(ctx context.Context) error {
	a := NewApplier(ApplierConfig{Pool: r.pool, Schema: r.live, Stream: r.a.stream, Created: r.a.created, Logger: r.log})
	if err := a.eraseInCopy(ctx, r.copy); err != nil {
		return fmt.Errorf("erase in copy %s: %w", r.copy, err)
	}
	return nil
}

// noErasuresDue refuses a copy that has something left to erase. The writers are stopped: no more can come.
func (r *rebuilding) noErasuresDue(ctx context.Context, tx pgx.Tx) error {
	var left int64
	if err := tx.QueryRow(ctx, `select count(*) from `+quote(r.live, "copy_erasures")+` where schema_name = $1`, r.copy).Scan(&left); err != nil {
		return fmt.Errorf("look for deletions due in copies: %w", err)
	}
	if left > 0 {
		return fmt.Errorf("%w: %d", errErasuresDue, left)
	}
	return nil
}
