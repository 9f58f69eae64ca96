package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// verifyErased looks for records that were deleted for privacy according to the table erased, and of which the log has values
// nevertheless. The table is the last word: the log that had the deletion may be gone, so nothing is ever taken out of it.
func (v *tableVerifier) verifyErased(ctx context.Context, object string) error {
	erased, err := v.a.erasedOf(ctx, object)
	if err != nil {
		return err
	}
	for _, id := range erased {
		purge, known, err := v.findPurge(ctx, object, id)
		if err != nil {
			return err
		}
		if known && purge == 0 {
			v.report.Add(difference.Ghost, strconv.FormatInt(id, 10), fmt.Sprintf(
				"it was deleted for privacy, and the log has values of it and no deletion: `hubtail erase %s %d` takes them out", object, id))
		}
	}
	return v.verifyTombstones(ctx, object)
}

// verifyTombstones looks for rows without values whose privacy deletion is in the log and not in the table erased. (Where the
// log has none the rows are wrong themselves.)
func (v *tableVerifier) verifyTombstones(ctx context.Context, object string) error {
	t, err := readTable(ctx, v.a.pool, v.a.schema, object)
	if err != nil || t == nil {
		return err
	}
	if there, err := v.a.isThere(ctx, t); err != nil || !there {
		return err
	}
	rows, err := v.a.patient().Query(ctx, `select id from `+quote(v.a.schema, t.name)+` t where _purged and not exists
(select from `+quote(v.a.schema, "erased")+` e where e.object = $1 and e.record_id = t.id) order by id`, object)
	if err != nil {
		return fmt.Errorf("look for tombstones of %s: %w", object, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("look for tombstones of %s: %w", object, err)
	}
	for _, id := range ids {
		purge, _, err := v.findPurge(ctx, object, id)
		if err != nil {
			return err
		}
		if purge <= 0 {
			continue
		}
		v.report.Add(difference.Missing, strconv.FormatInt(id, 10), "its privacy deletion is not in the table erased")
		if !v.o.Repair {
			continue
		}
		_, err = v.a.patient().Exec(ctx, `insert into `+quote(v.a.schema, "erased")+` (object, record_id, _seq) values ($1, $2, $3) on conflict do nothing`, object, id, purge)
		if err != nil {
			return fmt.Errorf("write the table erased: %w", err)
		}
		v.report.Repaired++
	}
	return nil
}

// erasedOf returns the records of an object type that the tables take for deleted for privacy, ascending.
func (a *Applier) erasedOf(ctx context.Context, object string) ([]int64, error) {
	rows, err := a.patient().Query(ctx, `select record_id from `+quote(a.schema, "erased")+` where object = $1 order by 1`, object)
	if err != nil {
		return nil, fmt.Errorf("read which records were erased: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read which records were erased: %w", err)
	}
	return ids, nil
}

// findPurge returns the sequence of a record's privacy deletion in the log: mostly its last message, but what somebody read
// before may have come after it. It returns 0 if there is none, and -1 if there may have been one: a full history has forgotten
// the oldest. known says whether the log has anything of the record.
func (v *tableVerifier) findPurge(ctx context.Context, object string, id int64) (seq int64, known bool, err error) {
	subject := schemas.RecordSubject(v.a.portalName(), object, strconv.FormatInt(id, 10))
	last, err := v.lastMessages(ctx, []string{subject})
	if err != nil || len(last) == 0 {
		return 0, false, err
	}
	if isPurge(last[0]) {
		return int64(last[0].Seq), true, nil
	}
	history := int64(1)
	for next := uint64(1); next < last[0].Seq; next++ {
		m, err := v.stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return 0, false, fmt.Errorf("read %s: %w", subject, err)
		}
		if isPurge(Message{Message: schemas.Message{Header: m.Header}}) {
			return int64(m.Sequence), true, nil
		}
		if next = m.Sequence; next < last[0].Seq {
			history++
		}
	}
	if limit := v.stream.CachedInfo().Config.MaxMsgsPerSubject; limit > 0 && history >= limit {
		return -1, true, nil
	}
	return 0, true, nil
}
