package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrMoved says that the database may lack transactions that were committed: it was restarted, restored from a backup, or
// failed over to a replica. The sink then reads its position again and applies from there.
var ErrMoved = errors.New("the database is not as this sink left it: it was restarted, restored or failed over")

// ErrOtherPortal says that tables of one portal were about to get records of another.
var ErrOtherPortal = errors.New("the message is from another portal than the tables: give each portal its own --schema and set --portal")

// ErrOtherStream says that the stream was deleted and created again, so the sequences in the tables mean nothing in it.
var ErrOtherStream = errors.New("the stream is not the one the tables were filled from")

// position is a row of positions.
type position struct {
	portal  string
	created time.Time
	seq     uint64 // everything up to here is in the tables
	high    uint64 // the newest that is in the tables
}

// positionSQL moves the position forward. It fails, and with it the transaction, if the database has not seen what this
// sink committed before ($7), was started again since this sink looked where the tables are ($9), or belongs to another
// stream or portal: see ownError.
//
// The time of the start matters to sinks that share a consumer. What another sink has acknowledged counts here as applied,
// and a replica that took over may lack just that.
func positionSQL(schema string) string {
	t := quote(schema, "positions")
	return `with moved as (insert into ` + t + ` as p (stream, consumer, stream_created, portal, seq, high, withheld)
select $1, $2, $3, $4, $5, $6, $8
where ($7 = 0 or exists (select from ` + t + ` where stream = $1 and consumer = $2 and high >= $7))
and ($9::timestamptz is null or pg_postmaster_start_time() = $9)
on conflict (stream, consumer) do update set seq = greatest(p.seq, excluded.seq), high = greatest(p.high, excluded.high),
portal = coalesce(p.portal, excluded.portal), withheld = least(p.withheld, excluded.withheld), updated_at = now()
where p.high >= $7 and p.stream_created = excluded.stream_created and coalesce(p.portal = excluded.portal, true)
returning 1)
select case when count(*) = 1 then 0 else ('hubtail: moved ' || count(*))::integer end from moved`
}

// ownError recognises the failures that statements of ours bring about on purpose, as casts of a text that says which:
// so a whole transaction, checks and commit included, travels in one message and stops by itself where a check fails.
func ownError(err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "22P02" {
		return err
	}
	switch {
	case strings.Contains(pgErr.Message, "hubtail: moved"):
		return ErrMoved
	case strings.Contains(pgErr.Message, "hubtail: stale"):
		return errStale
	}
	return err
}

// positionParams are for positionSQL. withheld is the lowest sequence of what this transaction withholds, 0 for none.
func (a *Applier) positionParams(high, position, withheld uint64) *params {
	p := &params{}
	p.text(a.stream).text(a.consumer).time(a.created).textOrNull(a.portalName())
	p.int8(int64(position)).int8(int64(high)).int8(a.fence.Load())
	if withheld > 0 {
		p.int8(int64(withheld))
	} else {
		p.add(oidInt8, nil)
	}
	return p.time(a.server)
}

// writePosition moves the position over a connection that may be in a transaction; else it is one of its own.
func (a *Applier) writePosition(ctx context.Context, conn *pgconn.PgConn, high, position uint64) error {
	batch := &pgconn.Batch{}
	a.positionParams(high, position, 0).queue(batch, positionSQL(a.schema))
	if _, err := conn.ExecBatch(ctx, batch).ReadAll(); err != nil {
		return fmt.Errorf("write position: %w", ownError(err))
	}
	return nil
}

// movePosition moves the position alone.
func (a *Applier) movePosition(ctx context.Context, high, position uint64) error {
	ctx, cancel := context.WithTimeout(ctx, a.answer)
	defer cancel()
	return a.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		return a.writePosition(ctx, conn.Conn().PgConn(), high, position)
	})
}

// readPosition reads where the tables are, all zero if nothing was ever applied. A position of another consumer of the
// same stream counts for the stream's identity and the portal, not for the sequence.
func (a *Applier) readPosition(ctx context.Context) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, a.answer)
	defer cancel()
	var p position
	rows, err := a.pool.Query(ctx, `select consumer = $2, coalesce(portal, ''), stream_created, seq, high
		from `+quote(a.schema, "positions")+` where stream = $1`, a.stream, a.consumer)
	if err != nil {
		return p, fmt.Errorf("read position: %w", err)
	}
	var own bool
	var other position
	_, err = pgx.ForEachRow(rows, []any{&own, &other.portal, &other.created, &other.seq, &other.high}, func() error {
		if own {
			p.seq, p.high = other.seq, other.high
		}
		p.created = other.created
		if other.portal != "" {
			p.portal = other.portal
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("read position: %w", err)
	}
	return p, nil
}

// readServer notes which run of the server this is: commits are refused once it is another. A server that was started
// again may be a replica that took over, and lack what others, or this sink, have committed.
func (a *Applier) readServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.answer)
	defer cancel()
	if err := a.pool.QueryRow(ctx, `select pg_postmaster_start_time()`).Scan(&a.server); err != nil {
		return fmt.Errorf("ask when the database was started: %w", err)
	}
	return nil
}

// installation reads which tables these are.
func (a *Applier) installation(ctx context.Context) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.answer)
	defer cancel()
	err = a.pool.QueryRow(ctx, `select id::text from `+quote(a.schema, "installation")).Scan(&id)
	if err != nil {
		return "", fmt.Errorf("read the tables' identity: %w", err)
	}
	return id, nil
}
