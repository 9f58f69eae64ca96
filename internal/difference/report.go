package difference

import (
	"maps"
	"slices"
	"time"
)

// Kind says what a difference is.
type Kind string

// The kinds of differences. "Here" is the log or the tables, whichever is compared with what comes before it.
const (
	Missing    Kind = "missing"    // not here
	Stale      Kind = "stale"      // an older state is here
	Value      Kind = "value"      // another value is here, of the same modification time or event
	Ghost      Kind = "ghost"      // live here, and archived or gone there
	Archived   Kind = "archived"   // ended here, and live there
	Merged     Kind = "merged"     // live here, and merged into another record there
	Link       Kind = "link"       // another set of associations is here
	Definition Kind = "definition" // another property definition is here
)

// Hop says which two places were compared.
type Hop string

// The hops of a record.
const (
	HubSpotToLog Hop = "hubspot-log"
	LogToTables  Hop = "log-tables"
)

// Difference is one difference.
type Difference struct {
	Kind   Kind   `json:"kind"`
	ID     string `json:"id"` // of the record, or a property's name
	Reason string `json:"reason"`
}

// Report is what comparing one object type found in one hop.
type Report struct {
	Object      string         `json:"object"`
	Hop         Hop            `json:"hop"`
	StartedAt   time.Time      `json:"started_at"`
	CompletedAt time.Time      `json:"completed_at"`
	Compared    int64          `json:"compared"`      // records, or rows
	Pending     int64          `json:"pending"`       // changed too recently to be expected here
	Explained   int64          `json:"explained"`     // in the dead letters
	APICalls    int64          `json:"api_calls"`     // requests to HubSpot
	StampsOnly  bool           `json:"stamps_only"`   // values were not compared, but modification times
	Kinds       map[Kind]int64 `json:"kinds"`         // differences by kind
	Examples    []Difference   `json:"examples"`      // the first few of each kind
	Repaired    int64          `json:"repaired"`      // of the differences
	Note        string         `json:"note,omitzero"` // why nothing was compared
}

// examplesPerKind bounds how many differences of a kind a report names.
const examplesPerKind = 5

// Add counts a difference, and names it if it is one of the first of its kind.
func (r *Report) Add(kind Kind, id, reason string) {
	if r.Kinds == nil {
		r.Kinds = make(map[Kind]int64)
	}
	if r.Kinds[kind]++; r.Kinds[kind] <= examplesPerKind {
		r.Examples = append(r.Examples, Difference{kind, id, reason})
	}
}

// Differences returns how many differences were found.
func (r *Report) Differences() int64 {
	var n int64
	for _, found := range r.Kinds {
		n += found
	}
	return n
}

// Remaining returns how many differences were not repaired.
func (r *Report) Remaining() int64 { return r.Differences() - r.Repaired }

// Found returns the kinds of differences that were found, ascending.
func (r *Report) Found() []Kind { return slices.Sorted(maps.Keys(r.Kinds)) }
