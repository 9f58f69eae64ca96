package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Control is a message of the log that is not a change event.
type Control interface {
	Subject() Subject
	schema() string
	// normalise brings the message into the one form that is encoded: equal messages have equal bytes.
	normalise()
	// check reports what must not be in the log: wrong on the way in, refused on the way out.
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

// newControl returns an empty message of the type that travels on subjects of a kind, nil for change events.
func newControl(kind Kind) Control {
	switch kind {
	case KindProperties:
		return new(PropertyDefinitions)
	case KindPipelines:
		return new(Pipelines)
	case KindLinks:
		return new(Links)
	case KindCursor:
		return new(Cursor)
	case KindRun:
		return new(Run)
	case KindDeadLetter:
		return new(DeadLetter)
	}
	return nil
}

// EncodeControl returns a control message as a message of the log. It brings c itself into the form that a reader of
// the message will get: times in UTC and cut to milliseconds, lists in order and not nil.
func EncodeControl(c Control) (Message, error) {
	subject := c.Subject()
	c.normalise()
	if err := checkControl(c); err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", subject, err)
	}
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", subject, err)
	}
	return Message{
		Subject: subject.String(),
		Header:  map[string][]string{HeaderContentType: {contentType}, HeaderDataSchema: {SchemaURI(c.schema())}},
		Data:    bytes.TrimSuffix(data.Bytes(), []byte("\n")),
	}, nil
}

// DecodeControl reads a control message, of the type its subject says, and checks it against its subject. Unknown
// members are ignored, another schema than this package's is refused.
func DecodeControl(m Message) (Control, error) {
	subject, err := ParseSubject(m.Subject)
	if err != nil {
		return nil, err
	}
	c := newControl(subject.Kind)
	if c == nil {
		return nil, fmt.Errorf("message on %s is a change event", m.Subject)
	}
	if err := decodeControl(c, m, subject); err != nil {
		return nil, fmt.Errorf("message on %s: %w", m.Subject, err)
	}
	return c, nil
}

func decodeControl(c Control, m Message, subject Subject) error {
	if err := checkSchema(m.Header, SchemaURI(c.schema())); err != nil {
		return err
	}
	if !utf8.Valid(m.Data) {
		return errUTF8
	}
	if err := json.Unmarshal(m.Data, c); err != nil {
		return err
	}
	if body := c.Subject(); body != subject {
		return fmt.Errorf("body is about %s, not about its subject", body)
	}
	return checkControl(c)
}

func checkControl(c Control) error {
	s := c.Subject()
	if s.Portal == "" || s.Object == "" {
		return errors.New("no portal or object")
	}
	if s.Kind == KindLinks && (s.ID == "" || s.To == "") || s.Kind == KindDeadLetter && s.ID == "" {
		return errors.New("no record id or no object to link to")
	}
	return c.check()
}

// errMissing is for a list or text whose absence would be taken for "none".
func errMissing(member string) error { return fmt.Errorf("no %s", member) }

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
