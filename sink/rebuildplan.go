package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
)

// RebuildPlan is what a rebuild would do.
type RebuildPlan struct {
	Schema   string        `json:"schema"`
	Copy     string        `json:"copy"`
	Messages int64         `json:"messages"` // last values in the log
	Objects  []RebuildSize `json:"objects"`
	Lost     []string      `json:"lost"` // what does not carry over
	// Forgotten is how many rows of which object types the log lacks: without Force the rebuild would be ErrForgotten.
	Forgotten []string `json:"forgotten"`
	Replaces  bool     `json:"replaces"` // old tables of an earlier rebuild, which go
	Stream    string   `json:"stream"`
	NewLog    bool     `json:"new_log"` // the live tables are of another log: nothing of theirs is compared
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
	if err := r.noStaticRefused(ctx); err != nil {
		return nil, err
	}
	if p.Lost, err = r.lost(ctx); err != nil {
		return nil, err
	}
	if p.Forgotten, err = r.forgotten(ctx); err != nil {
		return nil, err
	}
	rows, err := r.pool.Query(ctx, `select o.object, greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint from `+quote(r.live, "objects")+` o
		join pg_class c on c.oid = to_regclass(quote_ident($1) || '.' || quote_ident(o.table_name)) where o.object = any($2) order by 1`, r.live, r.objects)
	if err != nil {
		return nil, err
	}
	if p.Objects, err = pgx.CollectRows(rows, pgx.RowToStructByPos[RebuildSize]); err != nil {
		return nil, err
	}
	reader, err := jetlog.Reader(ctx, s.cfg.JetStream, s.cfg.Stream, jetstream.OrderedConsumerConfig{
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
			own, err := ownColumns(ctx, tx, p.live, p.object, p.name)
			for _, c := range own {
				if c.lost != "" {
					lost = append(lost, c.lost)
				}
			}
			if err != nil {
				return err
			}
			if err := mayChange(ctx, tx, p); err != nil {
				return err
			}
			if gone, err := r.forgotEarlier(ctx, tx, p); err != nil {
				return err
			} else if gone != "" {
				lost = append(lost, gone)
			}
			if err := noneAltered(ctx, tx, p); err != nil {
				return err
			}
			more, err := statements(ctx, tx, planLostSQL, pgx.NamedArgs{"table": p.liveTable()})
			if err != nil {
				return fmt.Errorf("read what %s has: %w", p.liveTable(), err)
			}
			lost = append(lost, more...)
		}
		return nil
	})
	return lost, err
}

// planLostSQL describes what of the table @table is no dependency of it that Postgres knows of, and does not carry over.
const planLostSQL = `
select format('index %s is not valid: drop it, or make it good by reindex', x.indexrelid::regclass) from pg_index x
 where x.indrelid = to_regclass(@table) and not x.indisvalid
union all
select format('tablespace %I of %s: this role may not create anything in it', t.spcname, c.oid::regclass) from pg_class c join pg_tablespace t on t.oid = c.reltablespace
 where (c.oid = to_regclass(@table) or c.oid in (select indexrelid from pg_index where indrelid = to_regclass(@table))) and not has_tablespace_privilege(t.oid, 'create')
union all
select format('access method %I of %s: the new table gets the default one', m.amname, c.oid::regclass) from pg_class c join pg_am m on m.oid = c.relam
 where c.oid = to_regclass(@table) and m.amname <> current_setting('default_table_access_method')
union all
select format('security label of %s (%s) on %s', l.provider, l.label, pg_describe_object(l.classoid, l.objoid, l.objsubid)) from pg_seclabel l
 where l.classoid = 'pg_class'::regclass and l.objoid = to_regclass(@table)
order by 1`

// noneAltered refuses a table with a column whose type was altered by hand to one that no new table has, if something is built on
// it: that could not be built on the new column.
func noneAltered(ctx context.Context, tx pgx.Tx, p pair) error {
	properties, err := propertyColumns(ctx, tx, p)
	if err != nil {
		return err
	}
	altered, err := statements(ctx, tx, `select format('%s is built on column %I, whose type was altered by hand to %s: drop that, or `+"`alter table %s alter column %I type ...`"+` to text, numeric, boolean, date or timestamptz',
		h.holder, a.attname, format_type(a.atttypid, a.atttypmod), @table::text, a.attname)
		from (`+heldColumnsSQL+`) h join pg_attribute a on a.attrelid = to_regclass(@table) and a.attname = h.attname
		where a.attname = any(@properties) and a.atttypid <> all(@known) order by 1`,
		pgx.NamedArgs{"table": p.liveTable(), "properties": properties, "known": knownOIDs})
	if err == nil && len(altered) > 0 {
		err = fmt.Errorf("table %s cannot be replaced: %s", p.liveTable(), joinShort(altered))
	}
	return err
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
