package schemas

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DecodeEvent reads a change event and checks it against its subject and its content hash. Unknown members are ignored,
// another schema than this package's is refused. The event shares m.Data, which must not change afterwards.
func DecodeEvent(m Message) (*Event, error) {
	subject, err := ParseSubject(m.Subject)
	if err != nil {
		return nil, err
	}
	e, err := decodeEvent(m, subject)
	if err != nil {
		return nil, fmt.Errorf("event on %s: %w", m.Subject, err)
	}
	return e, nil
}

func decodeEvent(m Message, subject Subject) (*Event, error) {
	if subject.Kind != KindRecord {
		return nil, errors.New("not the subject of a change event")
	}
	if err := checkSchema(m.Header, eventSchema); err != nil {
		return nil, err
	}
	e := &Event{Hash: header(m.Header, HeaderHash), Origin: Origin(header(m.Header, HeaderOrigin))}
	if err := e.decodeBody(m.Data, subject); err != nil {
		return nil, err
	}
	if id := header(m.Header, HeaderID); e.PreviousSeq > 0 && !strings.HasSuffix(id, e.Hash) {
		e.SameTime = strings.HasSuffix(id, ":"+strconv.FormatUint(e.PreviousSeq, 10))
	}
	if body := (Subject{Kind: KindRecord, Portal: e.Portal, Object: e.Object, ID: e.ID}); body != subject {
		return nil, fmt.Errorf("body is about %s, not about its subject", body)
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	if got := contentHash(e.Archived, e.MergedInto, e.Properties); e.Hash != string(got[:]) {
		return nil, fmt.Errorf("content hash is %s, header says %q", got, e.Hash)
	}
	return e, nil
}

func (e *Event) decodeBody(data []byte, subject Subject) error {
	if !utf8.Valid(data) {
		return errUTF8
	}
	s := Scanner{buf: data}
	s.Object(func(key []byte) {
		switch string(key) {
		case "portal":
			e.Portal = s.stringLike(subject.Portal)
		case "object":
			e.Object = s.stringLike(subject.Object)
		case "object_type_id":
			e.ObjectTypeID = s.String()
		case "id":
			e.ID = s.stringLike(subject.ID)
		case "op":
			e.Op = s.op()
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
			e.Properties = s.shared()
		case "changed":
			e.Changed = s.names()
		case "previous":
			e.Previous = s.shared()
		case "previous_seq":
			e.PreviousSeq = s.sequence()
		default:
			s.Skip()
		}
	})
	s.End()
	return s.Err()
}

// stringLike reads a string that is most likely the same as known, which then needs no copy.
func (s *Scanner) stringLike(known string) string {
	raw, escaped := s.RawString()
	if !escaped && string(raw) == known {
		return known
	}
	return text(raw)
}

func (s *Scanner) op() Op {
	raw, _ := s.RawString()
	for _, op := range ops {
		if string(raw) == string(op) {
			return op
		}
	}
	return Op(text(raw))
}

func (s *Scanner) sequence() uint64 {
	n, err := strconv.ParseUint(string(s.Raw()), 10, 64)
	if err != nil {
		s.fail("not a stream sequence")
	}
	return n
}

// names reads an array of strings, which share one copy of its text.
func (s *Scanner) names() []string {
	s.Peek()
	begin, n := s.pos, 0
	s.Array(func() { s.RawString(); n++ })
	if s.err != nil || n == 0 {
		return nil
	}
	array, names := string(s.buf[begin:s.pos]), make([]string, 0, n)
	again := Scanner{buf: s.buf, pos: begin}
	again.Array(func() {
		raw, escaped := again.RawString()
		if escaped {
			names = append(names, text(raw))
			return
		}
		end := again.pos - len(`"`) - begin
		names = append(names, array[end-len(raw):end])
	})
	return names
}
