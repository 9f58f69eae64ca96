package sink

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/schemas"
)

// earlierSet is a set of links of a live table with a dead letter about the same set.
type earlierSet struct {
	subject string // of both
	seq     int64  // of the set
	reason  string // of the letter
}

// lettersOfSets joins the dead letters d of a schema about sets of links with the live sets l of the same record, laterLetters
// leaves those of events after the set's, and sameSet selects what the copy has of the set.
const (
	lettersOfSets = ` d join {sets} l on l.from_object = d.object and l.from_id = case when d.record_id ~ '^-?[0-9]{1,18}$' then d.record_id::bigint end
where d.stream = $1 and d.origin = 'sink' and split_part(d.subject, '.', 3) = '_links'`
	laterLetters = ` and l._seq > 0 and l._seq < d.seq`
	sameSet      = `select from {new} n where n.from_object = l.from_object and n.from_id = l.from_id and n.to_object = l.to_object`
)

// earlierSets returns live sets of links that have letters in a schema, as a condition says.
func (r *rebuilding) earlierSets(ctx context.Context, db queryer, letters, where string, args ...any) ([]earlierSet, error) {
	rows, err := db.Query(ctx, `select d.subject, l.to_object, l._seq, min(d.reason) from `+quote(letters, "dead_letters")+
		strings.NewReplacer("{sets}", quote(r.live, "link_sets"), "{new}", quote(r.copy, "link_sets")).Replace(lettersOfSets+where)+` group by 1, 2, 3 order by 3`, append([]any{r.a.stream}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("read sets of links with dead letters: %w", err)
	}
	var sets []earlierSet
	var s earlierSet
	var to string
	_, err = pgx.ForEachRow(rows, []any{&s.subject, &to, &s.seq, &s.reason}, func() error {
		if of, err := schemas.ParseSubject(s.subject); err == nil && clean(of.To) == to {
			sets = append(sets, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read sets of links with dead letters: %w", err)
	}
	return sets, nil
}

// setEvent returns the event that a set is from; nil if the log no longer has it.
func (r *rebuilding) setEvent(ctx context.Context, s earlierSet) (*Message, error) {
	m, err := r.messageOf(ctx, DeadLetter{Seq: s.seq, Truncated: true})
	if err != nil || m == nil || m.Subject != s.subject {
		return nil, err
	}
	return m, nil
}

// keepEarlierSets gives the copy the sets of links that the live tables have, where the last one is among the dead letters of a
// schema.
func (r *rebuilding) keepEarlierSets(ctx context.Context, letters string) error {
	sets, err := r.earlierSets(ctx, r.pool, letters, laterLetters+` and not exists (`+sameSet+`)`)
	if err != nil {
		return err
	}
	var messages []Message
	for i, s := range sets {
		m, err := r.setEvent(ctx, s)
		if err != nil {
			return err
		}
		if m != nil {
			messages = append(messages, *m)
		}
		if len(messages) > 0 && (len(messages) == redriveRows || i == len(sets)-1) {
			if err := r.a.Apply(ctx, messages, 0); err != nil {
				return fmt.Errorf("apply earlier sets of links: %w", err)
			}
			messages = nil
		}
	}
	return nil
}

// forgotSets describes sets of links that would go, since their event is no longer in the log and a later one is a dead letter.
func (r *rebuilding) forgotSets(ctx context.Context, tx pgx.Tx) (string, error) {
	sets, err := r.earlierSets(ctx, tx, r.live, laterLetters)
	if err != nil {
		return "", err
	}
	gone := 0
	for _, s := range sets {
		m, err := r.setEvent(ctx, s)
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
	return fmt.Sprintf("%d sets of links, whose later events are dead letters, and whose own the log no longer has: see to `hubtail dead-letters redrive`", gone), nil
}

// noSetsRefused refuses new tables of links that lack a set that the live ones have, since it is a dead letter of theirs.
func (r *rebuilding) noSetsRefused(ctx context.Context, db queryer) error {
	where := ` and d.sqlstate like '23%' and not exists (` + sameSet + `)`
	var args []any
	if r.sameLog {
		where, args = ` and l._seq <= $2 and not exists (`+sameSet+` and n._seq >= l._seq)`, []any{int64(r.position)}
	}
	sets, err := r.earlierSets(ctx, db, r.copy, where, args...)
	if err != nil || len(sets) == 0 {
		return err
	}
	return fmt.Errorf("the new tables of links refused %d sets that the live ones have (%s: %s), so nothing was swapped: see to what is on the tables, or lose them with --force",
		len(sets), sets[0].subject, sets[0].reason)
}
