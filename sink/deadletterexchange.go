package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// exchangeDeadLetters leaves the live tables with the dead letters that stand once the tables have changed places.
//
// Those that a sink made explain what the tables lack, so they go with the tables: one that the new tables do not have is
// obsolete, since its message could be applied, or a newer one of the same record was. Those of the source stay as they are:
// the log has those too that were resolved or dropped since, so that of the copy's only what the live tables have not got to
// comes. Nothing of it holds between two streams, where the same sequence is another message: all of theirs change places.
func (r *rebuilding) exchangeDeadLetters(ctx context.Context, tx pgx.Tx, objects []string) error {
	if !r.sameLog {
		return r.exchangeStreams(ctx, tx, objects)
	}
	live, other := quote(r.live, "dead_letters"), quote(r.copy, "dead_letters")
	// Of some object types only the tables of records, definitions and pipelines are new: what could not be applied of their
	// links and cursors is lacking still.
	const ours = `origin = 'sink' and stream = $1 and ($2 or object = any($3) and
		split_part(subject, '.', 3) not in ('_links', '_cursor', '_run', '_dead_letter'))`
	args := []any{r.a.stream, r.whole(), objects}
	var coming, were []int64
	err := tx.QueryRow(ctx, `select (select coalesce(array_agg(seq), '{}') from `+other+` where `+ours+`),
		(select coalesce(array_agg(seq), '{}') from `+live+` where `+ours+`)`, args...).Scan(&coming, &were)
	if err != nil {
		return err
	}
	err = r.insertStatic(ctx, tx, "dead_letters", r.copy, r.live, `where stream = $1 and (seq = any($3) or $2 and origin = 'source'
		and seq > (select coalesce(max(seq), 0) from `+quote(r.live, "positions")+` where stream = $1)) on conflict do nothing`,
		r.a.stream, r.whole(), coming)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `delete from `+other+` where `+ours, args...); err != nil {
		return err
	}
	if err := r.insertStatic(ctx, tx, "dead_letters", r.live, r.copy, `where stream = $1 and seq = any($2) on conflict do nothing`, r.a.stream, were); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `delete from `+live+` where `+ours+` and seq <> all($4)`, append(args, coming)...)
	return err
}

// exchangeStreams lets all dead letters of the tables that change places change places, too: those of a stream and of the one
// that was made anew under its name. They pass each other under a name that no stream has. NATS rule: it has no spaces.
func (r *rebuilding) exchangeStreams(ctx context.Context, tx pgx.Tx, objects []string) error {
	live, other := quote(r.live, "dead_letters"), quote(r.copy, "dead_letters")
	const theirs, passing = ` where stream = $1 and ($2 or object = any($3))`, ` where stream = 'passing ' || $1::text`
	args := []any{r.a.stream, r.whole(), objects}
	c, err := r.staticColumns(ctx, tx, "dead_letters")
	if err != nil {
		return err
	}
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{`update ` + live + ` set stream = 'passing ' || $1::text` + theirs, args},
		{`insert into ` + live + ` (` + c.all + `) select ` + c.all + ` from ` + other + theirs, args},
		{`delete from ` + other + theirs, args},
		{`insert into ` + other + ` (` + c.all + `) select ` + c.all + ` from ` + live + passing, args[:1]},
		{`delete from ` + live + passing, args[:1]},
		{`update ` + other + ` set stream = $1` + passing, args[:1]},
	} {
		if _, err := tx.Exec(ctx, step.sql, step.args...); err != nil {
			return fmt.Errorf("of two streams: %w", err)
		}
	}
	return nil
}

// dropRead removes the letters of records that the source has read since.
func (r *rebuilding) dropRead(ctx context.Context) error {
	if !r.whole() || r.foreign {
		return nil
	}
	if _, err := r.s.ReadSince(ctx, DeadLetters{}); err != nil {
		return fmt.Errorf("the tables are swapped in, but not all dead letters of what was read since are gone (`hubtail dead-letters redrive`): %w", err)
	}
	return nil
}
