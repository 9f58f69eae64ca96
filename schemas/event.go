package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Op says what happened to a record.
type Op string

// The operations of a change event.
const (
	OpSnapshot Op = "snapshot" // seen for the first time, by backfill or verify: nobody should send a welcome mail for it
	OpCreated  Op = "created"
	OpUpdated  Op = "updated"
	OpArchived Op = "archived" // HubSpot's recycle bin
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

// Event is one change of one record, with the record's full state after it.
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
}

// ContentHash returns the 32 hexadecimal digits that two states of a record share exactly when archived, merged-into and
// every property value are the same. UpdatedAt is not part of it.
func ContentHash(archived bool, mergedInto string, p Properties) string {
	h := sha256.New()
	if archived {
		h.Write([]byte("archived\n"))
	}
	if mergedInto != "" {
		h.Write([]byte("merged " + mergedInto + "\n"))
	}
	h.Write(p.canonical())
	var sum [sha256.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0])[:16])
}

// CEID returns the event's CloudEvents id, `<object>:<id>:<updatedAt ms>:<hash>`: the same for the same state, however
// often it is read.
func (e *Event) CEID() string {
	b := make([]byte, 0, len(e.Object)+len(e.ID)+50)
	b = append(append(b, e.Object...), ':')
	b = append(append(b, e.ID...), ':')
	b = strconv.AppendInt(b, e.UpdatedAt.UnixMilli(), 10)
	return string(append(append(b, ':'), e.Hash...))
}

// Encode returns the event as a message of the log. An empty Hash is filled in.
func (e *Event) Encode() Message {
	if e.Hash == "" {
		e.Hash = ContentHash(e.Archived, e.MergedInto, e.Properties)
	}
	return Message{
		Subject: RecordSubject(e.Portal, e.Object, e.ID),
		Header: map[string][]string{
			HeaderID:          {e.CEID()},
			HeaderSpecVersion: {"1.0"},
			HeaderSource:      {Root + "/" + e.Portal},
			HeaderType:        {Root + "." + e.Object + "." + string(e.Op)},
			HeaderSubject:     {e.ID},
			HeaderTime:        {formatTime(e.UpdatedAt)},
			HeaderDataSchema:  {SchemaURI("event")},
			HeaderContentType: {contentType},
			HeaderHash:        {e.Hash},
			HeaderOrigin:      {string(e.Origin)},
		},
		Data: e.appendBody(make([]byte, 0, len(e.Properties)+len(e.Previous)+512)),
	}
}

func (e *Event) appendBody(b []byte) []byte {
	b = appendMember(append(b, '{'), "portal", e.Portal)
	b = appendMember(b, "object", e.Object)
	b = appendMember(b, "object_type_id", e.ObjectTypeID)
	b = appendMember(b, "id", e.ID)
	b = appendMember(b, "op", string(e.Op))
	b = strconv.AppendBool(append(b, `,"archived":`...), e.Archived)
	for _, t := range []struct {
		name string
		time time.Time
	}{{"created_at", e.CreatedAt}, {"updated_at", e.UpdatedAt}, {"archived_at", e.ArchivedAt}} {
		if !t.time.IsZero() {
			b = appendMember(b, t.name, formatTime(t.time))
		}
	}
	if e.MergedInto != "" {
		b = appendMember(b, "merged_into", e.MergedInto)
	}
	b = append(append(b, `,"properties":`...), e.Properties.canonical()...)
	b = append(b, `,"changed":[`...)
	for i, name := range e.Changed {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, name)
	}
	b = append(append(b, `],"previous":`...), e.Previous.canonical()...)
	b = strconv.AppendUint(append(b, `,"previous_seq":`...), e.PreviousSeq, 10)
	return append(b, '}')
}

func appendMember(b []byte, name, value string) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(append(append(b, '"'), name...), '"', ':')
	return AppendString(b, value)
}

// DecodeEvent reads a change event and checks it against its subject. Unknown members are ignored.
func DecodeEvent(m Message) (*Event, error) {
	subject, err := ParseSubject(m.Subject)
	if err != nil {
		return nil, err
	}
	e := &Event{Hash: header(m.Header, HeaderHash), Origin: Origin(header(m.Header, HeaderOrigin))}
	if err := e.decodeBody(m.Data); err != nil {
		return nil, fmt.Errorf("event on %s: %w", m.Subject, err)
	}
	if err := e.check(subject); err != nil {
		return nil, fmt.Errorf("event on %s: %w", m.Subject, err)
	}
	return e, nil
}

func (e *Event) check(subject Subject) error {
	if want := (Subject{Kind: KindRecord, Portal: e.Portal, Object: e.Object, ID: e.ID}); subject != want {
		return fmt.Errorf("body is about %s, not about its subject", want)
	}
	if !slices.Contains(ops, e.Op) {
		return fmt.Errorf("unknown op %q", e.Op)
	}
	if !slices.Contains(origins, e.Origin) {
		return fmt.Errorf("unknown origin %q", e.Origin)
	}
	if e.Op == OpMerged && e.MergedInto == "" {
		return errors.New("merged without merged_into")
	}
	if e.UpdatedAt.IsZero() {
		return errors.New("no updated_at")
	}
	if got := ContentHash(e.Archived, e.MergedInto, e.Properties); e.Hash != got {
		return fmt.Errorf("content hash is %s, header says %q", got, e.Hash)
	}
	return nil
}

func (e *Event) decodeBody(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("invalid UTF-8")
	}
	s := NewScanner(data)
	s.Object(func(key []byte) {
		switch string(key) {
		case "portal":
			e.Portal = s.String()
		case "object":
			e.Object = s.String()
		case "object_type_id":
			e.ObjectTypeID = s.String()
		case "id":
			e.ID = s.String()
		case "op":
			e.Op = Op(s.String())
		case "archived":
			e.Archived = s.Bool()
		case "created_at":
			e.CreatedAt = s.Time()
		case "updated_at":
			e.UpdatedAt = s.Time()
		case "archived_at":
			e.ArchivedAt = s.Time()
		case "merged_into":
			e.MergedInto = s.String()
		case "properties":
			e.Properties = s.properties(make([]byte, 0, len(data)))
		case "changed":
			s.Array(func() { e.Changed = append(e.Changed, s.String()) })
		case "previous":
			e.Previous = s.properties(nil)
		case "previous_seq":
			n, err := strconv.ParseUint(string(s.Raw()), 10, 64)
			if err != nil {
				s.fail("previous_seq is not a sequence")
			}
			e.PreviousSeq = n
		default:
			s.Skip()
		}
	})
	if s.Err() == nil && s.Peek() != 0 {
		s.fail("text after the event")
	}
	return s.Err()
}

const timeFormat = "2006-01-02T15:04:05.000Z"

func formatTime(t time.Time) string { return t.UTC().Format(timeFormat) }

// Time reads a time in RFC 3339, or null as the zero time.
func (s *Scanner) Time() time.Time {
	if s.Peek() == 'n' {
		s.Skip()
		return time.Time{}
	}
	text := s.String()
	if s.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		s.fail("not an RFC 3339 time: " + text)
		return time.Time{}
	}
	return t.UTC()
}
