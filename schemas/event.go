package schemas

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Op says what happened to a record.
type Op string

// The operations of a change event.
const (
	OpSnapshot Op = "snapshot" // seen for the first time, by backfill or verify: nobody should send a welcome mail for it
	OpCreated  Op = "created"
	OpUpdated  Op = "updated"
	OpArchived Op = "archived" // in HubSpot's recycle bin, also if it is first seen there
	OpRestored Op = "restored"
	OpMerged   Op = "merged" // this record lost; MergedInto is the winner
	OpPurged   Op = "purged" // privacy deletion: no values, no history
)

var ops = []Op{OpSnapshot, OpCreated, OpUpdated, OpArchived, OpRestored, OpMerged, OpPurged}

// Origin says which way of reading HubSpot found a change.
type Origin string

// The origins of a change event.
const (
	OriginBackfill Origin = "backfill"
	OriginPoll     Origin = "poll"
	OriginWebhook  Origin = "webhook"
	OriginVerify   Origin = "verify"
)

var origins = []Origin{OriginBackfill, OriginPoll, OriginWebhook, OriginVerify}

// Event is one change of one record, with the record's full state after it. An event without Properties or Previous is
// the same as one with empty ones.
type Event struct {
	Portal       string
	Object       string // "contacts", "owners", "p_<name>" for custom objects
	ObjectTypeID string // "0-1"; empty for owners, which have none
	ID           string
	Op           Op
	Origin       Origin
	Archived     bool
	CreatedAt    time.Time // zero if HubSpot gave none; all times to the millisecond
	UpdatedAt    time.Time
	ArchivedAt   time.Time // zero unless archived
	MergedInto   string    // id of the winner, for OpMerged
	Properties   Properties
	Changed      []string   // names whose value differs from the record's previous event, cleared ones included
	Previous     Properties // their old values, where there were any
	PreviousSeq  uint64     // stream sequence of the record's previous event, 0 if none
	Hash         string     // content hash, see ContentHash
	// SameTime says that UpdatedAt is the previous event's: HubSpot moves it neither when a record is archived or restored
	// nor when a calculated value changes. It travels in CEID only.
	SameTime bool
}

// Validate reports what is wrong with an event: what would keep DecodeEvent from accepting it. It does not look at Hash.
func (e *Event) Validate() error {
	switch {
	case e.Portal == "" || e.Object == "" || e.ID == "":
		return errors.New("no portal, object or id")
	case !slices.Contains(ops, e.Op):
		return fmt.Errorf("unknown op %q", e.Op)
	case !slices.Contains(origins, e.Origin):
		return fmt.Errorf("unknown origin %q", e.Origin)
	case e.UpdatedAt.IsZero():
		return errors.New("no updated_at")
	case e.Op == OpArchived && !e.Archived:
		return errors.New("op is archived, archived is false")
	case e.Op == OpRestored && e.Archived:
		return errors.New("op is restored, archived is true")
	case e.Op == OpMerged && e.MergedInto == "":
		return errors.New("merged without merged_into")
	case e.Op == OpPurged && len(e.Properties)+len(e.Previous) > 2*len("{}"):
		return errors.New("purged, but it has values")
	}
	for _, t := range []time.Time{e.CreatedAt, e.UpdatedAt, e.ArchivedAt} {
		if y := t.UTC().Year(); y < 1 || y > 9999 {
			return fmt.Errorf("time out of range: %s", t)
		}
	}
	return nil
}
