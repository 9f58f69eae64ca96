package simulator

import (
	"maps"
	"sync"
)

// Stats counts what the simulator was asked and what it answered.
type Stats struct {
	Requests int            `json:"requests"`
	ByRoute  map[string]int `json:"byEndpoint"` // "list contacts", "list archived contacts", "search deals", "account", ...
	ByStatus map[int]int    `json:"byStatus"`
	Limited  map[string]int `json:"limited"` // 429s by policy
	Records  int            `json:"records"` // handed out
	Bytes    int64          `json:"bytes"`   // of answers
	Daily    int            `json:"daily"`   // requests of private apps today
	Burst    []WindowStats  `json:"burst"`   // one per app
	Search   WindowStats    `json:"search"`
	Indexing int            `json:"indexing"` // changes that search does not show yet
	Changes  int64          `json:"changes"`  // made since the start
	Webhooks WebhookStats   `json:"webhooks"`
}

// WindowStats describes a rolling limit.
type WindowStats struct {
	App     string `json:"app,omitempty"`
	Limit   int    `json:"limit"`
	Peak    int    `json:"peak"` // most requests admitted in any interval
	Refused int    `json:"refused"`
}

type stats struct {
	mu sync.Mutex // guards s
	s  Stats
}

func newStats() *stats {
	return &stats{s: Stats{ByRoute: map[string]int{}, ByStatus: map[int]int{}, Limited: map[string]int{}}}
}

func (s *stats) refused(policy string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Limited[policy]++
}

func (s *stats) count(c *call) {
	name := "other"
	if c.route != nil {
		name = string(c.route.kind)
		if c.table != nil {
			if c.route.kind == kindList && c.request.URL.Query().Get("archived") == "true" {
				name += " archived"
			}
			name += " " + c.table.object.Name
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Requests++
	s.s.ByRoute[name]++
	s.s.ByStatus[c.status]++
	s.s.Records += c.records
	s.s.Bytes += int64(len(c.body))
}

// Stats returns the counters so far.
func (s *Simulator) Stats() Stats {
	s.stats.mu.Lock()
	out := s.stats.s
	out.ByRoute, out.ByStatus, out.Limited = maps.Clone(out.ByRoute), maps.Clone(out.ByStatus), maps.Clone(out.Limited)
	s.stats.mu.Unlock()

	s.limits.mu.Lock()
	out.Daily = s.limits.daily
	out.Search = WindowStats{Limit: s.limits.search.limit, Peak: s.limits.search.peak, Refused: s.limits.search.refused}
	for a, w := range s.limits.burst {
		out.Burst = append(out.Burst, WindowStats{App: a.name, Limit: w.limit, Peak: w.peak, Refused: w.refused})
	}
	s.limits.mu.Unlock()

	s.portal.mu.RLock()
	out.Indexing, out.Changes = len(s.portal.queue), s.portal.changes
	s.portal.mu.RUnlock()
	out.Webhooks = s.hooks.stats()
	return out
}

// ResetStats sets the counters to zero, the peaks of the limits too.
func (s *Simulator) ResetStats() {
	s.stats.mu.Lock()
	s.stats.s = newStats().s
	s.stats.mu.Unlock()
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	s.limits.search.peak, s.limits.search.refused = 0, 0
	for _, w := range s.limits.burst {
		w.peak, w.refused = 0, 0
	}
}
