package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// byTriggerSQL is the condition for letters d that a trigger of the table $5, or of the table of its sets, may have refused.
// Postgres rule: it does so with any code, so that only the text tells its letters from a constraint's; text in another language
// than English counts as a trigger's.
const byTriggerSQL = `not (d.sqlstate like '23%' and d.reason like '%violates%constraint%')
	and exists (select from pg_trigger t where t.tgrelid in (to_regclass($5), to_regclass($6)) and not t.tgisinternal and t.tgenabled <> 'D')`

// keepRefused lets the copy have the letters of what the new tables could not refuse yet: triggers do not fire for them, and
// foreign keys come with the swap. A letter of a record that got a newer version is obsolete. What the copy got from the messages
// of the letters goes.
func (r *rebuilding) keepRefused(ctx context.Context) (kept map[int64]bool, err error) {
	kept = make(map[int64]bool)
	if !r.sameLog {
		return kept, nil
	}
	columns, err := r.staticColumns(ctx, r.pool, "dead_letters")
	if err != nil {
		return nil, err
	}
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		table, which := p.liveTable(), isRecordLetter+` and d.object = $4 and not exists (select from `+p.otherTable()+` n where n.id = `+recordIDSQL+` and n._seq > d.seq)
			and not exists (select from `+p.liveTable()+` l where l.id = `+recordIDSQL+` and l._seq >= d.seq)`
		if p.object == "" {
			if p.name != "links" {
				continue
			}
			table, which = quote(r.live, "link_sets"), `split_part(d.subject, '.', 3) = '_links' and $4 = ''`
		}
		if is, err := there(ctx, r.pool, p.liveTable(), p.otherTable()); err != nil {
			return nil, err
		} else if !is {
			continue
		}
		rows, err := r.pool.Query(ctx, `insert into `+quote(r.copy, "dead_letters")+` (`+columns.all+`) select `+columns.all+` from `+quote(r.live, "dead_letters")+` d
			where`+refusedSQL+` and `+which+` and (`+byTriggerSQL+`
			or d.sqlstate = '23503' and exists (select from pg_constraint c where c.conrelid = to_regclass($5) and c.contype = 'f'))
			on conflict do nothing returning seq`, r.a.stream, r.whole(), r.objects, p.object, p.liveTable(), table)
		if err != nil {
			return nil, err
		}
		seqs, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return nil, err
		}
		for _, seq := range seqs {
			kept[seq] = true
		}
		if err := r.takeBack(ctx, p, seqs); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// takeBack deletes from the copy what it got from messages which a live table refused meanwhile.
func (r *rebuilding) takeBack(ctx context.Context, p pair, seqs []int64) error {
	if len(seqs) == 0 {
		return nil
	}
	sql := []string{`delete from ` + p.otherTable() + ` where _seq = any($1) and not _purged`}
	if p.object == "" {
		sets := quote(r.copy, "link_sets")
		sql = []string{`delete from ` + p.otherTable() + ` l using ` + sets + ` s where s._seq = any($1) and l.from_object = s.from_object
			and l.from_id = s.from_id and l.to_object = s.to_object`, `delete from ` + sets + ` where _seq = any($1)`}
	}
	for _, sql := range sql {
		if _, err := r.pool.Exec(ctx, sql, seqs); err != nil {
			return fmt.Errorf("take back what the live table %s refused: %w", p.liveTable(), err)
		}
	}
	return nil
}

// keepLate does the same, while no sink writes, for what the live tables refused since, and applies what they refuse no more.
func (r *rebuilding) keepLate(ctx context.Context) error {
	if !r.sameLog {
		return nil
	}
	if err := r.takeRedriven(ctx); err != nil {
		return err
	}
	kept, err := r.keepRefused(ctx)
	if err != nil {
		return fmt.Errorf("keep what the live tables refused: %w", err)
	}
	if len(kept) == 0 {
		return nil
	}
	return r.keepEarlier(ctx, r.copy)
}
