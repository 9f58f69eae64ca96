package schemas

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// LinkProgress says how far the associations of an object type's records were read, as a part of its cursor.
type LinkProgress struct {
	// Seq is a sequence of the stream: the links of every record whose last event is at it or before were read after that event.
	Seq uint64 `json:"seq"`
	// To are the object types whose links were read for every record at least once, ascending.
	To []string `json:"to"`
	// Refused are those whose links HubSpot does not show, and why: mostly a missing scope.
	Refused map[string]string `json:"refused,omitempty"`
	// Sweep is the last walk over all records, finished or not; nil before the first.
	Sweep *Sweep `json:"sweep,omitempty"`
}

// Sweep is a walk over all records of an object type that reads their links, for changes of links alone change no record.
// It goes by the records' last events in the stream, and goes on after a crash where it was.
type Sweep struct {
	Turn      int64     `json:"turn"`             // counts sweeps of this object type from 1
	StartedAt time.Time `json:"started_at"`       // HubSpot's clock
	DoneAt    time.Time `json:"done_at,omitzero"` // zero while it is under way
	Seconds   int64     `json:"seconds"`          // that the turn may take; 0 means as fast as it gets: the first read of links
	To        []string  `json:"to"`               // object types whose links it reads
	Seq       uint64    `json:"seq"`              // records whose last event is at it or before are done
	End       uint64    `json:"end"`              // last sequence of the stream at the start
	Done      int64     `json:"done"`             // records
	Total     int64     `json:"total"`
}

// Clone returns a copy that shares nothing with p; nil of nil.
func (p *LinkProgress) Clone() *LinkProgress {
	if p == nil {
		return nil
	}
	c := *p
	c.To, c.Refused = slices.Clone(p.To), maps.Clone(p.Refused)
	if p.Sweep != nil {
		s := *p.Sweep
		s.To = slices.Clone(s.To)
		c.Sweep = &s
	}
	return &c
}

func (p *LinkProgress) normalise() {
	p.To = sortedSet(p.To)
	if len(p.Refused) == 0 {
		p.Refused = nil
	}
	if s := p.Sweep; s != nil {
		milliseconds(&s.StartedAt)
		milliseconds(&s.DoneAt)
		s.To = sortedSet(s.To)
	}
}

func (p *LinkProgress) check() error {
	if p.To == nil || p.Sweep != nil && p.Sweep.To == nil {
		return errMissing("to") // none would say that all links are to be read again
	}
	if s := p.Sweep; s != nil && s.Seq > s.End {
		return errors.New("sweep is past its end")
	}
	return nil
}

func sortedSet(names []string) []string {
	names = orEmpty(names)
	slices.Sort(names)
	return slices.Compact(names)
}
