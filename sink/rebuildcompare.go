package sink

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// countRows compares the number of records that the server says the log has with the rows, or dead letters in their place. It
// depends on no message coming here, as the comparison of values does.
func (r *rebuilding) countRows(ctx context.Context, object string) error {
	portal := "*"
	if r.portal != "" {
		portal = schemas.EncodeToken(r.portal)
	}
	reader, err := jetlog.Reader(ctx, r.s.cfg.JetStream, r.s.cfg.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{schemas.Root + "." + portal + "." + schemas.EncodeToken(object) + ".*"},
		DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return fmt.Errorf("count the records of %s: %w", object, err)
	}
	pending, err := reader.Info(ctx)
	if err != nil {
		return fmt.Errorf("count the records of %s: %w", object, err)
	}
	info, err := r.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	t, err := readTable(ctx, r.pool, r.copy, object)
	if err != nil {
		return err
	}
	var rows uint64
	err = r.pool.QueryRow(ctx, `select (select count(*) from `+quote(r.copy, t.name)+`) + (select count(distinct record_id) from `+quote(r.copy, "dead_letters")+` d
		where d.object = $1 and d.origin = 'sink' and `+isRecordLetter+` and not exists (select from `+quote(r.copy, t.name)+` n where n.id::text = d.record_id))
		+ (select count(*) from `+quote(r.copy, "erased")+` e where $2 and e.object = $1 and not exists (select from `+quote(r.copy, t.name)+` n where n.id = e.record_id))`,
		object, r.careful).Scan(&rows) // a tombstone may be refused, too
	if err != nil {
		return fmt.Errorf("count the rows of %s: %w", object, err)
	}
	later := info.State.LastSeq - min(info.State.LastSeq, r.position) // may be of records that are new
	if rows+later < pending.NumPending {
		return fmt.Errorf("%w: %d rows of %s, %d records in the log; nothing was swapped", ErrNotAsLog, rows, object, pending.NumPending)
	}
	return nil
}

// compareLive counts how the new tables differ from the live ones.
func (r *rebuilding) compareLive(ctx context.Context) error {
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if p.object == "" {
			continue
		}
		o := RebuiltObject{Object: p.object}
		columns, err := r.commonColumns(ctx, p)
		if err != nil {
			return err
		}
		same := "false"
		if len(columns) > 0 {
			same = fmt.Sprintf("l._seq = n._seq and row(l.%s) is distinct from row(n.%s)", strings.Join(columns, ", l."), strings.Join(columns, ", n."))
		}
		sql := fmt.Sprintf(`select count(n.id), count(*) filter (where n.id is null), count(*) filter (where l.id is null),
			count(*) filter (where l._seq <> n._seq), count(*) filter (where %s) from %s l full join %s n using (id)`, same, p.liveTable(), p.otherTable())
		err = r.pool.QueryRow(ctx, sql).Scan(&o.Rows, &o.OnlyLive, &o.OnlyNew, &o.Newer, &o.Values)
		if err != nil && classify(err) == faultSchema { // one of the two is not there: nothing to compare
			err = r.pool.QueryRow(ctx, `select count(*) from `+p.otherTable()).Scan(&o.Rows)
			if err != nil && classify(err) == faultSchema {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("compare %s with the live table: %w", p.object, err)
		}
		r.result.Objects = append(r.result.Objects, o)
	}
	return nil
}

// commonColumns returns the columns that both tables have in the same type, quoted, without the time of writing.
func (r *rebuilding) commonColumns(ctx context.Context, p pair) ([]string, error) {
	rows, err := r.pool.Query(ctx, `select quote_ident(l.attname) from pg_attribute l join pg_attribute n on n.attname = l.attname and n.atttypid = l.atttypid
		where l.attrelid = to_regclass($1) and n.attrelid = to_regclass($2) and l.attnum > 0 and not l.attisdropped and not n.attisdropped
		and l.attname <> '_synced_at' and exists (select from pg_operator o where o.oprname = '=' and o.oprleft = l.atttypid and o.oprright = l.atttypid)
		order by l.attnum`, p.liveTable(), p.otherTable())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
