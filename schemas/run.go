package schemas

import (
	"fmt"
	"slices"
	"time"
)

// Counts are what a run did, in records (and API requests).
type Counts struct {
	Fetched   int64 `json:"fetched"`
	Created   int64 `json:"created"` // snapshot and created
	Updated   int64 `json:"updated"`
	Unchanged int64 `json:"unchanged"`
	Deleted   int64 `json:"deleted"` // archived, merged and purged
	Failed    int64 `json:"failed"`
	APICalls  int64 `json:"api_calls"`
}

// Run is a finished sync run of one object type, on `_run.<object>`; the sink makes a sync_logs row of it.
type Run struct {
	RunID       string    `json:"run_id"`
	Portal      string    `json:"portal"`
	Object      string    `json:"object"`
	SyncType    string    `json:"sync_type"` // "full", "incremental", "verify"
	Status      string    `json:"status"`    // "success", "partial" (some records failed), "failed"
	StartedAt   time.Time `json:"started_at"`
	CompletedAt time.Time `json:"completed_at"`
	Counts
	// CompleteThrough is the watermark when the run ended; zero if there was none yet.
	CompleteThrough time.Time `json:"complete_through,omitzero"`
	Error           string    `json:"error,omitempty"`
}

// Subject returns where the message travels.
func (r *Run) Subject() Subject { return Subject{Kind: KindRun, Portal: r.Portal, Object: r.Object} }

func (*Run) schema() string { return "run" }

func (r *Run) normalise() {
	milliseconds(&r.StartedAt)
	milliseconds(&r.CompletedAt)
	milliseconds(&r.CompleteThrough)
}

func (r *Run) check() error {
	if !slices.Contains([]string{"success", "partial", "failed"}, r.Status) {
		return fmt.Errorf("unknown status %q", r.Status)
	}
	return nil
}
