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

// verifyErased compares which records of an object type the tables take for deleted for privacy with the log. Of those that
// the log does not know as such they would keep no links; those that they have forgotten could come back.
func (v *tableVerifier) verifyErased(ctx context.Context, object string) error {
	erased, err := v.a.erasedOf(ctx, object)
	if err != nil {
		return err
	}
	var bogus []int64
	for _, id := range erased {
		purge, err := v.findPurge(ctx, object, id)
		if err != nil {
			return err
		}
		if purge == 0 {
			bogus = append(bogus, id)
			v.report.Add(difference.Ghost, strconv.FormatInt(id, 10), "the table erased has it, and the log has no privacy deletion of it")
		}
	}
	if err := v.forgetErased(ctx, object, bogus); err != nil {
		return err
	}
	return v.verifyTombstones(ctx, object)
}

// forgetErased deletes rows of the table erased that no privacy deletion made.
func (v *tableVerifier) forgetErased(ctx context.Context, object string, ids []int64) error {
	switch {
	case len(ids) == 0 || !v.o.Repair:
		return nil
	case !v.whole:
		v.report.Note = "rows of the table erased are kept: the stream has a limit of age or size, so it may have had their deletions"
		return nil
	}
	tag, err := v.a.patient().Exec(ctx, `delete from `+quote(v.a.schema, "erased")+` where object = $1 and record_id = any($2)`, object, ids)
	if err != nil {
		return fmt.Errorf("delete rows of the table erased: %w", err)
	}
	v.report.Repaired += tag.RowsAffected()
	return nil
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
		purge, err := v.findPurge(ctx, object, id)
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
// the oldest.
func (v *tableVerifier) findPurge(ctx context.Context, object string, id int64) (seq int64, err error) {
	subject := schemas.RecordSubject(v.a.portalName(), object, strconv.FormatInt(id, 10))
	last, err := v.lastMessages(ctx, []string{subject})
	if err != nil || len(last) == 0 {
		return 0, err
	}
	if isPurge(last[0]) {
		return int64(last[0].Seq), nil
	}
	history := int64(1)
	for next := uint64(1); next < last[0].Seq; next++ {
		m, err := v.stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", subject, err)
		}
		if isPurge(Message{Message: schemas.Message{Header: m.Header}}) {
			return int64(m.Sequence), nil
		}
		if next = m.Sequence; next < last[0].Seq {
			history++
		}
	}
	if limit := v.stream.CachedInfo().Config.MaxMsgsPerSubject; limit > 0 && history >= limit {
		return -1, nil
	}
	return 0, nil
}
