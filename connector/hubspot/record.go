package hubspot

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// Record is one record as HubSpot answered it. The properties of all records of one answer share memory: who keeps one
// record for long keeps them all, unless they are cloned.
type Record struct {
	ID         string // canonical decimal
	Properties schemas.Properties
	CreatedAt  time.Time // zero if HubSpot gave none; all times to the millisecond
	UpdatedAt  time.Time
	ArchivedAt time.Time // zero unless archived
	Archived   bool
}

// RejectedRecord is a malformed record inside a valid answer: the other records of the answer survive.
type RejectedRecord struct {
	ID     string // "" if it could not be read
	Reason string
	Raw    string // what HubSpot sent, cut at 64 KiB
}

// maxRaw bounds the text kept of a rejected record.
const maxRaw = 64 << 10

// recordReader reads the records of one answer.
type recordReader struct {
	object Object
	arena  []byte // the properties of all records read so far
	err    error  // what is wrong with the record being read, the JSON being fine
}

// read reads one record from s. It returns an error if the record is malformed; if the JSON itself is, s.Err says so and the
// returned record means nothing.
func (r *recordReader) read(s *schemas.Scanner) (Record, error) {
	var rec Record
	r.err = nil
	start := len(r.arena)
	if s.Peek() != '{' {
		s.Skip()
		return rec, errors.New("record is not an object")
	}
	s.Object(func(key []byte) {
		switch string(key) {
		case "id":
			rec.ID = r.id(s)
		case "properties":
			if s.Peek() != '{' {
				s.Skip()
				r.reject("properties is not an object")
				return
			}
			from := len(r.arena)
			r.arena = s.AppendProperties(r.arena)
			rec.Properties = r.arena[from:len(r.arena):len(r.arena)]
		case "createdAt":
			rec.CreatedAt = r.time(s, "createdAt")
		case "updatedAt":
			rec.UpdatedAt = r.time(s, "updatedAt")
		case "archivedAt":
			rec.ArchivedAt = r.time(s, "archivedAt")
		case "archived":
			switch c := s.Peek(); c {
			case 't', 'f', 'n':
				rec.Archived = s.Bool()
			default:
				s.Skip()
				r.reject("archived is not true or false")
			}
		default:
			s.Skip() // HubSpot rule: new members appear at any time
		}
	})
	if r.err == nil {
		r.complete(&rec)
	}
	if r.err != nil {
		r.arena = r.arena[:start]
	}
	return rec, r.err
}

// complete checks that nothing is missing, and takes times that HubSpot left out from the properties that mirror them.
func (r *recordReader) complete(rec *Record) {
	switch {
	case rec.ID == "":
		r.reject("id is missing")
	case rec.Properties == nil:
		r.reject("properties are missing")
	}
	if r.err != nil {
		return
	}
	if rec.CreatedAt.IsZero() {
		rec.CreatedAt = propertyTime(rec.Properties, r.object.CreatedProperty)
	}
	if rec.UpdatedAt.IsZero() {
		if rec.UpdatedAt = propertyTime(rec.Properties, r.object.ModifiedProperty); rec.UpdatedAt.IsZero() {
			r.reject("updatedAt is missing")
		}
	}
	if !rec.Archived {
		rec.ArchivedAt = time.Time{}
	}
}

func (r *recordReader) reject(reason string) {
	if r.err == nil {
		r.err = errors.New(reason)
	}
}

func (r *recordReader) id(s *schemas.Scanner) string {
	var raw []byte
	if c := s.Peek(); c == '"' {
		raw, _ = s.RawString()
	} else {
		raw = s.Raw()
	}
	id, ok := canonicalID(raw)
	if !ok && s.Err() == nil {
		r.reject(fmt.Sprintf("id %.40q is not a number", raw))
	}
	return id
}

// canonicalID returns the decimal form without leading zeros that every id has everywhere in this project.
func canonicalID(raw []byte) (string, bool) {
	if len(raw) == 0 || len(raw) > 19 {
		return "", false
	}
	for _, c := range raw {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	id := string(bytes.TrimLeft(raw, "0"))
	if _, err := strconv.ParseInt(id, 10, 64); err != nil { // empty, or more than 63 bits
		return "", false
	}
	return id, true
}

// time reads a time in RFC 3339 or in epoch milliseconds, or null as the zero time.
func (r *recordReader) time(s *schemas.Scanner, member string) time.Time {
	switch s.Peek() {
	case 'n':
		s.Skip()
		return time.Time{}
	case '"':
		raw, _ := s.RawString()
		if t, ok := parseTime(raw); ok || s.Err() != nil {
			return t
		}
	default:
		if t, ok := parseTime(s.Raw()); ok || s.Err() != nil {
			return t
		}
	}
	r.reject(member + " is not a time")
	return time.Time{}
}

func propertyTime(p schemas.Properties, name string) time.Time {
	if name == "" {
		return time.Time{}
	}
	value, _ := p.Get(name)
	t, _ := parseTime([]byte(value))
	return t
}

// parseTime reads a time in RFC 3339, or in epoch milliseconds, which old data has even as "1600000000000.0".
func parseTime(raw []byte) (time.Time, bool) {
	var t time.Time
	if bytes.IndexByte(raw, '-') > 0 {
		if err := t.UnmarshalText(raw); err != nil {
			return time.Time{}, false
		}
		return t.UTC().Truncate(time.Millisecond), true
	}
	ms, err := strconv.ParseInt(string(bytes.TrimSuffix(raw, []byte(".0"))), 10, 64)
	if err != nil || ms > maxEpochMS || ms < -maxEpochMS {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// maxEpochMS keeps times within the years that RFC 3339 can write: the end of 9999.
const maxEpochMS = 253402300799999
