package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/migrations"
)

// AsOfOptions say which past is built, and where.
type AsOfOptions struct {
	Schema  string         // where the tables go: a new schema, or one that holds tables as of another moment
	At      history.Moment // of the log
	Objects []string       // none means all
	// Partial leaves out the records whose versions of then are no longer kept, which AsOf.Missing names, and those that had not
	// been loaded yet, of the object types that AsOf.Unloaded names. Without it they are an error.
	Partial  bool
	Progress func(done, total int64) // subjects; called now and then, if set
}

// AsOf is what BuildAsOf built.
type AsOf struct {
	Schema   string         `json:"schema"`
	At       history.Moment `json:"at"`
	Objects  []string       `json:"objects,omitempty"` // none means all
	Messages int64          `json:"messages"`          // applied: the newest of each subject at the moment
	Written  int64          `json:"rows_written"`      // of records
	Erased   int            `json:"erased"`            // records that were deleted for privacy since: their rows are tombstones
	// Replaced are object types whose definitions or pipelines of then are no longer kept: the nearest later ones are used.
	Replaced []string      `json:"replaced_definitions,omitempty"`
	Missing  []history.Gap `json:"missing,omitempty"` // what is left out, if Partial
	// Unloaded are, if Partial, the object types whose first load had not ended.
	Unloaded []history.Unloaded `json:"not_loaded,omitempty"`
	// Forgotten says, if Partial, that the stream has limits and may have forgotten whole records; "" if it has not.
	Forgotten string  `json:"forgotten,omitempty"`
	Seconds   float64 `json:"seconds"`
}

// asOfConsumer begins the name under which a schema of the past keeps its position. No consumer of the log has it, and no
// two builds have the same one: the tables of a build that another one has replaced take nothing of it any more.
const asOfConsumer = "as-of "

// ErrNotAsOf says that a schema is there and holds something else than tables as of some moment, built from this log.
var ErrNotAsOf = errors.New("the schema holds something else than tables as of some moment")

// BuildAsOf builds the tables as they were at a moment of the log, in a schema of their own: with the definitions of then,
// through the function that applies everything, and only the message of each subject that was its newest then. Live tables
// and consumers are not touched. The schema is registered as a copy, so that later deletions for privacy reach it; what was
// deleted between the moment and now is a tombstone, whatever it was. A schema of another moment is replaced.
//
// Where the log no longer keeps what it takes, or had not got it yet, BuildAsOf leaves no schema and returns a
// history.NotCoveredError. While Postgres is away it waits, and then goes on, or begins again where the database was set back.
func (s *Sink) BuildAsOf(ctx context.Context, o AsOfOptions) (*AsOf, error) {
	began := time.Now()
	for attempt := 0; ; attempt++ {
		b := &pastBuilder{Sink: s, o: o, live: s.cfg.Schema, result: AsOf{Schema: o.Schema, At: o.At, Objects: o.Objects}}
		err := b.prepare(ctx)
		if err == nil {
			err = b.build(ctx)
		}
		if err == nil {
			b.result.Seconds = time.Since(began).Seconds()
			return &b.result, nil
		}
		again, err := b.mayBeginAgain(ctx, err)
		if !again || !pause(ctx, backoff(attempt)) {
			return nil, advise(err)
		}
		s.cfg.Logger.WarnContext(ctx, "tables as of a moment are begun again", "schema", o.Schema, "error", err)
	}
}

// pastBuilder builds the tables of one moment.
type pastBuilder struct {
	*Sink
	o          AsOfOptions
	live       string // the schema where the copy is registered
	portal     string
	a          *Applier // of the copy
	result     AsOf
	server     time.Time // when the database was started
	registered time.Time // when the copy was
}

// prepare makes the empty schema and registers it, before and after: a deletion for privacy that meets a registered copy
// without tables takes it for dropped, and what is left of a run that dies is a copy of ours. Nothing of the log is read before.
func (b *pastBuilder) prepare(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.look, b.clear, b.register, b.migrate, b.register, b.begin} {
		if err := b.patiently(ctx, func() error { return step(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// look reads what the live tables are.
func (b *pastBuilder) look(ctx context.Context) error {
	live, stream, _, err := b.open(ctx)
	if err != nil {
		return err
	}
	if b.portal = live.portalName(); b.portal == "" {
		return fmt.Errorf("nothing of stream %s was ever applied to schema %s: run a sink first", b.cfg.Stream, b.live)
	}
	b.a = NewApplier(ApplierConfig{
		Pool: b.cfg.Pool, Schema: b.o.Schema, Stream: b.cfg.Stream, Created: stream.CachedInfo().Created,
		Consumer: asOfConsumer + time.Now().UTC().Format(time.RFC3339Nano), Portal: b.portal, Logger: b.cfg.Logger,
	})
	b.server, err = b.serverStart(ctx)
	return err
}

// migrate makes the schema and its static tables. A copy without a schema is none: it is taken off the list.
func (b *pastBuilder) migrate(ctx context.Context) error {
	err := migrations.Apply(ctx, b.cfg.Pool, b.o.Schema)
	if err == nil {
		return nil
	}
	_, _ = b.cfg.Pool.Exec(ctx, `delete from `+quote(b.live, "copies")+` where schema_name = $1 and to_regnamespace($2) is null`,
		b.o.Schema, quote(b.o.Schema)) // if that fails, too, the next build does it
	return fmt.Errorf("%w (a role that may not create schemas: once, as an administrator, `create schema %s authorization ...`)", err, quote(b.o.Schema))
}

// begin registers which tables these are, and writes the row that every transaction looks for from here on.
func (b *pastBuilder) begin(ctx context.Context) error {
	if err := noteIdentity(ctx, b.cfg.Pool, b.live, b.o.Schema); err != nil {
		return err
	}
	c, _, err := FindCopy(ctx, b.cfg.Pool, b.live, b.o.Schema)
	if err != nil {
		return err
	}
	b.registered = c.CreatedAt
	const begun = 1
	if err = b.a.movePosition(ctx, begun, 0); err == nil {
		b.a.fence.Store(begun)
	}
	return err
}

// register notes the copy in the live schema.
func (b *pastBuilder) register(ctx context.Context) error {
	return RegisterCopy(ctx, b.cfg.Pool, b.live, Copy{
		Schema: b.o.Schema, Kind: CopyAsOf, Stream: b.cfg.Stream, Objects: b.o.Objects, AsOfSeq: b.o.At.Seq, AsOf: b.o.At.Time, Phase: "reading the log",
	})
}

// clear makes room for the schema: one that is an as-of copy of this log goes, with what an earlier run left in it. Anything
// else stays, but for an empty schema.
func (b *pastBuilder) clear(ctx context.Context) error {
	if err := checkCopySchema(ctx, b.cfg.Pool, b.live, b.o.Schema, CopyAsOf); errors.Is(err, ErrCopyTaken) {
		return fmt.Errorf("%w: %w", ErrNotAsOf, err)
	} else if err != nil {
		return err
	}
	c, registered, err := FindCopy(ctx, b.cfg.Pool, b.live, b.o.Schema)
	switch {
	case err != nil || !registered:
		return err
	case c.Stream != b.cfg.Stream:
		return fmt.Errorf("%w: %s has tables of stream %s; name another one", ErrNotAsOf, b.o.Schema, c.Stream)
	}
	return DropCopy(ctx, b.cfg.Pool, b.live, b.o.Schema)
}

// build fills the schema. What it cannot fill because too little is kept, it drops again.
func (b *pastBuilder) build(ctx context.Context) error {
	log, err := history.Open(ctx, b.cfg.JetStream, b.cfg.Stream, b.portal)
	if err != nil {
		return err
	}
	state, err := log.At(ctx, b.o.At, b.o.Objects...)
	var gone *history.NotCoveredError
	if errors.As(err, &gone) && b.o.Partial && gone.Nothing == "" {
		b.result.Missing, b.result.Forgotten, b.result.Unloaded, err = gone.Gaps, gone.Forgotten, gone.Unloaded, nil
	}
	if gone != nil && err != nil {
		if dropErr := b.patiently(ctx, func() error { return DropCopy(ctx, b.cfg.Pool, b.live, b.o.Schema) }); dropErr != nil {
			return errors.Join(err, dropErr)
		}
	}
	if err != nil {
		return err
	}
	if err := b.fill(ctx, state); err != nil {
		return err
	}
	b.result.Messages, b.result.Written = b.a.counts.messages.Load(), b.a.counts.written.Load()
	return b.patiently(ctx, func() error {
		if err := b.a.movePosition(ctx, b.o.At.Seq, b.o.At.Seq); err != nil {
			return err
		}
		return NoteCopy(ctx, b.cfg.Pool, b.live, b.o.Schema, "", int64(state.Subjects()), int64(state.Subjects()), b.o.At.Seq)
	})
}

// fill applies the state: definitions first, so that rows find their columns; then what was erased since, so that no link
// leads there; then everything else, one batch being written while the next one is read.
func (b *pastBuilder) fill(ctx context.Context, state *history.State) error {
	definitions, replaced, err := state.Definitions(ctx)
	if err != nil {
		return err
	}
	b.result.Replaced, b.result.Erased = replaced, len(state.Purged())
	for i, entries := range [][]history.Entry{definitions, state.Purged()} {
		if i == 1 { // the tables are there
			if err := b.patiently(ctx, func() error { return b.seedErased(ctx) }); err != nil {
				return err
			}
		}
		messages := make([]Message, len(entries))
		for i, e := range entries {
			messages[i] = Message{Message: e.Message, Seq: e.Seq}
		}
		if err := b.patiently(ctx, func() error { return b.a.Apply(ctx, messages, 0) }); err != nil {
			return err
		}
	}
	batches := make(chan *batch)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(batches)
		return b.read(gctx, state, batches)
	})
	g.Go(func() error {
		return b.write(gctx, batches, int64(state.Subjects()))
	})
	return g.Wait()
}

// seedErased erases beforehand what the live tables have as deleted for privacy, in whichever log: a stream that was created
// again does not know it. The sequence is 0, below that of any deletion which this log has.
func (b *pastBuilder) seedErased(ctx context.Context) error {
	rows, err := b.cfg.Pool.Query(ctx, `select object, record_id from `+quote(b.live, "erased")+` where cardinality($1::text[]) = 0 or object = any($1) order by 1, 2`,
		append([]string{}, b.o.Objects...))
	if err != nil {
		return fmt.Errorf("read what was erased: %w", err)
	}
	sets := map[string]*rowSet{}
	var object string
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&object, &id}, func() error {
		if sets[object] == nil {
			sets[object] = &rowSet{}
		}
		sets[object].rows = append(sets[object].rows, tombstone(id, 0))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what was erased: %w", err)
	}
	for object, set := range sets {
		if set.table, err = b.a.tableOf(ctx, object); err == nil && set.table == nil {
			set.table, err = b.a.createTable(ctx, object)
		}
		if err == nil {
			err = pgx.BeginFunc(ctx, b.cfg.Pool, func(tx pgx.Tx) error { return writeTombstones(ctx, tx, b.o.Schema, set) })
		}
		if err != nil {
			return fmt.Errorf("keep erased what was erased of %s: %w", object, err)
		}
	}
	return nil
}

// read reads the state and prepares batches of it.
func (b *pastBuilder) read(ctx context.Context, state *history.State, out chan<- *batch) error {
	var messages []Message
	size := 0
	flush := func() error {
		if len(messages) == 0 {
			return nil
		}
		var prepared *batch
		err := b.patiently(ctx, func() (err error) {
			prepared, err = b.a.prepare(ctx, messages, 0)
			return err
		})
		if err != nil {
			return err
		}
		messages, size = nil, 0
		select {
		case out <- prepared:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := state.Each(ctx, func(e history.Entry) error {
		messages = append(messages, Message{Message: e.Message, Seq: e.Seq})
		if size += len(e.Data); len(messages) < b.cfg.BatchRows && size < b.cfg.BatchBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// noteEvery is the time between two notes of how far a copy is.
const noteEvery = time.Second

func (b *pastBuilder) write(ctx context.Context, batches <-chan *batch, total int64) error {
	var done int64
	var noted time.Time
	for batch := range batches {
		for _, s := range batch.segments {
			done += int64(len(s.messages))
		}
		if err := b.patiently(ctx, func() error { return b.a.commit(ctx, batch) }); err != nil {
			return err
		}
		if time.Since(noted) < noteEvery {
			continue
		}
		noted = time.Now()
		err := b.patiently(ctx, func() error {
			return NoteCopy(ctx, b.cfg.Pool, b.live, b.o.Schema, "filling", min(done, total), total, 0)
		})
		if err != nil {
			return err
		}
		if b.o.Progress != nil {
			b.o.Progress(min(done, total), total)
		}
	}
	if b.o.Progress != nil {
		b.o.Progress(total, total)
	}
	return nil
}
