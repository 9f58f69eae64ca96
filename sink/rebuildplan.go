package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
)

// RebuildPlan is what a rebuild would do.
type RebuildPlan struct {
	Schema   string        `json:"schema"`
	Copy     string        `json:"copy"`
	Messages int64         `json:"messages"` // last values in the log
	Objects  []RebuildSize `json:"objects"`
	Lost     []string      `json:"lost"`     // what does not carry over
	Replaces bool          `json:"replaces"` // old tables of an earlier rebuild, which go
	Stream   string        `json:"stream"`
	NewLog   bool          `json:"new_log"` // the live tables are of another log: nothing of theirs is compared
}

// RebuildSize is how large a table is.
type RebuildSize struct {
	Object string `json:"object"`
	Rows   int64  `json:"rows"` // of the live table, as Postgres estimates
}

// PlanRebuild says what a rebuild would do, and changes nothing.
func (s *Sink) PlanRebuild(ctx context.Context, o RebuildOptions) (*RebuildPlan, error) {
	r, err := s.newRebuilding(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &RebuildPlan{Schema: r.live, Copy: r.copy, Stream: s.cfg.Stream, NewLog: !r.sameLog, Lost: []string{}, Objects: []RebuildSize{}}
	c, found, err := FindCopy(ctx, r.pool, r.live, r.copy)
	if err != nil {
		return nil, err
	}
	p.Replaces = found && c.Kind == CopyOld
	if p.Lost, err = r.lost(ctx); err != nil {
		return nil, err
	}
	rows, err := r.pool.Query(ctx, `select o.object, greatest(c.reltuples, 0)::bigint from `+quote(r.live, "objects")+` o
		join pg_class c on c.oid = to_regclass(quote_ident($1) || '.' || quote_ident(o.table_name)) where o.object = any($2) order by 1`, r.live, r.objects)
	if err != nil {
		return nil, err
	}
	if p.Objects, err = pgx.CollectRows(rows, pgx.RowToStructByPos[RebuildSize]); err != nil {
		return nil, err
	}
	reader, err := s.cfg.JetStream.OrderedConsumer(ctx, s.cfg.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: r.filters(), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	info, err := reader.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	p.Messages = int64(info.NumPending)
	return p, nil
}

// lost returns what would not carry over.
func (r *rebuilding) lost(ctx context.Context) (lost []string, err error) {
	err = pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var pairs []pair
		for _, object := range r.objects {
			var name string
			if err := tx.QueryRow(ctx, `select table_name from `+quote(r.live, "objects")+` where object = $1`, object).Scan(&name); err != nil {
				return err
			}
			pairs = append(pairs, pair{live: r.live, other: r.copy, object: object, name: name, otherName: name})
		}
		if r.whole() {
			pairs = append(pairs, pair{live: r.live, other: r.copy, name: "link_sets", otherName: "link_sets"},
				pair{live: r.live, other: r.copy, name: "links", otherName: "links"})
		}
		c, err := planCarry(ctx, tx, pairs)
		if err != nil {
			return err
		}
		lost = append([]string{}, c.lost...)
		for _, p := range pairs {
			own, err := r.ownColumns(ctx, tx, p.object, p.name)
			for _, c := range own {
				if c.lost != "" && p.object != "" {
					lost = append(lost, c.lost)
				}
			}
			if err != nil {
				return err
			}
			if err := mayChange(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	return lost, err
}

// mayChange refuses a table that this role may not move, or that is no plain table.
func mayChange(ctx context.Context, tx pgx.Tx, p pair) error {
	var owner string
	var mine, plain bool
	err := tx.QueryRow(ctx, `select pg_get_userbyid(relowner), pg_has_role(relowner, 'usage'),
		relkind = 'r' and not relispartition and not relhassubclass from pg_class where oid = to_regclass($1)`, p.liveTable()).Scan(&owner, &mine, &plain)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	case !mine:
		return fmt.Errorf("table %s belongs to %s, and only its owner may replace it: run `hubtail migrate --owner` as an administrator, with the role that runs this", p.liveTable(), owner)
	case !plain:
		return fmt.Errorf("table %s is partitioned, a partition or has children: a rebuild replaces plain tables only", p.liveTable())
	}
	return nil
}
