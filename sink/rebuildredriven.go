package sink

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// takeRedriven applies to the copy what its tables refused, or left out as the live ones had refused it, and the live ones have
// by now: what refused it is gone, or somebody has redriven the letters. One that was only dropped is not applied.
func (r *rebuilding) takeRedriven(ctx context.Context) error {
	if !r.sameLog {
		return nil
	}
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil {
		return err
	}
	others := `not (` + isRecordLetter + `) and (split_part(d.subject, '.', 3) <> '_links' or exists (select from ` + quote(r.live, "link_sets") + ` l
		where l.from_object = d.object and l.from_id::text = d.record_id and l._seq >= d.seq)) and $2 = ''`
	seqs, err := r.redrivenLetters(ctx, others, "")
	for _, p := range pairs {
		if err != nil {
			return err
		}
		if p.object == "" {
			continue
		}
		if is, err := there(ctx, r.pool, p.liveTable(), p.otherTable()); err != nil {
			return err
		} else if !is {
			continue
		}
		var more []int64
		more, err = r.redrivenLetters(ctx, isRecordLetter+` and d.object = $2 and (coalesce(`+isPurgeLetter+`, false)
			or exists (select from `+p.liveTable()+` l where l.id = `+recordIDSQL+` and l._seq >= d.seq))`, p.object)
		seqs = append(seqs, more...)
	}
	if err != nil {
		return err
	}
	slices.Sort(seqs)
	for batch := range slices.Chunk(seqs, redriveRows) {
		for _, seq := range batch {
			delete(r.a.skip, uint64(seq))
		}
		letters, err := ListDeadLetters(ctx, r.pool, r.copy, DeadLetters{Stream: r.a.stream, Seqs: batch}, false)
		if err == nil {
			_, err = r.a.redrive(ctx, r.stream, letters)
		}
		if err != nil {
			return fmt.Errorf("apply what the live tables no longer refuse: %w", err)
		}
	}
	return nil
}

// redrivenLetters returns the sequences of the copy's letters d that the live tables do not have, of those that a condition selects.
func (r *rebuilding) redrivenLetters(ctx context.Context, where, object string) ([]int64, error) {
	rows, err := r.pool.Query(ctx, `select seq from `+quote(r.copy, "dead_letters")+` d where stream = $1 and origin = 'sink' and `+where+`
		and not exists (select from `+quote(r.live, "dead_letters")+` o where o.stream = d.stream and o.seq = d.seq)`, r.a.stream, object)
	var seqs []int64
	if err == nil {
		seqs, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	if err != nil {
		return nil, fmt.Errorf("read what the live tables no longer refuse: %w", err)
	}
	return seqs, nil
}
