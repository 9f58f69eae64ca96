package schemas

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Root is the first token of every subject of the log.
const Root = "hubspot"

// Kind says what a message of the log is about.
type Kind string

// The kinds of message, by the subject they travel on.
const (
	KindRecord     Kind = "record"       // hubspot.<portal>.<object>.<id>
	KindLinks      Kind = "_links"       // hubspot.<portal>._links.<from>.<id>.<to>
	KindProperties Kind = "_properties"  // hubspot.<portal>._properties.<object>
	KindPipelines  Kind = "_pipelines"   // hubspot.<portal>._pipelines.<object>
	KindCursor     Kind = "_cursor"      // hubspot.<portal>._cursor.<object>
	KindRun        Kind = "_run"         // hubspot.<portal>._run.<object>
	KindDeadLetter Kind = "_dead_letter" // hubspot.<portal>._dead_letter.<object>.<id>
)

// Subject is a subject of the log in parts. ID is set for records, links and dead letters, To for links.
type Subject struct {
	Kind   Kind
	Portal string
	Object string
	ID     string
	To     string
}

// String returns the subject as NATS knows it, every token encoded by EncodeToken.
func (s Subject) String() string { return string(s.appendTo(make([]byte, 0, 64))) }

func (s Subject) appendTo(b []byte) []byte {
	b = append(b, Root...)
	b = appendToken(append(b, '.'), s.Portal)
	if s.Kind != KindRecord {
		b = append(append(b, '.'), s.Kind...)
	}
	fields := [...]string{s.Object, s.ID, s.To}
	for _, field := range fields[:tokens(s.Kind)] {
		b = appendToken(append(b, '.'), field)
	}
	return b
}

// RecordSubject returns the subject of a record's change events.
func RecordSubject(portal, object, id string) string {
	return Subject{Kind: KindRecord, Portal: portal, Object: object, ID: id}.String()
}

// ControlSubject returns the subject of a message about an object type: its cursor, run, properties or pipelines.
func ControlSubject(kind Kind, portal, object string) string {
	return Subject{Kind: kind, Portal: portal, Object: object}.String()
}

// ErrUnknownKind is in the error of ParseSubject for a well-formed subject of a kind that this version does not know.
// New kinds may come within v1; a reader skips their messages.
var ErrUnknownKind = errors.New("unknown kind of message")

// ParseSubject splits a subject of the log.
func ParseSubject(subject string) (Subject, error) {
	s, err := parseSubject(subject)
	if err != nil {
		return Subject{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	return s, nil
}

func parseSubject(subject string) (s Subject, err error) {
	root, rest, _ := strings.Cut(subject, ".")
	portal, rest, _ := strings.Cut(rest, ".")
	if root != Root || rest == "" {
		return s, errors.New("not of the form " + Root + ".<portal>.<object>.<id>")
	}
	s.Kind = KindRecord
	if rest[0] == '_' && !strings.HasPrefix(rest, encodedPrefix) {
		var kind string
		kind, rest, _ = strings.Cut(rest, ".")
		s.Kind = Kind(kind)
	}
	fields := [...]*string{&s.Object, &s.ID, &s.To}
	n := tokens(s.Kind)
	if n == 0 && plainToken(string(s.Kind[1:])) {
		return s, fmt.Errorf("%w %q", ErrUnknownKind, s.Kind)
	}
	if n == 0 {
		return s, fmt.Errorf("token %q is not a kind of message", s.Kind)
	}
	if s.Portal, err = DecodeToken(portal); err != nil {
		return s, err
	}
	if strings.Count(rest, ".") != n-1 {
		return s, errors.New("wrong number of tokens")
	}
	for _, field := range fields[:n] {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		if *field, err = DecodeToken(token); err != nil {
			return s, err
		}
	}
	return s, nil
}

// tokens returns how many tokens follow portal and kind in a subject: object, id, to. It is 0 for an unknown kind.
func tokens(k Kind) int {
	switch k {
	case KindProperties, KindPipelines, KindCursor, KindRun:
		return 1
	case KindRecord, KindDeadLetter:
		return 2
	case KindLinks:
		return 3
	}
	return 0
}

// encodedPrefix starts a token that had to be encoded. Plain tokens never start with "_".
const encodedPrefix = "_x"

// EncodeToken makes any text a subject token. Text of letters, digits, "_" and "-" that does not start with "_" stays as
// it is; anything else becomes "_x" and its bytes in hexadecimal. (A NATS server would store a literal "*" in a subject,
// and no filter could address it again.)
func EncodeToken(text string) string { return string(appendToken(nil, text)) }

func appendToken(dst []byte, text string) []byte {
	if plainToken(text) {
		return append(dst, text...)
	}
	return hex.AppendEncode(append(dst, encodedPrefix...), []byte(text))
}

// DecodeToken undoes EncodeToken and refuses what EncodeToken never makes.
func DecodeToken(token string) (string, error) {
	encoded, ok := strings.CutPrefix(token, encodedPrefix)
	if !ok {
		if !plainToken(token) {
			return "", fmt.Errorf("token %q is not letters, digits, _ and -", token)
		}
		return token, nil
	}
	text, err := hex.DecodeString(encoded)
	if err != nil || EncodeToken(string(text)) != token {
		return "", fmt.Errorf("token %q is not a valid encoding", token)
	}
	return string(text), nil
}

// plainToken also keeps out what would be taken for an encoded token or a kind.
func plainToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' && i > 0) {
			return false
		}
	}
	return text != ""
}
