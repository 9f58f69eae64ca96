package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

// What the owner has on the tables (a check, a unique index, a column that is never null, a foreign key, a trigger) refuses rows,
// which become dead letters, and the live table keeps the record's version before, if it had one. A rebuild comes to the same:
// it leaves the messages of such letters out while it fills the tables, takes the versions that the live tables have, and
// applies the letters' messages when all that refused them is on the new tables. Where that refuses rows that it did not refuse
// on the live tables, as they are behind the log, or of another one, it begins again with empty tables that have it all.

// errRefusedRows says that filled tables cannot have what the owner has on the live ones.
var errRefusedRows = errors.New("what is on the live tables refuses rows of the log")

// startOver makes the rebuild begin again, carefully.
func (r *rebuilding) startOver() {
	r.careful, r.position, r.tried = true, 0, nil
	r.result.Objects, r.result.Reports, r.result.Messages = nil, nil, 0
	r.newApplier(r.a.created)
}

// refusedSQL selects the dead letters d of rows that the database refused: a constraint, an index, or a trigger with whatever code it
// raises. A deletion for privacy is applied all the same. $1 is the stream, $2 whether all object types count, $3 those that do.
const refusedSQL = ` d.stream = $1 and d.origin = 'sink' and not coalesce(` + isPurgeLetter + `, false) and d.sqlstate is not null and ($2 or d.object = any($3))`

// recordIDSQL is the number of the record that a letter d is about; null if there is none.
const recordIDSQL = `case when d.record_id ~ '^[0-9]{1,18}$' and ` + isRecordLetter + ` then d.record_id::bigint end`

// isRecordLetter is the condition for letters d of records' events. An object type whose name had to be encoded begins with _x.
const isRecordLetter = `split_part(d.subject, '.', 3) !~ '^_[^x]'`

// readRefused makes the filling leave out what the live tables refused.
func (r *rebuilding) readRefused(ctx context.Context) error {
	if !r.sameLog {
		return nil
	}
	rows, err := r.pool.Query(ctx, `select d.seq from `+quote(r.live, "dead_letters")+` d where`+refusedSQL, r.a.stream, r.whole(), r.objects)
	if err != nil {
		return fmt.Errorf("read what the live tables refused: %w", err)
	}
	seqs, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("read what the live tables refused: %w", err)
	}
	r.a.skip = make(map[uint64]bool, len(seqs))
	for _, seq := range seqs {
		r.a.skip[uint64(seq)] = true
	}
	return nil
}

// catchUpRefused applies what was left out, and what came into the log since.
func (r *rebuilding) catchUpRefused(ctx context.Context) error {
	kept, err := r.keepRefused(ctx)
	if err != nil {
		return fmt.Errorf("keep what the live tables refused: %w", err)
	}
	var seqs []int64
	for seq := range r.a.skip {
		if !kept[int64(seq)] {
			seqs = append(seqs, int64(seq))
		}
	}
	r.a.skip = make(map[uint64]bool, len(kept)) // also of what is still to be caught up with
	for seq := range kept {
		r.a.skip[uint64(seq)] = true
	}
	for len(seqs) > 0 {
		n := min(len(seqs), redriveRows)
		if err := r.applyRefused(ctx, seqs[:n]); err != nil {
			return fmt.Errorf("apply again what the live tables refused: %w", err)
		}
		seqs = seqs[n:]
	}
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	return r.keepEarlier(ctx, r.copy)
}

// applyRefused applies the messages of some of the live tables' letters. Those that were redriven or dropped meanwhile are
// read from the log.
func (r *rebuilding) applyRefused(ctx context.Context, seqs []int64) error {
	letters, err := ListDeadLetters(ctx, r.pool, r.live, DeadLetters{Stream: r.a.stream, Seqs: seqs}, true)
	if err != nil {
		return err
	}
	var messages []Message
	for _, seq := range seqs {
		l := DeadLetter{Seq: seq, Truncated: true}
		if i := slices.IndexFunc(letters, func(l DeadLetter) bool { return l.Seq == seq }); i >= 0 {
			l = letters[i]
		}
		m, err := r.messageOf(ctx, l)
		if err != nil {
			return err
		}
		if m != nil { // else there is a newer one, which was applied
			messages = append(messages, *m)
		}
	}
	if len(messages) == 0 {
		return nil
	}
	defer r.a.counts.messages.Add(-int64(len(messages))) // they are counted already
	return r.a.Apply(ctx, messages, 0)
}

// messageOf returns the message of a letter; nil if the letter has only the beginning, and the log no longer has it.
func (r *rebuilding) messageOf(ctx context.Context, l DeadLetter) (*Message, error) {
	if !l.Truncated {
		return &Message{Message: schemas.Message{Subject: l.Subject, Header: l.Headers, Data: l.Payload}, Seq: uint64(l.Seq)}, nil
	}
	m, err := r.stream.GetMsg(ctx, uint64(l.Seq))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read message %d of the log: %w", l.Seq, err)
	}
	return &Message{Message: schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}, Seq: m.Sequence}, nil
}

// there reports whether all tables, quoted, are there.
func there(ctx context.Context, db queryer, tables ...string) (is bool, err error) {
	err = db.QueryRow(ctx, `select bool_and(to_regclass(t) is not null) from unnest($1::text[]) t`, tables).Scan(&is)
	return is, err
}

// earlierRows are rows of a live table that are of an earlier event than one which is among the dead letters of a schema; if
// lacked, those that the copy lacks.
func (r *rebuilding) earlierRows(ctx context.Context, db queryer, p pair, letters string, lacked bool) ([]rowVersion, error) {
	tables, lacking := []string{p.liveTable()}, ``
	if lacked {
		tables, lacking = append(tables, p.otherTable()), `and not exists (select from `+p.otherTable()+` n where n.id = l.id)`
	}
	if is, err := there(ctx, db, tables...); err != nil || !is {
		return nil, err
	}
	rows, err := db.Query(ctx, `select distinct l.id, l._seq from `+quote(letters, "dead_letters")+` d join `+p.liveTable()+` l on l.id = `+recordIDSQL+`
		where d.stream = $1 and d.origin = 'sink' and not coalesce(`+isPurgeLetter+`, false) and d.object = $2 and l._seq > 0 and l._seq < d.seq and not l._purged `+lacking+` order by 2`, r.a.stream, p.object)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s with later dead letters: %w", p.object, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (v rowVersion, err error) {
		err = row.Scan(&v.id, &v.seq)
		return v, err
	})
}

// eventOf returns the event that a row is from; nil if the log no longer has it.
func (r *rebuilding) eventOf(ctx context.Context, object string, row rowVersion) (*Message, error) {
	m, err := r.messageOf(ctx, DeadLetter{Seq: row.seq, Truncated: true})
	if err != nil || m == nil || m.Subject != schemas.RecordSubject(r.portal, object, strconv.FormatInt(row.id, 10)) {
		return nil, err
	}
	return m, nil
}

// keepEarlier gives the copy the versions of records that the live tables have, where the last one is among the dead letters of
// a schema.
func (r *rebuilding) keepEarlier(ctx context.Context, letters string) error {
	if !r.sameLog {
		return nil
	}
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if p.name == "links" && p.object == "" {
			if err := r.keepEarlierSets(ctx, letters); err != nil {
				return err
			}
		}
		if p.object == "" {
			continue
		}
		earlier, err := r.earlierRows(ctx, r.pool, p, letters, true)
		if err != nil {
			return err
		}
		var messages []Message
		for i, row := range earlier {
			m, err := r.eventOf(ctx, p.object, row)
			if err != nil {
				return err
			}
			if m != nil {
				messages = append(messages, *m)
			}
			if len(messages) > 0 && (len(messages) == redriveRows || i == len(earlier)-1) {
				if err := r.a.Apply(ctx, messages, 0); err != nil {
					return fmt.Errorf("apply earlier versions of %s: %w", p.object, err)
				}
				messages = nil
			}
		}
	}
	return nil
}

// forgotEarlier describes rows that would go, since their event is no longer in the log and a later one is a dead letter.
func (r *rebuilding) forgotEarlier(ctx context.Context, tx pgx.Tx, p pair) (string, error) {
	if p.object == "" && p.name == "links" && r.sameLog {
		return r.forgotSets(ctx, tx)
	}
	if p.object == "" || !r.sameLog {
		return "", nil
	}
	earlier, err := r.earlierRows(ctx, tx, p, r.live, false)
	if err != nil {
		return "", err
	}
	gone := 0
	for _, row := range earlier {
		m, err := r.eventOf(ctx, p.object, row)
		if err != nil {
			return "", err
		}
		if m == nil {
			gone++
		}
	}
	if gone == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d rows of %s, whose later events are dead letters, and whose own the log no longer has: see to `hubtail dead-letters redrive`", gone, p.object), nil
}

// noneRefused refuses new tables that lack what the live ones have, since it is a dead letter of theirs: what is on them refused
// it, which the live tables did not.
func (r *rebuilding) noneRefused(ctx context.Context, db queryer, pairs []pair) error {
	if r.o.Force {
		return nil
	}
	for _, p := range pairs {
		if p.object == "" && p.name == "links" {
			if err := r.noSetsRefused(ctx, db); err != nil {
				return err
			}
		}
		if p.object == "" {
			continue
		}
		if is, err := there(ctx, db, p.liveTable(), p.otherTable()); err != nil {
			return err
		} else if !is {
			continue
		}
		var rows int64
		var reason *string
		err := db.QueryRow(ctx, `select count(distinct l.id), min(d.reason) from `+quote(r.copy, "dead_letters")+` d join `+p.liveTable()+` l on l.id = `+recordIDSQL+`
			where d.stream = $1 and d.origin = 'sink' and not coalesce(`+isPurgeLetter+`, false) and d.object = $2 and not l._purged
			and not exists (select from `+p.otherTable()+` n where n.id = l.id and (not $3 or n._seq >= l._seq))
			and (not $3 or l._seq <= $4) and ($3 or d.sqlstate like '23%')`, r.a.stream, p.object, r.sameLog, int64(r.position)).Scan(&rows, &reason)
		switch {
		case err != nil:
			return fmt.Errorf("look for rows that the new table of %s refused: %w", p.object, err)
		case rows > 0:
			return fmt.Errorf("the new table of %s refused %d rows that the live one has (%s), so nothing was swapped: see to what is on the table, or lose them with --force",
				p.object, rows, *reason)
		}
	}
	return nil
}

func (r *rebuilding) checkRefused(ctx context.Context) error {
	if err := r.takeRedriven(ctx); err != nil {
		return err
	}
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil {
		return err
	}
	return r.noneRefused(ctx, r.pool, pairs)
}

// foreignFirst puts the tables' own foreign keys on them while they are empty, but for those on tables that change places.
// Postgres rule: the other table is locked against writers meanwhile, so each has a short transaction of its own.
func (r *rebuilding) foreignFirst(ctx context.Context) error {
	var keys []string
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, carryPlain); err != nil {
			return err
		}
		pairs, err := r.pairs(ctx, tx)
		if err != nil {
			return err
		}
		var live, other []string
		own := []string{}
		for _, p := range pairs {
			live, other = append(live, p.liveTable()), append(other, p.otherTable())
			columns, err := ownColumns(ctx, tx, p.live, p.object, p.name)
			if err != nil {
				return err
			}
			for _, c := range columns {
				own = append(own, c.name)
			}
		}
		keys, err = statements(ctx, tx, `select format('alter table %s add constraint %I %s', p.o, c.conname, pg_get_constraintdef(c.oid))
			from unnest(@live::text[], @other::text[]) as p(l, o) join pg_constraint c on c.conrelid = to_regclass(p.l)
			where c.contype = 'f' and c.convalidated and not exists (select from pg_attribute a where a.attrelid = c.conrelid and a.attnum = any(c.conkey) and a.attname = any(@own::text[]))
			and c.confrelid <> all(select to_regclass(x)::oid from unnest(@live::text[]) x where to_regclass(x) is not null)
			and to_regclass(p.o) is not null order by 1`, pgx.NamedArgs{"live": live, "other": other, "own": own})
		return err
	})
	for _, sql := range keys {
		if err == nil {
			err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error { return execAll(ctx, tx, ddlTimeouts, sql) })
		}
	}
	if err != nil {
		return fmt.Errorf("carry foreign keys over: %w", err)
	}
	return nil
}
