package schemas

import "time"

// Settle is what a source learned about how late HubSpot's search index shows changes of an object type, and what it makes
// of it.
type Settle struct {
	TimeMS int64 `json:"time_ms"` // by which CompleteThrough trails the last pass
	// Epochs are the lags observed of late, the newest epoch first.
	Epochs []LagEpoch `json:"epochs,omitempty"`
	// Late counts the changes that came into the log after CompleteThrough had passed their time: so often it was wrong.
	Late   int64     `json:"late"`
	LateAt time.Time `json:"late_at,omitzero"`  // when the last one came, by HubSpot's clock
	LateMS int64     `json:"late_ms,omitempty"` // and how long after its modification
}

// LagEpoch is what was observed during some hours.
type LagEpoch struct {
	Since     time.Time `json:"since"`
	Changes   int64     `json:"changes"`    // that search showed
	LongestMS int64     `json:"longest_ms"` // the longest that one of them was not shown although asked for
}

func (s *Settle) normalise() {
	milliseconds(&s.LateAt)
	for i := range s.Epochs {
		milliseconds(&s.Epochs[i].Since)
	}
}

// Reread is a walk over all records of an object type that reads them again: calculated properties change without a
// modification time.
type Reread struct {
	StartedAt time.Time `json:"started_at"`       // HubSpot's clock
	DoneAt    time.Time `json:"done_at,omitzero"` // zero while it is under way
	LastID    int64     `json:"last_id"`          // records up to this id are done
	Done      int64     `json:"done"`             // records
	Changed   int64     `json:"changed"`          // of these, whose state the log did not have, less those of the newest page
}

func (r *Reread) normalise() {
	milliseconds(&r.StartedAt)
	milliseconds(&r.DoneAt)
}

// NewProperty is a property that came after the records that the log has were read.
type NewProperty struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"` // when it was noticed, by HubSpot's clock
}
