package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

// ErrForgotten says that the live tables have records which the log may have had and does not have any more.
var ErrForgotten = errors.New("the log does not have all that the tables have")

// forgottenLooks is how many rows of a table, that only the live one has, are looked up in the log.
const forgottenLooks = 1_000

// checkForgotten refuses tables that lack rows of the live ones, unless the log shows that these rows are wrong. A log that
// was emptied, forgets by age or size, or was begun anew is no reason to empty the tables.
func (r *rebuilding) checkForgotten(ctx context.Context) error {
	if r.o.Force {
		return nil
	}
	info, err := r.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil {
		return err
	}
	var lacks []string
	for _, p := range pairs {
		if p.object == "" {
			continue
		}
		only, err := r.onlyLive(ctx, p)
		if err != nil {
			return fmt.Errorf("compare %s with the live table: %w", p.object, err)
		}
		if len(only) == 0 {
			continue
		}
		if wrong, err := r.areWrong(ctx, p.object, only, info); err != nil {
			return err
		} else if !wrong {
			lacks = append(lacks, fmt.Sprintf("%d of %s", len(only), p.object))
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("%w: of the live rows it lacks %s, so nothing was swapped; let a source read HubSpot whole into the log first (`hubtail source`), or lose these rows with --force",
		ErrForgotten, strings.Join(lacks, ", "))
}

// onlyLive returns the rows that the copy lacks without a reason: neither erased, nor a dead letter, nor newer.
func (r *rebuilding) onlyLive(ctx context.Context, p pair) ([]rowVersion, error) {
	rows, err := r.pool.Query(ctx, `select l.id, l._seq from `+p.liveTable()+` l
		where not l._purged and (not $2 or l._seq <= $3) and not exists (select from `+p.otherTable()+` n where n.id = l.id)
		and not exists (select from `+quote(r.copy, "dead_letters")+` d where d.object = $1 and d.record_id = l.id::text)`,
		p.object, r.sameLog, int64(r.position))
	var only []rowVersion
	if err == nil {
		only, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (v rowVersion, err error) {
			err = row.Scan(&v.id, &v.seq)
			return v, err
		})
	}
	if err != nil && classify(err) == faultSchema { // one of the two is not there
		return nil, nil
	}
	return only, err
}

// areWrong reports whether the log shows that no event made the rows that only the live table has: of the same log, the
// messages that they name are there and another record's. NATS rule: without limits of age and size a stream keeps the last
// message of every subject, but for what is purged. A log begun anew has all once the source read the object type whole.
func (r *rebuilding) areWrong(ctx context.Context, object string, only []rowVersion, info *jetstream.StreamInfo) (bool, error) {
	switch {
	case !keepsAll(info.Config):
		return false, nil
	case !r.sameLog:
		var whole bool
		err := r.pool.QueryRow(ctx, `select exists (select from `+quote(r.copy, "cursors")+` where object = $1 and backfilled_at is not null)`, object).Scan(&whole)
		if err != nil {
			return false, fmt.Errorf("look whether the log has all of %s: %w", object, err)
		}
		return whole, nil
	case len(only) > forgottenLooks:
		return false, nil
	}
	for _, row := range only {
		if row.seq <= 0 {
			continue // of no event
		}
		m, err := r.stream.GetMsg(ctx, uint64(row.seq))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read message %d of the log: %w", row.seq, err)
		}
		if m.Subject == schemas.RecordSubject(r.portal, object, strconv.FormatInt(row.id, 10)) {
			return false, nil
		}
	}
	return true, nil
}
