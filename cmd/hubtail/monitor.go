package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/statuspage"
)

const (
	// statusEvery is how old a status may be for those who look at a page, and how old for alerts and plots when nobody does.
	statusEvery     = 5 * time.Second
	statusIdleEvery = time.Minute
	// statusBound is how long reading the log may take, and then the tables: together less than the admin listener's
	// WriteTimeout. A database or NATS that is slower is a problem of its own.
	statusBound = 4 * time.Second
	// countMost is how many rows a table may have to be counted one by one, and countShare the part of the time, 1 in so
	// many, that counting may take.
	countMost  = 200_000
	countShare = 50
)

// monitor keeps what the page and the alerts tell about a running process.
//
// Figures of the process itself cost nothing and are sampled every few seconds. What the log and the tables say is read
// once a minute, and more often only while somebody looks.
type monitor struct {
	*parts
	watched
	stale   time.Duration
	history statuspage.History
	latest  atomic.Pointer[status] // as read last, for those who must not wait; nil before
	reading sync.Mutex             // one reads at a time; taken before mu

	mu      sync.Mutex // guards all below, never held while something is asked
	status  *status
	at      time.Time // when status was read
	whole   bool      // rows and runs were read, too
	runs    []statuspage.Run
	counted map[string]rowCount
	countAt time.Time // when they may be counted again
	rates   rates
}

// rowCount is how many rows a table has.
type rowCount struct {
	rows  int64
	about bool // Postgres' estimate
}

func newMonitor(p *parts, w watched, stale time.Duration) *monitor {
	return &monitor{parts: p, watched: w, stale: stale}
}

// run samples until ctx ends.
func (m *monitor) run(ctx context.Context) {
	tick := time.NewTicker(statuspage.SampleEvery)
	defer tick.Stop()
	for {
		m.sample(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// The figures of the history, in the order in which they are added.
const (
	figureLogLag = iota
	figureTablesLag
	figureEvents
	figureRequests
)

// sample adds a moment to the history.
func (m *monitor) sample(ctx context.Context) {
	now := time.Now()
	figures := []float64{figureLogLag: math.NaN(), figureTablesLag: math.NaN(), figureEvents: math.NaN(), figureRequests: math.NaN()}
	s := m.read(ctx, statusIdleEvery)
	if lag, known := m.logLag(s, now); known {
		figures[figureLogLag] = lag.Seconds()
	}
	if m.sink != nil {
		figures[figureTablesLag] = float64(m.sink.Stats().Lag)
	}
	if events, known := m.measure(now); known {
		figures[figureEvents] = events
	}
	if m.client != nil {
		figures[figureRequests] = float64(m.client.Usage().Window.Used)
	}
	m.history.Add(now, figures...)
}

// logLag returns how far the log is behind HubSpot: that of the object type furthest behind that has a watermark, owners
// excepted, which are read whole every few minutes.
func (m *monitor) logLag(s *status, now time.Time) (lag time.Duration, known bool) {
	consider := func(object string, through time.Time) {
		if !through.IsZero() && object != "owners" {
			lag, known = max(lag, now.Sub(through)), true
		}
	}
	if m.source != nil {
		for _, o := range m.source.Status() {
			consider(o.Object, o.CompleteThrough)
		}
		return lag, known
	}
	for _, o := range s.Objects {
		consider(o.Object, o.CompleteThrough)
	}
	return lag, known
}

// fresh returns the status read last if it will do, nil if not.
func (m *monitor) fresh(atMost time.Duration) *status {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status != nil && time.Since(m.at) < atMost && (m.whole || atMost >= statusIdleEvery) {
		return m.status
	}
	return nil
}

// read returns where everything stands, read at most so long ago, or as it was read last while somebody else reads: what
// hangs holds up one. It never fails: what does not answer is a problem of it.
func (m *monitor) read(ctx context.Context, atMost time.Duration) *status {
	if s := m.fresh(atMost); s != nil {
		return s
	}
	if !m.reading.TryLock() {
		if s := m.latest.Load(); s != nil {
			return s
		}
		m.reading.Lock() // the first of all is waited for
	}
	defer m.reading.Unlock()
	if s := m.fresh(atMost); s != nil { // read while this one waited
		return s
	}
	looked := atMost < statusIdleEvery
	// Others may use it, too: it is read to the end though the one who asked goes away.
	ctx = context.WithoutCancel(ctx)
	s := &status{At: time.Now().UTC(), Objects: []objectStatus{}, Problems: []string{}}
	m.lookAtLog(ctx, s)
	if m.pool != nil {
		m.lookAtTables(ctx, s, looked)
	}
	s.conclude(m.stale)
	m.mu.Lock()
	m.status, m.at, m.whole = s, time.Now(), looked
	m.mu.Unlock()
	m.latest.Store(s)
	return s
}

func (m *monitor) lookAtLog(ctx context.Context, s *status) {
	ctx, cancel := context.WithTimeout(ctx, statusBound)
	defer cancel()
	js, err := jetstream.New(m.nats)
	if err == nil {
		err = m.fillLog(ctx, js, s)
	}
	if err != nil {
		s.problem("log: %v", err)
	}
}

// lookAtTables has a time of its own: a log that hangs is not the tables' fault.
func (m *monitor) lookAtTables(ctx context.Context, s *status, looked bool) {
	ctx, cancel := context.WithTimeout(ctx, statusBound)
	defer cancel()
	tables, err := m.fillTables(ctx, m.pool, s)
	if err == nil && looked {
		err = m.fillRows(ctx, s, tables)
	}
	if err == nil && looked {
		err = m.readLastRuns(ctx)
	}
	if err != nil {
		s.problem("tables: %v", err)
	}
	s.lookAgain(ctx)
}

// fillRows fills in the numbers of rows. The caller holds reading, so that nobody else changes them.
func (m *monitor) fillRows(ctx context.Context, s *status, tables map[string]string) error {
	if began := time.Now(); began.After(m.countAt) || len(m.counted) < len(tables) {
		counted := make(map[string]rowCount, len(tables))
		for object, table := range tables {
			n, err := m.countTable(ctx, table)
			if err != nil {
				return err
			}
			counted[object] = n
		}
		m.mu.Lock()
		m.counted, m.countAt = counted, time.Now().Add(countShare*time.Since(began))
		m.mu.Unlock()
	}
	for object, n := range m.counted {
		rows := n.rows
		s.object(object).Rows = &rows
	}
	return nil
}

// countTable counts a small table, and takes Postgres' estimate of a large one, which is as of the last analyze.
func (m *monitor) countTable(ctx context.Context, table string) (rowCount, error) {
	var n rowCount
	name := m.table(table)
	err := m.pool.QueryRow(ctx, "select reltuples::bigint from pg_class where oid = $1::regclass", name).Scan(&n.rows)
	if err != nil {
		return n, fmt.Errorf("look at table %s: %w", name, err)
	}
	if n.rows > countMost {
		n.about = true
		return n, nil
	}
	// An estimate may be old: no more than the bound is read, whatever there is.
	err = m.pool.QueryRow(ctx, "select count(*) from (select from "+name+" limit $1) as counted", countMost+1).Scan(&n.rows)
	if err != nil {
		return n, fmt.Errorf("count table %s: %w", name, err)
	}
	n.about = n.rows > countMost
	return n, nil
}

// readLastRuns reads what ended last.
func (m *monitor) readLastRuns(ctx context.Context) error {
	rows, err := m.pool.Query(ctx, `select object_type, sync_type, status, coalesce(error_message, ''), coalesce(sync_completed_at, sync_started_at), coalesce(duration_seconds, 0)::float8,
			records_fetched, records_created + records_updated + records_deleted, records_failed
		from `+m.table("sync_logs")+` order by sync_started_at desc limit 12`)
	if err != nil {
		return err
	}
	runs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r statuspage.Run, err error) {
		err = row.Scan(&r.Object, &r.Type, &r.Status, &r.Error, &r.At, &r.Seconds, &r.Fetched, &r.Changed, &r.Failed)
		return r, err
	})
	if err == nil {
		m.mu.Lock()
		m.runs = runs
		m.mu.Unlock()
	}
	return err
}
