package schemas

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// PropertyDefinitions are the property definitions of one object type, whole, on `_properties.<object>`.
type PropertyDefinitions struct {
	Portal       string     `json:"portal"`
	Object       string     `json:"object"`
	ObjectTypeID string     `json:"object_type_id,omitempty"`
	Properties   []Property `json:"properties"` // ascending by name
}

// Property is one property definition, with the fields of HubSpot's properties API that consumers need.
type Property struct {
	Name           string   `json:"name"`
	Label          string   `json:"label,omitempty"`
	Type           string   `json:"type"` // string, number, bool, enumeration, date, datetime, phone_number, json, object_coordinates, ...
	FieldType      string   `json:"field_type,omitempty"`
	Description    string   `json:"description,omitempty"`
	GroupName      string   `json:"group_name,omitempty"`
	Options        []Option `json:"options,omitempty"`
	Calculated     bool     `json:"calculated,omitempty"`
	Hidden         bool     `json:"hidden,omitempty"`
	HasUniqueValue bool     `json:"has_unique_value,omitempty"`
	HubSpotDefined bool     `json:"hubspot_defined,omitempty"`
	Archived       bool     `json:"archived,omitempty"`
}

// Option is one value of an enumeration property.
type Option struct {
	Value  string `json:"value"`
	Label  string `json:"label,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
}

// Pipelines are the pipelines of one object type, whole, on `_pipelines.<object>`.
type Pipelines struct {
	Portal    string     `json:"portal"`
	Object    string     `json:"object"`
	Pipelines []Pipeline `json:"pipelines"`
}

// Pipeline is a pipeline with its stages.
type Pipeline struct {
	ID           string    `json:"id"`
	Label        string    `json:"label"`
	DisplayOrder int       `json:"display_order"`
	Archived     bool      `json:"archived,omitempty"`
	CreatedAt    time.Time `json:"created_at,omitzero"`
	UpdatedAt    time.Time `json:"updated_at,omitzero"`
	Stages       []Stage   `json:"stages"`
}

// Stage is one stage of a pipeline. Metadata values are strings, as HubSpot sends them ("isClosed": "false").
type Stage struct {
	ID           string            `json:"id"`
	Label        string            `json:"label"`
	DisplayOrder int               `json:"display_order"`
	Archived     bool              `json:"archived,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	CreatedAt    time.Time         `json:"created_at,omitzero"`
	UpdatedAt    time.Time         `json:"updated_at,omitzero"`
}

// Links is the full set of associations from one record to one object type, on `_links.<from>.<id>.<to>`. An empty set
// says that there are none (any more).
type Links struct {
	Portal string `json:"portal"`
	From   string `json:"from"`
	ID     string `json:"id"`
	To     string `json:"to"`
	Links  []Link `json:"links"` // ascending by id, category, type id
}

// Link is one association: a pair of records can have several, one per type.
type Link struct {
	ID       string `json:"id"` // of the record linked to
	Category string `json:"category"`
	TypeID   int    `json:"type_id"`
	Label    string `json:"label,omitempty"`
}

// Cursor says how far the source has read an object type, on `_cursor.<object>`, in the same atomic batch as the page it
// accounts for. It is all the source needs to go on after a crash.
type Cursor struct {
	Portal   string    `json:"portal"`
	Object   string    `json:"object"`
	Instance string    `json:"instance"` // the process that wrote it
	At       time.Time `json:"at"`       // HubSpot's clock when it was written
	// Backfill is the full read under way, nil if there is none.
	Backfill *Backfill `json:"backfill,omitempty"`
	// BackfilledAt is when the last full read that finished began; zero if none ever did.
	BackfilledAt time.Time `json:"backfilled_at,omitzero"`
	// PolledTo is where the fast lane stands: the newest modification time it has read.
	PolledTo time.Time `json:"polled_to,omitzero"`
	// CompleteThrough is the watermark: everything modified before it is in the log. Zero until the first backfill is done.
	CompleteThrough time.Time `json:"complete_through,omitzero"`
}

// Backfill is the state of a full read: the id ranges that remain.
type Backfill struct {
	RunID     string    `json:"run_id"`
	StartedAt time.Time `json:"started_at"` // HubSpot's clock; the incremental pass at the end starts from before it
	Ranges    []Range   `json:"ranges"`     // disjoint, ascending; empty when everything was read
	Total     int64     `json:"total"`      // records, as search counted them at the start; 0 if unknown
	Counts    Counts    `json:"counts"`
}

// Range is a half-open range of record ids, [From, To): list reads it upward, search downward, until they meet.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

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
	SyncType    string    `json:"sync_type"` // "full", "incremental"
	Status      string    `json:"status"`    // "success", "partial" (some records failed), "failed"
	StartedAt   time.Time `json:"started_at"`
	CompletedAt time.Time `json:"completed_at"`
	Counts
	Error string `json:"error,omitempty"`
}

// DeadLetter is a record that the source read but could not turn into an event, on `_dead_letter.<object>.<id>`.
type DeadLetter struct {
	Portal string    `json:"portal"`
	Object string    `json:"object"`
	ID     string    `json:"id"` // "unknown" if it could not be read
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Record string    `json:"record"` // what HubSpot sent, as text, cut at 64 KiB
}

// Control is a message of the log that is not a change event.
type Control interface {
	Subject() Subject
	schema() string
	check() error
}

var (
	_ Control = (*PropertyDefinitions)(nil)
	_ Control = (*Pipelines)(nil)
	_ Control = (*Links)(nil)
	_ Control = (*Cursor)(nil)
	_ Control = (*Run)(nil)
	_ Control = (*DeadLetter)(nil)
)

// Subject returns where the message travels.
func (p *PropertyDefinitions) Subject() Subject {
	return Subject{Kind: KindProperties, Portal: p.Portal, Object: p.Object}
}

// Subject returns where the message travels.
func (p *Pipelines) Subject() Subject {
	return Subject{Kind: KindPipelines, Portal: p.Portal, Object: p.Object}
}

// Subject returns where the message travels.
func (l *Links) Subject() Subject {
	return Subject{Kind: KindLinks, Portal: l.Portal, Object: l.From, ID: l.ID, To: l.To}
}

// Subject returns where the message travels.
func (c *Cursor) Subject() Subject {
	return Subject{Kind: KindCursor, Portal: c.Portal, Object: c.Object}
}

// Subject returns where the message travels.
func (r *Run) Subject() Subject { return Subject{Kind: KindRun, Portal: r.Portal, Object: r.Object} }

// Subject returns where the message travels.
func (d *DeadLetter) Subject() Subject {
	return Subject{Kind: KindDeadLetter, Portal: d.Portal, Object: d.Object, ID: d.ID}
}

func (*PropertyDefinitions) schema() string { return "properties" }
func (*Pipelines) schema() string           { return "pipelines" }
func (*Links) schema() string               { return "links" }
func (*Cursor) schema() string              { return "cursor" }
func (*Run) schema() string                 { return "run" }
func (*DeadLetter) schema() string          { return "dead_letter" }

func (p *PropertyDefinitions) check() error {
	for _, d := range p.Properties {
		if d.Name == "" || d.Type == "" {
			return fmt.Errorf("property %q has no name or no type", d.Name)
		}
	}
	return nil
}
func (*Pipelines) check() error  { return nil }
func (*Links) check() error      { return nil }
func (*DeadLetter) check() error { return nil }

func (c *Cursor) check() error {
	if c.Backfill == nil {
		return nil
	}
	end := int64(0)
	for _, r := range c.Backfill.Ranges {
		if r.From < end || r.To <= r.From {
			return fmt.Errorf("backfill range %d-%d is empty or out of order", r.From, r.To)
		}
		end = r.To
	}
	return nil
}

func (r *Run) check() error {
	if !slices.Contains([]string{"success", "partial", "failed"}, r.Status) {
		return fmt.Errorf("unknown status %q", r.Status)
	}
	return nil
}

// EncodeControl returns a control message as a message of the log.
func EncodeControl(c Control) (Message, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", c.Subject(), err)
	}
	return Message{
		Subject: c.Subject().String(),
		Header:  map[string][]string{HeaderContentType: {contentType}, HeaderDataSchema: {SchemaURI(c.schema())}},
		Data:    data,
	}, nil
}

// DecodeControl reads a control message, of the type its subject says, and checks it against its subject.
func DecodeControl(m Message) (Control, error) {
	subject, err := ParseSubject(m.Subject)
	if err != nil {
		return nil, err
	}
	var c Control
	switch subject.Kind {
	case KindProperties:
		c = new(PropertyDefinitions)
	case KindPipelines:
		c = new(Pipelines)
	case KindLinks:
		c = new(Links)
	case KindCursor:
		c = new(Cursor)
	case KindRun:
		c = new(Run)
	case KindDeadLetter:
		c = new(DeadLetter)
	default:
		return nil, fmt.Errorf("message on %s is a change event", m.Subject)
	}
	if err := json.Unmarshal(m.Data, c); err != nil {
		return nil, fmt.Errorf("message on %s: %w", m.Subject, err)
	}
	if c.Subject() != subject {
		return nil, fmt.Errorf("message on %s: body is about %s, not about its subject", m.Subject, c.Subject())
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("message on %s: %w", m.Subject, err)
	}
	return c, nil
}
