package connector

import (
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// ending says that HubSpot has a record no longer, or not under its id: there is nothing to be read that would say so.
// (An archived record that can be read is a record with Archived set.)
type ending struct {
	ID         string
	Op         schemas.Op // OpMerged, OpPurged, or OpArchived for one that is simply gone
	MergedInto string     // the winner, for OpMerged
	Told       bool       // only a webhook says so: HubSpot's own word about the record counts more
	At         time.Time  // when it happened, or was noticed; HubSpot's clock
}

// judgeEnding compares the ending with the record's last event. A record that the log never had has no end in it either,
// but a purged one: its history is gone before its event comes.
func (e *entry) judgeEnding() {
	if e.last.seq == 0 {
		if e.ending.Op != schemas.OpPurged {
			e.verdict = unchanged
		}
		return
	}
	last := e.last.event()
	switch {
	case last.Op == schemas.OpPurged,
		e.ending.Told && (last.Op != schemas.OpArchived || last.MergedInto != ""),
		e.ending.Op == schemas.OpMerged && last.MergedInto == e.ending.MergedInto,
		e.ending.Op == schemas.OpArchived && last.Archived:
		e.verdict = unchanged
	}
}

// newEnding returns the event of a record's end: its last known state, of which a purged one keeps nothing.
func newEnding(portal string, o hubspot.Object, end ending, last lastEvent, origin schemas.Origin) *schemas.Event {
	e := &schemas.Event{
		Portal: portal, Object: o.Name, ObjectTypeID: o.TypeID, ID: end.ID, Op: end.Op, Origin: origin,
		Archived: true, ArchivedAt: end.At, MergedInto: end.MergedInto, UpdatedAt: end.At, PreviousSeq: last.seq,
	}
	before := last.event()
	if before == nil {
		return e
	}
	e.CreatedAt = before.CreatedAt
	if end.Op != schemas.OpPurged {
		e.Properties, e.UpdatedAt, e.SameTime = before.Properties, before.UpdatedAt, true
	}
	return e
}
