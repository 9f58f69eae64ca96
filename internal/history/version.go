package history

import (
	"context"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// Change is a property's value before and after; nil is none.
type Change struct {
	Property string  `json:"property"`
	Old      *string `json:"old"`
	New      *string `json:"new"`
}

// Version is one event of a record: what it was from then on, and what had changed.
type Version struct {
	Portal      string             `json:"portal"`
	Object      string             `json:"object"`
	ID          string             `json:"id"`
	Seq         uint64             `json:"seq"`
	PreviousSeq uint64             `json:"previous_seq"` // of the record's event before this one, 0 if there is none
	LoggedAt    time.Time          `json:"logged_at"`
	Op          schemas.Op         `json:"op"`
	Origin      schemas.Origin     `json:"origin"`
	UpdatedAt   time.Time          `json:"updated_at,omitzero"` // HubSpot's modification time
	CreatedAt   time.Time          `json:"created_at,omitzero"`
	Archived    bool               `json:"archived"`
	ArchivedAt  time.Time          `json:"archived_at,omitzero"`
	MergedInto  string             `json:"merged_into,omitempty"`
	Changed     []Change           `json:"changed"`
	Properties  schemas.Properties `json:"properties"`      // all values
	Error       string             `json:"error,omitempty"` // why the message is no event; then all it says is missing
}

// VersionOf reads a message of a record's subject.
func VersionOf(e Entry) Version {
	subject, _ := schemas.ParseSubject(e.Subject)
	v := Version{Portal: subject.Portal, Object: subject.Object, ID: subject.ID, Seq: e.Seq, LoggedAt: e.Time.UTC(), Changed: []Change{}}
	event, err := schemas.DecodeEvent(e.Message)
	if err != nil {
		v.Error = err.Error()
		return v
	}
	v.Op, v.Origin, v.PreviousSeq = event.Op, event.Origin, event.PreviousSeq
	v.UpdatedAt, v.CreatedAt, v.Archived, v.ArchivedAt, v.MergedInto = event.UpdatedAt, event.CreatedAt, event.Archived, event.ArchivedAt, event.MergedInto
	v.Properties = event.Properties
	for _, name := range event.Changed {
		v.Changed = append(v.Changed, Change{name, value(event.Previous, name), value(event.Properties, name)})
	}
	return v
}

func value(p schemas.Properties, name string) *string {
	if v, ok := p.Get(name); ok {
		return &v
	}
	return nil
}

// Ended reports whether the record is in the recycle bin, merged away or deleted for privacy.
func (v *Version) Ended() bool {
	return v.Archived || v.Op == schemas.OpMerged || v.Op == schemas.OpPurged
}

// Record is what the log keeps of a record's history.
type Record struct {
	Object, ID string
	Versions   []Version // oldest first; none if the log never had it
}

// ReadRecord reads the versions of a record. The log must have been opened for its portal.
func (l *Log) ReadRecord(ctx context.Context, object, id string) (*Record, error) {
	entries, err := l.Messages(ctx, schemas.RecordSubject(l.portal, object, id))
	if err != nil {
		return nil, err
	}
	r := &Record{Object: object, ID: id, Versions: make([]Version, len(entries))}
	for i, e := range entries {
		r.Versions[i] = VersionOf(e)
	}
	return r, nil
}

// Last returns the newest version, nil if there is none.
func (r *Record) Last() *Version {
	if len(r.Versions) == 0 {
		return nil
	}
	return &r.Versions[len(r.Versions)-1]
}

// Erased reports whether the record was deleted for privacy: then nothing is kept of what it was.
func (r *Record) Erased() bool {
	last := r.Last()
	return last != nil && last.Op == schemas.OpPurged
}

// Complete reports whether the first version that is kept is the record's first.
func (r *Record) Complete() bool {
	return len(r.Versions) == 0 || r.Versions[0].PreviousSeq == 0 && r.Versions[0].Error == ""
}
