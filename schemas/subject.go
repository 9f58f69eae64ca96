package schemas

import (
	"encoding/hex"
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
func (s Subject) String() string {
	b := make([]byte, 0, 64)
	b = append(b, Root...)
	b = appendToken(append(b, '.'), s.Portal)
	if s.Kind != KindRecord {
		b = append(append(b, '.'), s.Kind...)
	}
	b = appendToken(append(b, '.'), s.Object)
	switch s.Kind {
	case KindRecord, KindDeadLetter:
		b = appendToken(append(b, '.'), s.ID)
	case KindLinks:
		b = appendToken(append(b, '.'), s.ID)
		b = appendToken(append(b, '.'), s.To)
	}
	return string(b)
}

// RecordSubject returns the subject of a record's change events.
func RecordSubject(portal, object, id string) string {
	return Subject{Kind: KindRecord, Portal: portal, Object: object, ID: id}.String()
}

// ControlSubject returns the subject of a message about an object type: its cursor, run, properties or pipelines.
func ControlSubject(kind Kind, portal, object string) string {
	return Subject{Kind: kind, Portal: portal, Object: object}.String()
}

// ParseSubject splits a subject of the log.
func ParseSubject(subject string) (Subject, error) {
	tokens := strings.Split(subject, ".")
	bad := func(why string) (Subject, error) {
		return Subject{}, fmt.Errorf("subject %q: %s", subject, why)
	}
	if len(tokens) < 4 || tokens[0] != Root {
		return bad("not of the form " + Root + ".<portal>.<object>.<id>")
	}
	s := Subject{Kind: KindRecord}
	rest := tokens[2:]
	if strings.HasPrefix(rest[0], "_") && !strings.HasPrefix(rest[0], encodedPrefix) {
		s.Kind, rest = Kind(rest[0]), rest[1:]
	}
	fields := []*string{&s.Object}
	switch s.Kind {
	case KindRecord, KindDeadLetter:
		fields = append(fields, &s.ID)
	case KindLinks:
		fields = append(fields, &s.ID, &s.To)
	case KindProperties, KindPipelines, KindCursor, KindRun:
	default:
		return bad("unknown kind " + string(s.Kind))
	}
	if len(rest) != len(fields) {
		return bad("wrong number of tokens")
	}
	var err error
	if s.Portal, err = DecodeToken(tokens[1]); err != nil {
		return bad(err.Error())
	}
	for i, field := range fields {
		if *field, err = DecodeToken(rest[i]); err != nil {
			return bad(err.Error())
		}
	}
	return s, nil
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

func plainToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' && i > 0) {
			return false
		}
	}
	return text != ""
}
