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
	answer                   time.Duration // after how long without one a connection counts as dead
	server                   time.Time     // which run of the server it writes to; zero: it does not matter
	log                      *slog.Logger
	catalogue                catalogue
	rowSets                  rowSetPool
	skip                     map[uint64]bool // sequences of messages that are not applied: a rebuild applies them later
	heldFor                  string          // schema of the live tables whose held columns keep their types in this copy, too; "": this is none

	fence     atomic.Int64 // the newest sequence this Applier committed: a database that lacks it was set back
	allNew    atomic.Bool  // the last batch was big and all of it new: write the next without looking what is there
	skipKnown atomic.Bool  // the last batches were mostly known: look before decoding

	reshapeDue chan struct{} // tells whoever reshapes tables beside this Applier; nil: it does so itself

	copyErasuresDue   atomic.Bool  // copies of the tables may have deletions for privacy to carry out
	copyErasuresTried atomic.Int64 // when that last failed, in nanoseconds; 0: it did not

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
	a := &Applier{
		answer: DefaultAnswerTimeout,
		pool:   cfg.Pool, schema: cfg.Schema, stream: cfg.Stream, consumer: cfg.Consumer,
		created: cfg.Created.UTC().Truncate(time.Microsecond), // as Postgres keeps it
		portal:  cfg.Portal, log: cfg.Logger, catalogue: catalogue{schema: cfg.Schema},
	}
	a.skipKnown.Store(true)       // until the first batch shows how it is
	a.copyErasuresDue.Store(true) // to look, at least
	return a
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
				// What is wrong with one message, commit meets again and isolates.
				if err := a.build(ctx, g, s.rewrite); err != nil && classify(err) != faultData {
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
		if len(purged(s.groups).ids) > 0 {
			a.copyErasuresDue.Store(true)
		}
		for _, g := range s.groups {
			a.rowSets.put(g.set)
			g.set = nil
		}
	}
	a.eraseInCopies(ctx)
	return nil
}

func (a *Applier) commitSegment(ctx context.Context, s *segment, position uint64) error {
	err := a.commitSegmentOnce(ctx, s, position)
	switch {
	case err != nil && classify(err) == faultData:
		return a.isolate(ctx, s, position, err)
	case takesTooLong(err) && len(s.messages) > 1:
		return a.applyHalves(ctx, s, position) // or it would take too long for ever
	}
	return err
}

// takesTooLong recognises Postgres' statement_timeout.
func takesTooLong(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "57014"
}

// applyHalves applies a segment as two, each with the position that holds once it is written. What was to be written once
// more still is: in a refill, too, another sink may add a row at the same moment, and the batch is halved for it.
func (a *Applier) applyHalves(ctx context.Context, s *segment, position uint64) error {
	n := len(s.messages)
	if s.rewrite {
		if err := a.rewrite(ctx, slices.Clone(s.messages[:n/2])); err != nil {
			return err
		}
		return a.rewrite(ctx, slices.Clone(s.messages[n/2:]))
	}
	before := min(position, s.messages[n/2].Seq-1)
	if err := a.Apply(ctx, slices.Clone(s.messages[:n/2]), before); err != nil {
		return err
	}
	return a.Apply(ctx, slices.Clone(s.messages[n/2:]), position)
}

// isolate finds the message that Postgres refuses, by halving the segment, and puts it into dead_letters. All others are
// applied.
func (a *Applier) isolate(ctx context.Context, s *segment, position uint64, cause error) error {
	if len(s.messages) > 1 {
		return a.applyHalves(ctx, s, position)
	}
	m := s.messages[0]
	d := deadLetterOf(m, cause)
	if set := refusedPurge(s); set != nil {
		return a.applyRefusedPurge(ctx, s, set, d, position) // no ordinary letter: the values must go
	}
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
				if err := a.build(ctx, g, s.rewrite); err != nil {
					return err
				}
			}
		}
		err := a.write(ctx, s, high, position)
		if errors.Is(err, errNotNew) {
			a.allNew.Store(false)
			continue
		}
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
