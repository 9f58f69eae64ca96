package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// seedErased makes tombstones in the copy of what was deleted for privacy, in whichever log: nothing brings it back. Their
// sequence is 0, below that of any deletion which this log has.
func (r *rebuilding) seedErased(ctx context.Context) error {
	for _, object := range r.objects {
		t, err := r.a.catalogue.load(ctx, r.pool, object)
		if err != nil {
			return err
		}
		if t == nil {
			continue
		}
		rows, err := r.pool.Query(ctx, `select record_id from `+quote(r.live, "erased")+` where object = $1 order by 1`, object)
		if err == nil {
			var ids []int64
			if ids, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err == nil {
				err = r.seedTombstones(ctx, t, ids)
			}
		}
		if err != nil {
			return fmt.Errorf("keep erased what was erased of %s: %w", object, err)
		}
	}
	return nil
}

// seedTombstones makes tombstones, but for those that what is on the table refuses: erased alone keeps these away, as it does with
// the live ones.
func (r *rebuilding) seedTombstones(ctx context.Context, t *table, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	set := &rowSet{table: t}
	for _, id := range ids {
		set.rows = append(set.rows, tombstone(id, 0))
	}
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error { return writeTombstones(ctx, tx, r.copy, set) })
	switch {
	case err == nil || !r.careful || classify(err) != faultData:
		return err
	case len(ids) == 1:
		return nil
	}
	if err := r.seedTombstones(ctx, t, ids[:len(ids)/2]); err != nil {
		return err
	}
	return r.seedTombstones(ctx, t, ids[len(ids)/2:])
}

// dateTombstones gives the tombstones whose deletion the log's last messages do not have what the live ones say.
func (r *rebuilding) dateTombstones(ctx context.Context) error {
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil || !r.sameLog {
		return err
	}
	for _, p := range pairs {
		if p.object == "" {
			continue
		}
		_, err := r.pool.Exec(ctx, `update `+p.otherTable()+` n set _seq = l._seq, _updated_at = l._updated_at from `+p.liveTable()+` l
			where l.id = n.id and n._purged and n._seq = 0 and l._purged and l._seq <= $1`, int64(r.position))
		if err != nil && classify(err) != faultSchema { // one of the two is not there
			return fmt.Errorf("keep erased what was erased of %s: %w", p.object, err)
		}
	}
	return nil
}
