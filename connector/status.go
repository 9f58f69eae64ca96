package connector

import (
	"errors"
	"sync"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// Phase says what a source does for an object type.
type Phase string

// The phases of an object type.
const (
	PhaseWaiting   Phase = "waiting"   // nothing was read yet
	PhaseBackfill  Phase = "backfill"  // being read whole; changes are followed too
	PhaseLive      Phase = "live"      // changes are followed
	PhaseStandby   Phase = "standby"   // another source leads
	PhaseForbidden Phase = "forbidden" // the token lacks a scope
	PhaseFailed    Phase = "failed"    // tried again and again
)

// phaseOf returns the phase that an error leads to.
func phaseOf(err error) Phase {
	switch {
	case errors.Is(err, ErrStandby):
		return PhaseStandby
	case errors.Is(err, hubspot.ErrForbidden):
		return PhaseForbidden
	}
	return PhaseFailed
}

// ObjectStatus is where an object type stands.
type ObjectStatus struct {
	Object          string         `json:"object"`
	Phase           Phase          `json:"phase"`
	Total           int64          `json:"total"` // records of the last full read, 0 if unknown
	Done            int64          `json:"done"`  // of these, read
	Rate            float64        `json:"rate"`  // records per second of the full read under way
	CompleteThrough time.Time      `json:"complete_through,omitzero"`
	SettleMS        int64          `json:"settle_ms"` // how long a change counts as not surely found by search
	Late            int64          `json:"late"`      // changes that came after the watermark had passed them, ever
	LastError       string         `json:"last_error,omitempty"`
	Counts          schemas.Counts `json:"counts"`   // since the source started
	Hints           int64          `json:"hints"`    // of records, that webhooks brought and this source took up
	Hydrated        int64          `json:"hydrated"` // records that were read because of them
	// Links is how far the links of its records were read, nil if they never were.
	Links *schemas.LinkProgress `json:"links,omitempty"`
}

// Status returns where every object type stands, in the order of the configuration, owners last. It costs nothing and
// may be called from any goroutine, ten times a second.
func (s *Source) Status() []ObjectStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]ObjectStatus, 0, len(s.followers)+1)
	for _, f := range s.followers {
		status := f.status.get()
		status.Hints, status.Hydrated = f.heard.heardSoFar(), f.told.readSoFar()
		all = append(all, status)
	}
	if s.owners != nil {
		all = append(all, s.owners.status.get())
	}
	return append(all, s.refused...)
}

// objectStatus is an ObjectStatus as it changes.
type objectStatus struct {
	log *objectLog

	mu        sync.Mutex // guards the fields below
	phase     Phase
	lastError string
	other     *schemas.Cursor // of the leading source, on standby
}

func newObjectStatus(log *objectLog) *objectStatus {
	return &objectStatus{log: log, phase: PhaseWaiting}
}

// fail sets a phase that is not work; it reports whether the error is news.
func (s *objectStatus) fail(phase Phase, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.phase != phase || s.lastError != text
	s.phase, s.lastError = phase, text
	return news
}

// live says that the object type is being followed, and read whole if loading.
func (s *objectStatus) live(loading bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.lastError, s.other = PhaseLive, "", nil
	if loading {
		s.phase = PhaseBackfill
	}
}

// lead says that this source begins to lead.
func (s *objectStatus) lead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.lastError, s.other = PhaseWaiting, "", nil
}

// follow shows the leading source's cursor.
func (s *objectStatus) follow(c schemas.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.other = &c
}

func (s *objectStatus) get() ObjectStatus {
	cursor, load, counts := s.log.head.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.other != nil {
		cursor = *s.other
		load.see(cursor.Backfill, time.Now())
	}
	if !load.running && cursor.Records > 0 {
		load.total, load.done = cursor.Records, cursor.Records
	}
	learned := schemas.Settle{}
	if cursor.Settle != nil {
		learned = *cursor.Settle
	}
	return ObjectStatus{
		SettleMS: learned.TimeMS, Late: learned.Late,
		Object: s.log.object.Name, Phase: s.phase, Total: load.total, Done: load.done, Rate: load.rate(time.Now()),
		CompleteThrough: cursor.CompleteThrough, LastError: s.lastError, Counts: counts, Links: cursor.Links,
	}
}

// progress is how far the last full read got, as far as this process saw it.
type progress struct {
	id          string // of the run, "" before the first
	running     bool
	total, done int64
	began       time.Time // when this process first saw it
	doneBefore  int64
}

// see takes note of a cursor's full read, nil if none is under way.
func (p *progress) see(b *schemas.Backfill, now time.Time) {
	if b == nil {
		if p.running { // the last page is in
			p.running, p.total = false, max(p.total, p.done)
			p.done = p.total
		}
		return
	}
	if b.RunID != p.id {
		*p = progress{id: b.RunID, began: now, doneBefore: b.Counts.Fetched}
	}
	p.running, p.total, p.done = true, b.Total, b.Counts.Fetched
}

// rate returns the records per second of the full read under way.
func (p *progress) rate(now time.Time) float64 {
	took := now.Sub(p.began).Seconds()
	if !p.running || took <= 0 {
		return 0
	}
	return float64(p.done-p.doneBefore) / took
}
