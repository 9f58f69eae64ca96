package sink

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// patiently does a step again until Postgres takes it, as a sink does with its batches. Every step may be done twice.
func (b *pastBuilder) patiently(ctx context.Context, do func() error) error {
	return b.persist(ctx, ctx, do)
}

// mayBeginAgain reports whether a build that failed may be done once more: the database was started again, and lacks what this
// build had committed, as a replica does that took over. Else it returns what to say. A schema that another build has taken
// since is that one's.
func (b *pastBuilder) mayBeginAgain(ctx context.Context, err error) (bool, error) {
	moved := errors.Is(err, ErrMoved)
	if ctx.Err() != nil || !moved && classify(err) != faultSchema {
		return false, err
	}
	var server time.Time
	var taken bool
	lookErr := b.patiently(ctx, func() (err error) {
		if server, err = b.serverStart(ctx); err != nil {
			return err
		}
		c, found, err := FindCopy(ctx, b.cfg.Pool, b.live, b.o.Schema)
		taken = found && !c.CreatedAt.Equal(b.registered)
		return err
	})
	switch {
	case lookErr != nil:
		return false, errors.Join(err, lookErr)
	case !taken && !server.Equal(b.server):
		return true, err
	case moved:
		err = fmt.Errorf("schema %s was taken by another build: run it again (%w)", b.o.Schema, err)
	}
	return false, err
}

// serverStart returns when the database was started.
func (b *pastBuilder) serverStart(ctx context.Context) (at time.Time, err error) {
	if err := b.cfg.Pool.QueryRow(ctx, `select pg_postmaster_start_time()`).Scan(&at); err != nil {
		return at, fmt.Errorf("ask when the database was started: %w", err)
	}
	return at, nil
}
