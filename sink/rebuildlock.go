package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// aloneWait is how long a rebuild waits for another one to end: the server notices late that a killed one is gone.
const aloneWait = 3 * time.Second

// alone makes sure that no other rebuild of these tables works at the same time, until the returned function is called or the
// process dies. The lock belongs to a transaction, so that a transaction pooler will do; it holds nothing else.
func (r *rebuilding) alone(ctx context.Context) (release func(), err error) {
	tx, err := r.pool.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	_, err = tx.Exec(ctx, `select set_config(name, '0', true) from pg_settings where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')`)
	for began, got := time.Now(), false; err == nil && !got; {
		err = tx.QueryRow(ctx, `select pg_try_advisory_xact_lock(hashtextextended('hubtail rebuild ' || $1, 0))`, r.live).Scan(&got)
		switch {
		case err != nil || got:
		case time.Since(began) > aloneWait:
			err = ErrRebuilding
		case !pause(ctx, 50*time.Millisecond):
			err = ctx.Err()
		}
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(ctx)) } //nolint:errcheck // the end of the connection releases it as well
	if err == nil {
		// Postgres rule: the portal of the statement before keeps its snapshot until another statement takes its place, and
		// awaitSnapshots would wait for that. A simple one leaves none.
		err = execAll(ctx, tx, `select 1`)
	}
	if err != nil {
		release()
		return nil, err
	}
	r.lock = tx
	return release, nil
}

// stillAlone reports that the lock is gone with its connection: another rebuild may have begun.
func (r *rebuilding) stillAlone(ctx context.Context) error {
	if err := execAll(ctx, r.lock, `select 1`); err != nil {
		return fmt.Errorf("the connection that kept other rebuilds away was lost, the live tables are as they were: run it again: %w", err)
	}
	return nil
}

// Rebuilding reports whether a rebuild of a schema is under way.
func Rebuilding(ctx context.Context, pool *pgxpool.Pool, live string) (is bool, err error) {
	err = pool.QueryRow(ctx, `select not pg_try_advisory_xact_lock_shared(hashtextextended('hubtail rebuild ' || $1, 0))`, live).Scan(&is)
	if err != nil {
		return false, fmt.Errorf("look for a rebuild of %s: %w", live, err)
	}
	return is, nil
}
