package connector

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// ReceiverStats is what a receiver did since it started.
type ReceiverStats struct {
	Deliveries  int64     `json:"deliveries"`  // answered by 2xx
	Refused     int64     `json:"refused"`     // answered by 4xx
	Unavailable int64     `json:"unavailable"` // answered by 503; HubSpot comes again
	Events      int64     `json:"events"`      // in deliveries answered by 2xx
	Ignored     int64     `json:"ignored"`     // of these, nothing is read for
	Hints       int64     `json:"hints"`       // that came of the others, before any collapsed
	LastAt      time.Time `json:"last_at,omitzero"`
}

// Stats returns what the receiver did so far.
func (r *Receiver) Stats() ReceiverStats {
	r.stats.mu.Lock()
	defer r.stats.mu.Unlock()
	return r.stats.counts
}

type receiverStats struct {
	mu     sync.Mutex // guards the fields below
	counts ReceiverStats
	said   map[string]bool // what the program's log has been told
	warned time.Time       // when often last said something
}

func (s *receiverStats) answered(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case status < 300:
		s.counts.Deliveries++
		s.counts.LastAt = time.Now()
	case status == http.StatusServiceUnavailable:
		s.counts.Unavailable++
	default:
		s.counts.Refused++
	}
}

func (s *receiverStats) stored(events, hints, ignored int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Events += int64(events)
	s.counts.Hints += int64(hints)
	s.counts.Ignored += int64(ignored)
}

// maxSaid bounds how many different things are said once.
const maxSaid = 200

// once logs what would come with every event, the first time.
func (s *receiverStats) once(logger *slog.Logger, message string, attrs ...any) {
	key := message
	for _, a := range attrs {
		if text, ok := a.(string); ok {
			key += "\x00" + text
		}
	}
	s.mu.Lock()
	news := !s.said[key] && len(s.said) < maxSaid
	if news {
		if s.said == nil {
			s.said = make(map[string]bool)
		}
		s.said[key] = true
	}
	s.mu.Unlock()
	if news {
		logger.Warn(message, attrs...)
	}
}

// often logs what may come with every delivery, every warnEvery.
func (s *receiverStats) often(logger *slog.Logger, message string, err error) {
	s.mu.Lock()
	due := time.Since(s.warned) >= warnEvery
	if due {
		s.warned = time.Now()
	}
	s.mu.Unlock()
	if due {
		logger.Warn(message, "err", err)
	}
}
