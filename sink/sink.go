package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// Defaults of Config.
const (
	DefaultConsumer   = "hubtail-sink"
	DefaultBatchRows  = 1_000
	DefaultBatchBytes = 2 << 20
)

const (
	// stopTimeout bounds how long Run goes on after its context ended, to commit and acknowledge what it has begun.
	stopTimeout = 10 * time.Second

	minBackoff = 100 * time.Millisecond
	maxBackoff = 30 * time.Second

	// shapeIdle is how often a sink looks whether one that was killed left a change of columns or a refill behind.
	shapeIdle = time.Minute
)

// Config says which log a Sink reads and where it writes. Pool and JetStream are required.
type Config struct {
	Pool      *pgxpool.Pool
	JetStream jetstream.JetStream
	Stream    string // "" is jetlog.DefaultStream
	Portal    string // "" takes the first portal it meets; more than one in a stream need one schema and sink each
	Schema    string // "" is DefaultSchema; it must be migrated
	Consumer  string // "" is DefaultConsumer; sinks that share it share the work
	// BatchRows and BatchBytes bound a batch; 0 is DefaultBatchRows and DefaultBatchBytes.
	BatchRows, BatchBytes int
	// AnswerTimeout is after how long without an answer a connection to Postgres counts as dead; 0 is DefaultAnswerTimeout.
	AnswerTimeout time.Duration
	Logger        *slog.Logger // nil discards

	shapeIdle time.Duration // 0 is shapeIdle; tests are in more of a hurry
}

func (c Config) withDefaults() Config {
	if c.Stream == "" {
		c.Stream = jetlog.DefaultStream
	}
	if c.Schema == "" {
		c.Schema = DefaultSchema
	}
	if c.Consumer == "" {
		c.Consumer = DefaultConsumer
	}
	if c.BatchRows <= 0 {
		c.BatchRows = DefaultBatchRows
	}
	if c.BatchBytes <= 0 {
		c.BatchBytes = DefaultBatchBytes
	}
	if c.AnswerTimeout <= 0 {
		c.AnswerTimeout = DefaultAnswerTimeout
	}
	if c.shapeIdle <= 0 {
		c.shapeIdle = shapeIdle
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("component", "sink")
	return c
}

// filter returns the subjects the sink reads.
func (c Config) filter() string {
	if c.Portal == "" {
		return jetlog.Subjects
	}
	return schemas.Root + "." + schemas.EncodeToken(c.Portal) + ".>"
}

// Sink keeps the tables of one schema equal to the log.
type Sink struct {
	cfg   Config
	stats statistics

	afterStep func(phase string) // of a rebuild; nil but in tests
}

// New returns a Sink for a migrated schema.
func New(ctx context.Context, cfg Config) (*Sink, error) {
	if cfg.Pool == nil || cfg.JetStream == nil {
		return nil, errors.New("sink: Pool and JetStream are required")
	}
	cfg = cfg.withDefaults()
	var migrated bool
	err := cfg.Pool.QueryRow(ctx, `select to_regclass($1) is not null`, quote(cfg.Schema, "positions")).Scan(&migrated)
	if err != nil {
		return nil, fmt.Errorf("look for schema %s: %w", cfg.Schema, err)
	}
	if !migrated {
		return nil, fmt.Errorf("schema %s has no hubtail tables: run `hubtail migrate`", cfg.Schema)
	}
	return &Sink{cfg: cfg}, nil
}

// Run applies the log until ctx ends, and then still commits and acknowledges what it has begun, for stopTimeout at
// most. It waits for a stream that is not there yet, and outlasts failures of NATS and Postgres; of what it could use
// before, also that its login, rights or tables are taken away. It returns an error only when waiting cannot help: a stream
// or a portal that the tables are not from, or credentials, rights or tables that are missing from the start.
func (s *Sink) Run(ctx context.Context) error {
	defer s.answerReports(ctx)()
	for attempt := 0; ; attempt++ {
		before := s.stats.lastCommit()
		err := s.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if permanent(err) && !(takenAway(err) && s.stats.hasAttached()) {
			return advise(err)
		}
		if errors.Is(err, errReconnected) {
			s.cfg.Logger.InfoContext(ctx, "sink goes on from where the tables are", "reason", err)
			attempt = -1
			continue
		}
		if s.stats.lastCommit().After(before) {
			attempt = 0 // it worked for a while: this is a new failure
		}
		err = advise(err)
		s.stats.setError(err)
		s.cfg.Logger.WarnContext(ctx, "sink starts over", "error", err)
		if !pause(ctx, backoff(attempt)) {
			return nil
		}
	}
}

// permanent reports whether waiting cannot help.
func permanent(err error) bool {
	if errors.Is(err, ErrOtherStream) || errors.Is(err, ErrOtherPortal) || errors.Is(err, ErrOtherConsumer) {
		return true
	}
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (classify(err) == faultStop || classify(err) == faultSchema || classify(err) == faultData)
}

// takenAway reports whether Postgres refuses a login (class 28) or a right, or lacks a database, schema, table or column. Of a
// sink that could use it before, that is a password being changed, a server being moved, a table that was renamed for a
// moment, and whatever else the process does must not end with it: who gives it back sees the sink go on.
func takenAway(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code {
	case "42501", "3D000", "3F000", "42P01", "42703":
		return true
	}
	return strings.HasPrefix(pgErr.Code, "28")
}

// advise adds what can be done about an error.
func advise(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && errAdvice[pgErr.Code] != "" {
		return fmt.Errorf("%w: %s", err, errAdvice[pgErr.Code])
	}
	return err
}

// backoff returns how long to wait before the next attempt: doubling, with jitter so that several sinks spread out.
func backoff(attempt int) time.Duration {
	d := min(maxBackoff, minBackoff<<min(attempt, 20))
	return d/2 + rand.N(d/2+1)
}

// pause waits, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
