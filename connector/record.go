package connector

import (
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// newEvent returns the change from a record's last event to its present state.
func newEvent(portal string, o hubspot.Object, r hubspot.Record, last lastEvent, origin schemas.Origin, since time.Time) *schemas.Event {
	before := last.event()
	e := &schemas.Event{
		Portal:       portal,
		Object:       o.Name,
		ObjectTypeID: o.TypeID,
		ID:           r.ID,
		Op:           opOf(r, before, origin, since),
		Origin:       origin,
		Archived:     r.Archived,
		CreatedAt:    r.CreatedAt,
		UpdatedAt:    r.UpdatedAt,
		ArchivedAt:   r.ArchivedAt,
		Properties:   r.Properties,
		PreviousSeq:  last.seq,
	}
	if before != nil { // the first event has nothing to differ from: all of it is new
		e.Changed, e.Previous = schemas.Diff(before.Properties, r.Properties)
		e.SameTime = r.UpdatedAt.Equal(before.UpdatedAt)
	}
	return e
}

// opOf says what happened between a record's last event, nil if it has none, and its present state. A record is created
// if that was after the object's history began, and nobody had to search for it; otherwise it is only seen for the first
// time. Whatever happens to a record in the recycle bin, the event says that it is there: from the op alone can be told
// which records are.
func opOf(r hubspot.Record, last *schemas.Event, origin schemas.Origin, since time.Time) schemas.Op {
	switch {
	case r.Archived:
		return schemas.OpArchived
	case last == nil && (since.IsZero() || r.CreatedAt.Before(since) || origin == schemas.OriginVerify):
		return schemas.OpSnapshot
	case last == nil:
		return schemas.OpCreated
	case last.Archived:
		return schemas.OpRestored
	}
	return schemas.OpUpdated
}

// historyStart returns when the object's history begins: the start of its last full read that finished, or of the first
// one, under way. Records created earlier were there already.
func historyStart(c schemas.Cursor) time.Time {
	if c.BackfilledAt.IsZero() && c.Backfill != nil {
		return c.Backfill.StartedAt
	}
	return c.BackfilledAt
}

// inMillis cuts the record's times to milliseconds, the resolution of events, so that they compare as they are stored. A
// record without a modification time gets its creation's.
func inMillis(r hubspot.Record) hubspot.Record {
	for _, t := range []*time.Time{&r.CreatedAt, &r.UpdatedAt, &r.ArchivedAt} {
		if !t.IsZero() {
			*t = t.UTC().Truncate(time.Millisecond)
		}
	}
	if r.UpdatedAt.IsZero() {
		r.UpdatedAt = r.CreatedAt
	}
	return r
}
