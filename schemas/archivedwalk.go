package schemas

import (
	"errors"
	"time"
)

// ArchivedWalk is the walk over the recycle bin: the one under way, or else the last one. HubSpot rule: archiving and
// restoring leave the modification time alone, so that only the whole list of archived records shows them.
type ArchivedWalk struct {
	StartedAt time.Time `json:"started_at"`       // HubSpot's clock
	DoneAt    time.Time `json:"done_at,omitzero"` // when the last walk that finished ended; zero before the first
	Records   int64     `json:"records"`          // met so far by the walk that StartedAt speaks of
	// Next is the id that the walk under way goes on from, 0 if it has not begun or has ended.
	Next int64 `json:"next,omitempty"`
}

// Running reports whether the walk has not ended yet.
func (w *ArchivedWalk) Running() bool { return w != nil && w.DoneAt.Before(w.StartedAt) }

func (w *ArchivedWalk) normalise() {
	milliseconds(&w.StartedAt)
	milliseconds(&w.DoneAt)
}

func (w *ArchivedWalk) check() error {
	switch {
	case w.StartedAt.IsZero():
		return errMissing("started_at")
	case w.Next < 0 || w.Records < 0:
		return errors.New("next or records is below 0")
	}
	return nil
}
