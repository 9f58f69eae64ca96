package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ApplierConfig says where an Applier writes, and which log it writes from.
type ApplierConfig struct {
	Pool     *pgxpool.Pool
	Schema   string    // migrated; "" is "hubspot"
	Stream   string    // name of the stream
	Created  time.Time // when the stream was created: its identity
	Consumer string    // under which name the position is kept
	Portal   string    // "" takes the portal of the first message
	Logger   *slog.Logger
}

// Applier applies messages of the log to one schema. Live events, replays and rebuilds all go through it, and it is all
// the same in which order or how often a message comes: what the tables have already, or newer, stays.
//
// Apply must not be called concurrently; several Appliers, in any number of processes, may write to one schema.
type Applier struct {
	pool                     *pgxpool.Pool
	schema, stream, consumer string
	created                  time.Time
	log                      *slog.Logger
	catalogue                catalogue

	fence     atomic.Int64 // the newest sequence this Applier committed: a database that lacks it was set back
	skipKnown atomic.Bool  // the last batches were mostly known: look before decoding

	mu     sync.Mutex // guards portal
	portal string

	counts counts
}

// counts are totals since the start.
type counts struct {
	messages, written, unchanged, dead atomic.Int64
}

// NewApplier returns an Applier for a migrated schema.
func NewApplier(cfg ApplierConfig) *Applier {
	if cfg.Schema == "" {
		cfg.Schema = DefaultSchema
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Applier{
		pool: cfg.Pool, schema: cfg.Schema, stream: cfg.Stream, consumer: cfg.Consumer,
		created: cfg.Created.UTC().Truncate(time.Microsecond), // as Postgres keeps it
		portal:  cfg.Portal, log: cfg.Logger, catalogue: catalogue{schema: cfg.Schema},
	}
}

// Apply applies messages, in any order, and moves the position: every message up to position is in the tables
// afterwards (0: the caller cannot say). Each run of messages between two changes of columns is one transaction that
// has the position in it. When Apply returns an error, what was applied before it stays, and applying all again is
// harmless.
func (a *Applier) Apply(ctx context.Context, messages []Message, position uint64) error {
	b, err := a.prepare(ctx, messages, position)
	if err != nil {
		return err
	}
	return a.commit(ctx, b)
}

// batch is messages on their way into the tables.
type batch struct {
	segments []*segment
	position uint64
}

// prepare decodes messages and encodes their rows, as far as that can be done while the batch before is being written.
func (a *Applier) prepare(ctx context.Context, messages []Message, position uint64) (*batch, error) {
	segments, err := a.split(messages)
	if err != nil {
		return nil, err
	}
	for i, s := range segments {
		for _, g := range s.groups {
			if a.skipKnown.Load() && g.offered > 10 {
				if err := a.dropKnown(ctx, g); err != nil {
					return nil, err
				}
			}
			// After a change of columns within this very batch, rows would have to be built again: commit builds them.
			if i == 0 && len(g.messages) > 0 {
				if err := a.build(ctx, g); err != nil {
					return nil, err
				}
			}
		}
	}
	return &batch{segments, position}, nil
}

// commit writes the segments, each with the position that holds once it is written.
func (a *Applier) commit(ctx context.Context, b *batch) error {
	if len(b.segments) == 0 && b.position > 0 {
		return a.movePosition(ctx, b.position, b.position)
	}
	for i, s := range b.segments {
		position := b.position
		if i+1 < len(b.segments) {
			position = min(position, b.segments[i+1].messages[0].Seq-1)
		}
		if err := a.commitSegment(ctx, s, position); err != nil {
			return err
		}
		a.counts.messages.Add(int64(len(s.messages)))
	}
	return nil
}

func (a *Applier) commitSegment(ctx context.Context, s *segment, position uint64) error {
	err := a.commitSegmentOnce(ctx, s, position)
	if err == nil || classify(err) != faultData {
		return err
	}
	return a.isolate(ctx, s, position, err)
}

// isolate finds the message that Postgres refuses, by halving the segment, and puts it into dead_letters. All others are
// applied.
func (a *Applier) isolate(ctx context.Context, s *segment, position uint64, cause error) error {
	if n := len(s.messages); n > 1 {
		before := min(position, s.messages[n/2].Seq-1)
		if err := a.Apply(ctx, slices.Clone(s.messages[:n/2]), before); err != nil {
			return err
		}
		return a.Apply(ctx, slices.Clone(s.messages[n/2:]), position)
	}
	m := s.messages[0]
	d := deadLetterOf(m, cause)
	a.log.WarnContext(ctx, "event goes to dead_letters", "subject", d.subject, "seq", m.Seq, "sqlstate", d.state, "reason", d.reason)
	alone := newSegment()
	alone.messages, alone.dead = s.messages, []deadLetter{d}
	return a.commitSegmentOnce(ctx, alone, position)
}

func (a *Applier) commitSegmentOnce(ctx context.Context, s *segment, position uint64) error {
	high := s.messages[len(s.messages)-1].Seq
	if err := a.tryCommit(ctx, s, high, position); err != nil {
		return err
	}
	a.fence.Store(max(a.fence.Load(), int64(high)))
	return nil
}

// errStale says that rows were prepared for a table that has changed since.
var errStale = errors.New("the table has changed")

func (a *Applier) tryCommit(ctx context.Context, s *segment, high, position uint64) error {
	if s.definitions != nil {
		return a.applyDefinitions(ctx, s.definitions, high, position)
	}
	for object := range s.pipelines {
		if a.catalogue.get(object) == nil {
			if t, err := a.catalogue.load(ctx, a.pool, object); err != nil {
				return err
			} else if t == nil {
				if _, err := a.createTable(ctx, object); err != nil {
					return err
				}
			}
		}
	}
	for attempt := 0; ; attempt++ {
		for _, g := range s.groups {
			if t := a.catalogue.get(g.object); len(g.messages) > 0 && (g.set == nil || t != g.set.table) {
				if err := a.build(ctx, g); err != nil {
					return err
				}
			}
		}
		err := a.write(ctx, s, high, position)
		// A stale catalogue is found by the generation, or by Postgres if the owner changed the table by hand.
		if err != nil && attempt < 3 && (errors.Is(err, errStale) || classify(err) == faultSchema) {
			for _, g := range s.groups {
				a.catalogue.forget(g.object)
			}
			continue
		}
		return err
	}
}

// write sends a segment in one message: begin, locks, rows, everything else, position. It commits when the answer shows
// that the tables are what the rows were built for, and the database the one it was.
func (a *Applier) write(ctx context.Context, s *segment, high, position uint64) error {
	var sets []*rowSet
	offered := 0
	for _, g := range s.groups {
		offered += g.offered
		if g.set != nil && len(g.set.rows) > 0 {
			sets = append(sets, g.set)
		}
	}
	if len(sets) == 0 && s.onlyKnown() {
		a.count(s, int64(offered), 0)
		return a.movePosition(ctx, high, position)
	}
	request := &pgconn.Batch{}
	checks, first := len(sets) > 0, 1
	if checks {
		first = a.queueLocks(request, sets)
	} else {
		request.ExecParams("begin", nil, nil, nil, nil)
	}
	for _, set := range sets {
		set.queueUpsert(request, a.schema)
	}
	a.queueControl(request, s)
	a.positionParams(high, position).queue(request, positionSQL(a.schema))

	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Release() // closes the connection if a transaction is still open
	results, err := conn.Conn().PgConn().ExecBatch(ctx, request).ReadAll()
	if err == nil {
		err = verify(results, sets, checks)
	}
	if err != nil {
		if !conn.Conn().PgConn().IsClosed() {
			_, _ = conn.Conn().PgConn().Exec(ctx, "rollback").ReadAll()
		}
		return fmt.Errorf("write rows: %w", err)
	}
	if _, err := conn.Conn().PgConn().Exec(ctx, "commit").ReadAll(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	written := int64(0)
	for i := range sets {
		written += results[first+i].CommandTag.RowsAffected()
	}
	a.count(s, int64(offered), written)
	return nil
}

// movePosition writes the position alone, which is a transaction of its own.
func (a *Applier) movePosition(ctx context.Context, high, position uint64) error {
	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Release()
	request := &pgconn.Batch{}
	a.positionParams(high, position).queue(request, positionSQL(a.schema))
	results, err := conn.Conn().PgConn().ExecBatch(ctx, request).ReadAll()
	if err != nil {
		return fmt.Errorf("write position: %w", err)
	}
	return verify(results, nil, false)
}

// queueLocks begins the transaction, holds off changes of the tables until it ends, and asks for their generations.
// It returns how many statements that took.
func (a *Applier) queueLocks(request *pgconn.Batch, sets []*rowSet) int {
	objects := make([]string, len(sets))
	for i, set := range sets {
		objects[i] = set.table.object
	}
	request.ExecParams("begin", nil, nil, nil, nil)
	request.ExecParams(`select set_config('statement_timeout', '60s', true), set_config('lock_timeout', '10s', true)`, nil, nil, nil, nil)
	(&params{}).text(a.schema).texts(objects).queue(request,
		`select pg_advisory_xact_lock_shared(hashtextextended('hubtail ' || $1 || '.' || o, 0)) from unnest($2) o`)
	(&params{}).texts(objects).queue(request, `select object, generation::text from `+quote(a.schema, "objects")+` where object = any($1)`)
	return 4
}

// verify checks the answers: the generations, which are the fourth, and the position, which is the last.
func verify(results []*pgconn.Result, sets []*rowSet, checks bool) error {
	if results[len(results)-1].CommandTag.RowsAffected() != 1 {
		return ErrMoved
	}
	if !checks {
		return nil
	}
	generations := make(map[string]string, len(sets))
	for _, row := range results[3].Rows {
		generations[string(row[0])] = string(row[1])
	}
	for _, set := range sets {
		if generations[set.table.object] != fmt.Sprint(set.table.generation) {
			return errStale
		}
	}
	return nil
}

// count adds to the totals, and decides whether looking before decoding pays: not while everything is new.
func (a *Applier) count(s *segment, offered, written int64) {
	a.counts.written.Add(written)
	a.counts.unchanged.Add(offered - written)
	a.counts.dead.Add(int64(len(s.dead)))
	for _, g := range s.groups {
		a.counts.dead.Add(int64(len(g.dead)))
	}
	if offered > 0 {
		a.skipKnown.Store(written < offered/2)
	}
}

func (a *Applier) checkPortal(portal string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.portal == "" {
		a.portal = portal
	}
	if a.portal != portal {
		return fmt.Errorf("%w (tables: %s, message: %s)", ErrOtherPortal, a.portal, portal)
	}
	return nil
}

func (a *Applier) portalName() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.portal
}
