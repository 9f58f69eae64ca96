package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/internal/proof"
	"github.com/hubtail/hubtail/schemas"
)

func isTimeout(err error) bool { return errors.Is(err, nats.ErrTimeout) }

// verdict is a message of the log whose row is not what it should be.
type verdict struct {
	message Message
	key     string // record id, or id and object of a set of links
	kind    difference.Kind
	reason  string
	seq     int64 // of the row, -1 if there is none
	moved   bool  // the row is newer than the message: the log has moved on, or the row's sequence is wrong
}

// comparison is what comparing some messages with the tables gave.
type comparison struct {
	verdicts           []verdict
	pending, explained int64
}

// due reports whether the tables must have what a message says by now, and counts it if not: explained if it can have left
// nothing but a dead letter, pending if it comes after the position.
func (c *comparison) due(m Message, explained bool, position int64) bool {
	switch {
	case explained:
		c.explained++
	case int64(m.Seq) > position:
		c.pending++
	default:
		return true
	}
	return false
}

// verifyRows compares the rows of the object type's table with the records' last events, both ways.
func (v *tableVerifier) verifyRows(ctx context.Context, object string) error {
	var ids []int64
	filter := schemas.Root + "." + schemas.EncodeToken(v.a.portalName()) + "." + schemas.EncodeToken(object) + ".*"
	compare := func(ctx context.Context, messages []Message) (comparison, error) {
		return v.a.compareRows(ctx, object, messages)
	}
	lower := func(ctx context.Context, verdicts []verdict) error { return v.a.lowerRows(ctx, object, verdicts) }
	err := v.eachBatch(ctx, filter, func(messages []Message) error {
		for _, m := range messages {
			if id, err := recordID(m); err == nil {
				ids = append(ids, id)
			}
		}
		v.report.Compared += int64(len(messages))
		if v.o.Progress != nil {
			v.o.Progress(object, v.report.Compared)
		}
		return v.settle(ctx, messages, compare, lower)
	})
	if err != nil {
		return err
	}
	slices.Sort(ids)
	return v.verifyGhosts(ctx, object, ids)
}

// settle compares messages with the tables, what differs once more with the log as it is then, and repairs what still
// does, if asked: first the rows forget which event they are from, so that no guard is in the way, and then the one
// function applies their events.
func (v *tableVerifier) settle(ctx context.Context, messages []Message, compare func(context.Context, []Message) (comparison, error), lower func(context.Context, []verdict) error) error {
	first, err := compare(ctx, messages)
	if err != nil {
		return err
	}
	v.report.Pending += first.pending
	v.report.Explained += first.explained
	if len(first.verdicts) == 0 {
		return nil
	}
	subjects := make([]string, len(first.verdicts))
	for i, d := range first.verdicts {
		subjects[i] = d.message.Subject
	}
	again, err := v.lastMessages(ctx, subjects)
	if err != nil {
		return err
	}
	second, err := compare(ctx, again)
	if err != nil {
		return err
	}
	v.report.Pending += second.pending
	found, err := v.stillThere(ctx, second.verdicts)
	if err != nil {
		return err
	}
	var repair []Message
	for _, d := range found {
		v.report.Add(d.kind, d.key, d.reason)
		repair = append(repair, d.message)
	}
	if !v.o.Repair || len(repair) == 0 {
		return nil
	}
	if err := lower(ctx, found); err != nil {
		return err
	}
	// Each in a copy of its own: Apply sorts.
	if err := v.a.Apply(ctx, slices.Clone(repair), 0); err != nil {
		return fmt.Errorf("apply %d events again: %w", len(repair), err)
	}
	left, err := compare(ctx, repair)
	if err != nil {
		return err
	}
	v.report.Repaired += int64(len(found))
	for _, d := range left.verdicts {
		if !d.moved { // else something newer was applied meanwhile
			v.report.Repaired--
		}
	}
	return nil
}

// stillThere leaves out rows that were newer than the event we had because the log has moved on. Whatever a sink applies
// was in the log before: a row that is newer than what is read after it is wrong.
func (v *tableVerifier) stillThere(ctx context.Context, verdicts []verdict) ([]verdict, error) {
	kept := verdicts[:0]
	for _, d := range verdicts {
		if d.moved {
			last, err := v.lastMessages(ctx, []string{d.message.Subject})
			if err != nil {
				return nil, err
			}
			if len(last) == 0 || int64(last[0].Seq) >= d.seq {
				continue
			}
		}
		kept = append(kept, d)
	}
	return kept, nil
}

func recordID(m Message) (int64, error) {
	subject, err := schemas.ParseSubject(m.Subject)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(subject.ID, 10, 64)
}

// snapshot runs f in a transaction that sees one moment, and tells how far the tables are in it.
func (a *Applier) snapshot(ctx context.Context, f func(tx pgx.Tx, position int64) error) error {
	tx, err := a.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, patience); err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	var position int64
	err = tx.QueryRow(ctx, `select coalesce(max(seq), 0) from `+quote(a.schema, "positions")+` where stream = $1 and stream_created = $2`,
		a.stream, a.created).Scan(&position)
	if err != nil {
		return fmt.Errorf("read position: %w", err)
	}
	return f(tx, position)
}

// deadSeqs returns which of the messages are in dead_letters: what is to be seen there is no difference.
func (a *Applier) deadSeqs(ctx context.Context, tx pgx.Tx, messages []Message) (map[uint64]bool, error) {
	seqs := make([]int64, len(messages))
	for i, m := range messages {
		seqs[i] = int64(m.Seq)
	}
	rows, err := tx.Query(ctx, `select seq from `+quote(a.schema, "dead_letters")+` where stream = $1 and seq = any($2)`, a.stream, seqs)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	dead := make(map[uint64]bool)
	var seq int64
	_, err = pgx.ForEachRow(rows, []any{&seq}, func() error {
		dead[uint64(seq)] = true
		return nil
	})
	return dead, err
}

// recordKey is a record of some object type.
type recordKey struct {
	object string
	id     int64
}

// erasedAmong returns which of the records were deleted for privacy.
func (a *Applier) erasedAmong(ctx context.Context, tx pgx.Tx, objects []string, ids []int64) (map[recordKey]bool, error) {
	rows, err := tx.Query(ctx, `select object, record_id from `+quote(a.schema, "erased")+` where object = any($1) and record_id = any($2)`, objects, ids)
	if err != nil {
		return nil, fmt.Errorf("read which records were erased: %w", err)
	}
	erased := make(map[recordKey]bool)
	var k recordKey
	if _, err := pgx.ForEachRow(rows, []any{&k.object, &k.id}, func() error { erased[k] = true; return nil }); err != nil {
		return nil, fmt.Errorf("read which records were erased: %w", err)
	}
	return erased, nil
}

// compareRows compares the last events of records with their rows, as of one moment.
func (a *Applier) compareRows(ctx context.Context, object string, messages []Message) (c comparison, err error) {
	err = a.snapshot(ctx, func(tx pgx.Tx, position int64) error {
		dead, err := a.deadSeqs(ctx, tx, messages)
		if err != nil {
			return err
		}
		byID := make(map[int64]Message, len(messages))
		ids := make([]int64, 0, len(messages))
		for _, m := range messages {
			if id, err := recordID(m); c.due(m, err != nil || dead[m.Seq] && !isPurge(m), position) {
				byID[id] = m
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		erased, err := a.erasedAmong(ctx, tx, []string{object}, ids)
		if err != nil {
			return err
		}
		rows, err := proof.OpenRows(ctx, tx, a.schema, object, ids)
		if errors.Is(err, proof.ErrNoTable) || isNoTable(err) {
			for _, id := range ids {
				c.verdicts = append(c.verdicts, missingRow(byID[id], id))
			}
			return nil
		}
		if err != nil {
			return err
		}
		for rows.Next() {
			m := byID[rows.ID()]
			delete(byID, rows.ID())
			if rows.Purged() && !isPurge(m) && erased[recordKey{object, rows.ID()}] {
				c.explained++ // a privacy deletion is the last word, whatever the log says later
				continue
			}
			if d := compareRow(m, rows); d != nil {
				c.verdicts = append(c.verdicts, *d)
			}
		}
		for _, id := range ids {
			if m, without := byID[id]; without && isPurge(m) && erased[recordKey{object, id}] {
				c.explained++ // the database refused the tombstone, and the row was deleted
			} else if without {
				c.verdicts = append(c.verdicts, missingRow(m, id))
			}
		}
		if err := rows.Close(); err != nil && !isNoTable(err) { // of a table that was dropped all rows are missing
			return err
		}
		return nil
	})
	return c, err
}

func missingRow(m Message, id int64) verdict {
	return verdict{message: m, key: strconv.FormatInt(id, 10), kind: difference.Missing, reason: fmt.Sprintf("no row for event %d", m.Seq), seq: -1}
}

// compareRow says how a row differs from its record's last event, nil if it does not.
func compareRow(m Message, row *proof.Rows) *verdict {
	d := &verdict{message: m, key: strconv.FormatInt(row.ID(), 10), seq: row.Seq()}
	switch seq := int64(m.Seq); {
	case d.seq < seq:
		d.kind, d.reason = difference.Stale, fmt.Sprintf("the row is of event %d, the last one is %d", d.seq, seq)
		return d
	case d.seq > seq:
		d.kind, d.reason, d.moved = difference.Value, fmt.Sprintf("the row says it is of event %d, the last one is %d", d.seq, seq), true
		return d
	}
	event, err := schemas.DecodeEvent(m.Message)
	if err != nil {
		d.kind, d.reason = difference.Value, "its event cannot be read: "+err.Error()
		return d
	}
	ended := event.Archived || event.Op == schemas.OpMerged || event.Op == schemas.OpPurged
	d.kind, d.reason = difference.Value, row.Differs(proof.Record{
		ID: event.ID, Properties: event.Properties.Map(), CreatedAt: event.CreatedAt, UpdatedAt: event.UpdatedAt,
		Archived: ended, MergedInto: event.MergedInto, Purged: event.Op == schemas.OpPurged, Exact: true, ArchivedAt: event.ArchivedAt,
	})
	if d.reason == "" {
		return nil
	}
	return d
}

// lowerRows makes rows forget which event they are from, unless they got a newer one meanwhile; none of them was erased.
// They keep their values until the event is applied; a crash in between leaves rows that the next comparison finds.
func (a *Applier) lowerRows(ctx context.Context, object string, verdicts []verdict) error {
	t, err := readTable(ctx, a.pool, a.schema, object)
	if err != nil || t == nil {
		return err
	}
	ids, seqs := rowKeys(verdicts)
	_, err = a.patient().Exec(ctx, `update `+quote(a.schema, t.name)+` t set _seq = 0, _purged = false from unnest($1::bigint[], $2::bigint[]) as r(id, seq)
where t.id = r.id and t._seq = r.seq`, ids, seqs)
	if err != nil {
		return fmt.Errorf("prepare rows to be written again: %w", err)
	}
	return nil
}

func rowKeys(verdicts []verdict) (ids, seqs []int64) {
	for _, d := range verdicts {
		if id, err := strconv.ParseInt(d.key, 10, 64); err == nil && d.seq >= 0 {
			ids, seqs = append(ids, id), append(seqs, d.seq)
		}
	}
	return ids, seqs
}
