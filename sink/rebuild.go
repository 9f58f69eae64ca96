package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// ErrNotCarried says that something the owner put on the tables would not be there after the swap.
var ErrNotCarried = errors.New("not everything carries over")

// ErrNoOld says that there are no old tables to go back to.
var ErrNoOld = errors.New("there are no old tables")

// ErrRebuilding says that another rebuild of the same tables is under way.
var ErrRebuilding = errors.New("another rebuild of these tables is under way")

// RebuildOptions say what is rebuilt. The zero value rebuilds the whole schema.
type RebuildOptions struct {
	Objects  []string      // nil for all tables; else the tables of records of these types, without links
	Copy     string        // schema of the shadow tables and then of the old ones; "" is the schema's name and "_rebuild"
	Force    bool          // go on though something does not carry over
	LockWait time.Duration // how long one try of the swap may wait for the tables; 0 is 40 ms
	Patience time.Duration // how long to try; 0 is ten minutes
	Progress func(RebuildProgress)
}

// RebuildProgress is how far a rebuild is.
type RebuildProgress struct {
	Phase       string
	Done, Total int64 // messages
}

// Rebuilt is what a rebuild or a rollback did.
type Rebuilt struct {
	Schema   string               `json:"schema"`
	Copy     string               `json:"copy"` // the tables that were live until now
	Objects  []RebuiltObject      `json:"objects"`
	Position uint64               `json:"position"`
	Messages int64                `json:"messages"`
	Lost     []string             `json:"lost"`
	Tries    int                  `json:"swap_tries"`
	Locked   time.Duration        `json:"locked"` // how long the tables were locked in the try that succeeded, waiting included
	Seconds  float64              `json:"seconds"`
	Phases   map[string]float64   `json:"phases"` // seconds
	Reports  []*difference.Report `json:"-"`      // of the comparison with the log
}

// RebuiltObject is what became of one table.
type RebuiltObject struct {
	Object string `json:"object"`
	Rows   int64  `json:"rows"`
	// Against the tables that were live: rows that only one side has, of another event, or of the same event with other
	// values. They are why a rebuild was wanted, or changes under way; the log decides.
	OnlyLive int64 `json:"only_live"`
	OnlyNew  int64 `json:"only_new"`
	Newer    int64 `json:"newer"`
	Values   int64 `json:"values"`
}

// rebuilding is one rebuild or rollback.
type rebuilding struct {
	s          *Sink
	other      *Sink // writes to the copy
	o          RebuildOptions
	pool       *pgxpool.Pool
	log        *slog.Logger
	stream     jetstream.Stream
	live, copy string
	objects    []string // whose tables are concerned, as far as known
	portal     string
	sameLog    bool            // the live tables are of this log
	foreign    bool            // the copy is not: it is put back as it is
	a          *Applier        // of the copy
	position   uint64          // of the copy
	lock       pgx.Tx          // keeps other rebuilds away
	registered time.Time       // when the copy became what this run works on
	fitted     map[string]bool // see dressAs
	tried      []time.Time     // when the tries of the swap began: what the copy has of one that was committed
	fills      bool            // the copy is made from the log: a rebuild, no rollback
	careful    bool            // what the owner has on the tables refuses rows: it is there before them
	result     *Rebuilt
	phase      string
	since      time.Time
	progress   RebuildProgress
}

func (r *rebuilding) whole() bool { return len(r.o.Objects) == 0 }

// defaultCopy names the schema of a rebuild.
func defaultCopy(schema string) string { return cutName(schema, maxName-len("_rebuild")) + "_rebuild" }

// newRebuilding looks at the log and at the live tables.
func (s *Sink) newRebuilding(ctx context.Context, o RebuildOptions) (*rebuilding, error) {
	if o.Copy == "" {
		o.Copy = defaultCopy(s.cfg.Schema)
	}
	if o.LockWait <= 0 {
		o.LockWait = 40 * time.Millisecond
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Minute
	}
	if o.Copy == s.cfg.Schema {
		return nil, fmt.Errorf("schema %s has the live tables: name another one for the copy", o.Copy)
	}
	if n := s.cfg.Pool.Config().MaxConns; n < 3 {
		return nil, fmt.Errorf("a rebuild needs three connections to the database, pool_max_conns is %d", n)
	}
	if err := mustOwn(ctx, s.cfg.Pool, s.cfg.Schema); err != nil {
		return nil, err
	}
	slices.Sort(o.Objects)
	o.Objects = slices.Compact(o.Objects)
	stream, err := s.cfg.JetStream.Stream(ctx, s.cfg.Stream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", s.cfg.Stream, err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", s.cfg.Stream, err)
	}
	cfg := s.cfg
	cfg.Schema = o.Copy
	r := &rebuilding{
		s: s, other: &Sink{cfg: cfg}, o: o, pool: s.cfg.Pool, log: s.cfg.Logger, stream: stream, live: s.cfg.Schema, copy: o.Copy,
		result: &Rebuilt{Schema: s.cfg.Schema, Copy: o.Copy, Lost: []string{}, Phases: make(map[string]float64)}, since: time.Now(),
	}
	if err := r.look(ctx, info); err != nil {
		return nil, err
	}
	r.newApplier(info.Created)
	return r, nil
}

// newApplier makes the one that writes to the copy.
func (r *rebuilding) newApplier(created time.Time) {
	r.a = NewApplier(ApplierConfig{
		Pool: r.pool, Schema: r.copy, Stream: r.s.cfg.Stream, Created: created, Consumer: r.s.cfg.Consumer, Portal: r.portal, Logger: r.log,
	})
	r.a.heldFor = r.live
}

// look reads what the live tables are.
func (r *rebuilding) look(ctx context.Context, info *jetstream.StreamInfo) error {
	a := NewApplier(ApplierConfig{Pool: r.pool, Schema: r.live, Stream: r.s.cfg.Stream, Created: info.Created, Consumer: r.s.cfg.Consumer})
	pos, err := a.readPosition(ctx)
	if err != nil {
		return err
	}
	if info, err = r.stream.Info(ctx); err != nil { // after the tables, which a sink may have moved on with it
		return fmt.Errorf("look at stream %s: %w", r.s.cfg.Stream, err)
	}
	r.sameLog = pos.created.IsZero() || pos.created.Equal(a.created) && max(pos.seq, pos.high) <= info.State.LastSeq
	if r.portal = r.s.cfg.Portal; r.portal == "" {
		r.portal = pos.portal
	}
	rows, err := r.pool.Query(ctx, `select object from `+quote(r.live, "objects")+` order by object`)
	if err != nil {
		return fmt.Errorf("list object types: %w", err)
	}
	if r.objects, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || r.whole() {
		return err
	}
	for _, object := range r.o.Objects {
		if !slices.Contains(r.objects, object) {
			return fmt.Errorf("there is no table of %s in schema %s; there are: %s", object, r.live, strings.Join(r.objects, ", "))
		}
	}
	if !r.sameLog {
		return fmt.Errorf("the tables are of another stream %s than there is now: rebuild all of them, `hubtail rebuild` without object types", r.s.cfg.Stream)
	}
	r.objects = r.o.Objects
	return nil
}

// filters returns the subjects that the tables are made of.
func (r *rebuilding) filters() []string {
	if r.whole() {
		return []string{r.s.cfg.filter()}
	}
	var filters []string
	root := schemas.Root + "." + schemas.EncodeToken(r.portal) + "."
	for _, object := range r.objects {
		token := schemas.EncodeToken(object)
		filters = append(filters, root+token+".*", root+string(schemas.KindProperties)+"."+token, root+string(schemas.KindPipelines)+"."+token)
	}
	return filters
}

// pairs returns the tables that change places, in one order for everybody who locks several.
func (r *rebuilding) pairs(ctx context.Context, db queryer) ([]pair, error) {
	rows, err := db.Query(ctx, `select object, max(l), max(x) from (
		select object, table_name as l, null as x from `+quote(r.live, "objects")+`
		union all select object, null, table_name from `+quote(r.copy, "objects")+`) as o
		where $1 or object = any($2) group by object order by object`, r.whole(), r.objects)
	if err != nil {
		return nil, err
	}
	pairs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pair, error) {
		p := pair{live: r.live, other: r.copy}
		var live, other *string
		if err := row.Scan(&p.object, &live, &other); err != nil {
			return p, err
		}
		switch {
		case live == nil: // its name may be that of a table of the owner's in the live schema
			p.otherName = *other
		case other == nil:
			p.name, p.otherName = *live, *live
		default:
			p.name, p.otherName = *live, *other
		}
		return p, nil
	})
	for i, p := range pairs {
		if p.name == "" && err == nil {
			pairs[i].name, err = newTableName(ctx, db, r.live, p.object)
		}
	}
	if r.whole() {
		for _, name := range []string{"link_sets", "links"} {
			pairs = append(pairs, pair{live: r.live, other: r.copy, name: name, otherName: name})
		}
	}
	return pairs, err
}

// begins notes the beginning of a phase.
func (r *rebuilding) begins(ctx context.Context, phase string) {
	r.ends()
	r.phase, r.since = phase, time.Now()
	r.progress = RebuildProgress{Phase: phase}
	r.log.DebugContext(ctx, "rebuild", "phase", phase, "copy", r.copy) // Progress says it to people
	_ = NoteCopy(ctx, r.pool, r.live, r.copy, phase, 0, 0, 0)          // for `status`; no matter of success
	r.shows()
}

func (r *rebuilding) ends() {
	if r.phase != "" {
		r.result.Phases[r.phase] += time.Since(r.since).Seconds()
	}
	r.phase = ""
}

func (r *rebuilding) shows() {
	if r.o.Progress != nil {
		r.o.Progress(r.progress)
	}
}
