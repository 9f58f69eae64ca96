package sink

import (
	"sync"
	"time"
)

// Stats is a snapshot of what a Sink has done since it started.
type Stats struct {
	Messages      int64         `json:"messages"`     // applied
	Written       int64         `json:"rows_written"` // rows inserted or replaced
	Unchanged     int64         `json:"unchanged"`    // records that the tables had already, or newer
	DeadLetters   int64         `json:"dead_letters"`
	RowsPerSecond float64       `json:"rows_per_second"` // written, over the last seconds
	Position      uint64        `json:"position"`        // everything up to this sequence is in the tables
	Lag           uint64        `json:"lag"`             // messages not yet in the tables
	LastCommit    time.Time     `json:"last_commit,omitzero"`
	CommitTime    time.Duration `json:"commit_time"`     // of the last batch
	Error         string        `json:"error,omitempty"` // why it is waiting; empty when it is not
	ErrorSince    time.Time     `json:"error_since,omitzero"`
}

// statistics collects Stats.
type statistics struct {
	mu       sync.Mutex // guards all below
	applier  *Applier
	earlier  Stats // of appliers before this one
	current  Stats
	pending  uint64 // in the log, not yet fetched
	inFlight uint64
	window   [10]struct {
		second  int64
		written int64
	}
	counted int64 // written as of the last commit

	columns      string // why tables cannot be fitted to their definitions, while rows are written; empty when they can
	columnsSince time.Time
}

// Stats returns a snapshot.
func (s *Sink) Stats() Stats {
	st := &s.stats
	st.mu.Lock()
	defer st.mu.Unlock()
	snapshot := st.totals()
	now := time.Now().Unix()
	for _, w := range st.window {
		if now-w.second < int64(len(st.window)) {
			snapshot.RowsPerSecond += float64(w.written) / float64(len(st.window))
		}
	}
	snapshot.Lag = st.pending + st.inFlight
	if snapshot.Error == "" && st.columns != "" {
		snapshot.Error, snapshot.ErrorSince = st.columns, st.columnsSince
	}
	return snapshot
}

// totals adds up all appliers. The caller holds mu.
func (st *statistics) totals() Stats {
	t := st.current
	t.Messages, t.Written, t.Unchanged, t.DeadLetters = st.earlier.Messages, st.earlier.Written, st.earlier.Unchanged, st.earlier.DeadLetters
	if st.applier != nil {
		t.Messages += st.applier.counts.messages.Load()
		t.Written += st.applier.counts.written.Load()
		t.Unchanged += st.applier.counts.unchanged.Load()
		t.DeadLetters += st.applier.counts.dead.Load()
	}
	return t
}

func (st *statistics) attached(a *Applier, position uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.applier != a {
		st.earlier = st.totals()
		st.applier = a
	}
	st.current.Position = position
	st.pending, st.inFlight = 0, 0
}

// hasAttached reports whether the database has been worked with since the start.
func (st *statistics) hasAttached() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.applier != nil
}

func (st *statistics) seen(pending uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.pending = pending
	st.inFlight++
}

func (st *statistics) committed(messages int, position uint64, took time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	now := time.Now()
	st.inFlight -= min(st.inFlight, uint64(messages))
	st.current.Position = max(st.current.Position, position)
	st.current.LastCommit, st.current.CommitTime = now, took
	written := st.totals().Written
	w := &st.window[now.Unix()%int64(len(st.window))]
	if w.second != now.Unix() {
		w.second, w.written = now.Unix(), 0
	}
	w.written += written - st.counted
	st.counted = written
}

func (st *statistics) lastCommit() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.current.LastCommit
}

func (st *statistics) setError(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err == nil {
		st.current.Error, st.current.ErrorSince = "", time.Time{}
		return
	}
	if st.current.Error == "" {
		st.current.ErrorSince = time.Now()
	}
	st.current.Error = err.Error()
}

// setColumns notes why tables cannot be fitted to their definitions, nil once they can.
func (st *statistics) setColumns(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err == nil {
		st.columns = ""
		return
	}
	if st.columns == "" {
		st.columnsSince = time.Now()
	}
	st.columns = err.Error()
}
