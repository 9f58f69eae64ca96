package sink

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Patient runs single statements that may take longer than the role's statement_timeout allows, on Supabase two minutes or
// eight seconds: each in a transaction of its own, which has a timeout of its own. That works through a transaction pooler,
// too, which takes no settings of a session.
type Patient struct{ Pool *pgxpool.Pool }

// patience is how long one statement may take: a million rows of 1,600 columns are read in minutes on a small server.
const patience = `select set_config('statement_timeout', '10min', true)`

func (a *Applier) patient() Patient { return Patient{a.pool} }

// Query is pgxpool.Pool's. The rows must be closed.
func (p Patient) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	tx, err := p.Pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	var rows pgx.Rows
	if _, err = tx.Exec(ctx, patience); err == nil {
		rows, err = tx.Query(ctx, sql, args...)
	}
	if err != nil {
		_ = tx.Rollback(ctx) // the error says more
		return nil, err
	}
	return &patientRows{Rows: rows, ctx: ctx, tx: tx}, nil
}

// QueryRow is pgxpool.Pool's.
func (p Patient) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := p.Query(ctx, sql, args...)
	return patientRow{rows, err}
}

// Exec is pgxpool.Pool's.
func (p Patient) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	rows, err := p.Query(ctx, sql, args...)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows.Close()
	return rows.CommandTag(), rows.Err()
}

// patientRows ends the transaction when they are closed.
type patientRows struct {
	pgx.Rows
	ctx    context.Context //nolint:containedctx // Close has none
	tx     pgx.Tx
	closed bool
	err    error // of the commit
}

func (r *patientRows) Close() {
	r.Rows.Close()
	if r.closed {
		return
	}
	r.closed = true
	if r.Rows.Err() != nil {
		_ = r.tx.Rollback(r.ctx) // the error of the rows says more
		return
	}
	r.err = r.tx.Commit(r.ctx)
}

func (r *patientRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.err
}

type patientRow struct {
	rows pgx.Rows
	err  error
}

func (r patientRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		r.rows.Close()
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
