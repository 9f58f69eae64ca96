package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/hubtail/hubtail/schemas"
)

// requestTimeout bounds one request to the log. The client ends the answers of a request without an error when its time is
// over, so a bound is always set and always looked at.
const requestTimeout = 10 * time.Second

// Log is the stream that holds the log, with what was known of it when it was opened.
type Log struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	name   string
	portal string // "" means all

	Created  time.Time // when the stream was created: its identity
	FirstSeq uint64    // oldest message that is kept
	LastSeq  uint64    // newest message when the log was opened: what comes later is not looked at
	LastTime time.Time // when that one was logged
	Depth    int64     // how many messages are kept of a subject, 0 means all
}

// Entry is a message of the log, where it stands there and when it was stored.
type Entry struct {
	schemas.Message
	Seq  uint64
	Time time.Time
}

// Open looks at the stream. portal restricts what is read to one portal; "" means all.
func Open(ctx context.Context, js jetstream.JetStream, stream, portal string) (*Log, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("there is no log yet: start a source, it creates stream %s", stream)
	}
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	info := s.CachedInfo()
	return &Log{
		js: js, stream: s, name: stream, portal: portal, Created: info.Created, FirstSeq: info.State.FirstSeq,
		LastSeq: info.State.LastSeq, LastTime: info.State.LastTime, Depth: max(info.Config.MaxMsgsPerSubject, 0),
	}, nil
}

// Portal returns the portal that the log was opened for, "" if all.
func (l *Log) Portal() string { return l.portal }

// portalToken is the portal's token in filters.
func (l *Log) portalToken() string {
	if l.portal == "" {
		return "*"
	}
	return schemas.EncodeToken(l.portal)
}

// Filters returns the subjects of the records of object types, of all if none is named. The filter for all selects control
// messages of object types too.
func (l *Log) Filters(objects ...string) []string {
	prefix := schemas.Root + "." + l.portalToken() + "."
	if len(objects) == 0 {
		return []string{prefix + "*.*"}
	}
	filters := make([]string, len(objects))
	for i, object := range objects {
		filters[i] = prefix + schemas.EncodeToken(object) + ".*"
	}
	return filters
}

// about returns the subjects of everything about object types, of all if none is named, and those of their definitions.
func (l *Log) about(objects []string) (filters, definitions []string) {
	prefix := schemas.Root + "." + l.portalToken() + "."
	kind := func(k schemas.Kind, rest string) string { return prefix + string(k) + "." + rest }
	if len(objects) == 0 {
		return []string{prefix + ">"}, []string{kind(schemas.KindProperties, "*")}
	}
	for _, object := range objects {
		token := schemas.EncodeToken(object)
		filters = append(filters, prefix+token+".*", kind(schemas.KindLinks, token+".>"), kind(schemas.KindDeadLetter, token+".>"))
		for _, k := range []schemas.Kind{schemas.KindProperties, schemas.KindPipelines, schemas.KindCursor, schemas.KindRun} {
			filters = append(filters, kind(k, token))
		}
		definitions = append(definitions, kind(schemas.KindProperties, token))
	}
	return filters, definitions
}

// get sends one request and hands every answer to do. It reports whether the answers ended as the server says they do.
func (l *Log) get(ctx context.Context, do func(*jetstream.RawStreamMsg), request func(context.Context) (answers, error)) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	all, err := request(ctx)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", l.name, err)
	}
	for m, err := range all {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", l.name, err)
		}
		do(m)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read stream %s: %w", l.name, err)
	}
	return nil
}

// answers are messages as the client hands them out.
type answers = func(yield func(*jetstream.RawStreamMsg, error) bool)

func entryOf(m *jetstream.RawStreamMsg) Entry {
	return Entry{Message: schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}, Seq: m.Sequence, Time: m.Time}
}

// batchSize is how many messages or subjects one request asks for. NATS rule: at most 1,024 subjects; fewer keep the
// answers within a client's buffers.
const batchSize = 256

// Messages returns all messages that are kept of a subject, oldest first. The subject may have wildcards.
func (l *Log) Messages(ctx context.Context, subject string) ([]Entry, error) {
	var all []Entry
	for next := uint64(1); ; {
		n := len(all)
		err := l.get(ctx, func(m *jetstream.RawStreamMsg) { all = append(all, entryOf(m)) },
			func(ctx context.Context) (answers, error) {
				a, err := jetstreamext.GetBatch(ctx, l.js, l.name, batchSize, jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchSeq(next))
				return answers(a), err
			})
		if err != nil || len(all) == n { // a batch may end early, by the server's limit in bytes: only an empty one is the end
			return all, err
		}
		next = all[len(all)-1].Seq + 1
	}
}

// LastAt returns the last message of each subject at or before a sequence, by subject, for those that have one. The
// subjects have no wildcards.
func (l *Log) LastAt(ctx context.Context, subjects []string, seq uint64) (map[string]Entry, error) {
	found := make(map[string]Entry, len(subjects))
	for len(subjects) > 0 && seq > 0 {
		chunk := subjects[:min(batchSize, len(subjects))]
		subjects = subjects[len(chunk):]
		for len(chunk) > 0 {
			n, last := len(found), ""
			err := l.get(ctx, func(m *jetstream.RawStreamMsg) {
				found[m.Subject], last = entryOf(m), m.Header.Get("Nats-Num-Pending")
			}, func(ctx context.Context) (answers, error) {
				a, err := jetstreamext.GetLastMsgsFor(ctx, l.js, l.name, chunk, jetstreamext.GetLastMsgsUpToSeq(seq))
				return answers(a), err
			})
			if err != nil {
				return nil, err
			}
			if len(found) == n || last == "0" {
				break
			}
			var rest []string // the answer ended early, at the server's limit in bytes
			for _, subject := range chunk {
				if _, ok := found[subject]; !ok {
					rest = append(rest, subject)
				}
			}
			chunk = rest
		}
	}
	return found, nil
}

// ObjectType is an object type that the log has.
type ObjectType struct {
	Name   string
	TypeID string // "" if the log does not say
}

// Objects returns the object types of the log, those that were read or have definitions, in no order.
func (l *Log) Objects(ctx context.Context) ([]ObjectType, error) {
	ids := map[string]string{}
	prefix := schemas.Root + "." + l.portalToken() + "."
	err := l.get(ctx, func(m *jetstream.RawStreamMsg) {
		c, err := schemas.DecodeControl(entryOf(m).Message)
		if err != nil {
			return
		}
		id := ids[c.Subject().Object]
		if d, ok := c.(*schemas.PropertyDefinitions); ok {
			id = d.ObjectTypeID
		}
		ids[c.Subject().Object] = id
	}, func(ctx context.Context) (answers, error) {
		a, err := jetstreamext.GetLastMsgsFor(ctx, l.js, l.name, []string{prefix + string(schemas.KindCursor) + ".*", prefix + string(schemas.KindProperties) + ".*"})
		return answers(a), err
	})
	objects := make([]ObjectType, 0, len(ids))
	for name, id := range ids {
		objects = append(objects, ObjectType{name, id})
	}
	return objects, err
}
