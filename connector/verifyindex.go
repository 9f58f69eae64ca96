package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// logged is what the headers of a record's last event say: 24 bytes, so that a million records fit into 24 MB.
type logged struct {
	id    int64
	state int64  // modification time in milliseconds, times 8, and the flags below
	hash  uint64 // half of the content hash
}

const (
	loggedSeen   = 1 << iota // met on the walk through HubSpot
	loggedEnded              // archived, merged or purged
	loggedPurged             // for ever
	loggedFlags  = 8
)

func (e *logged) is(flag int64) bool { return e.state&flag != 0 }
func (e *logged) millis() int64      { return e.state >> 3 }

// logIndex holds the last events of an object type, ascending by id.
type logIndex []logged

// find returns a record's entry, nil if the log has no event of it.
func (x logIndex) find(id int64) *logged {
	i, found := slices.BinarySearchFunc(x, id, func(e logged, id int64) int { return cmp.Compare(e.id, id) })
	if !found {
		return nil
	}
	return &x[i]
}

// live returns how many records have not ended.
func (x logIndex) live() (n int64) {
	for i := range x {
		if !x[i].is(loggedEnded) {
			n++
		}
	}
	return n
}

// index reads the headers of the last events of all records.
func (l *objectLog) index(ctx context.Context) (logIndex, error) {
	var index logIndex
	all := schemas.Root + "." + schemas.EncodeToken(l.portal) + "." + schemas.EncodeToken(l.object.Name) + ".*"
	err := l.eachLast(ctx, all, func(m jetstream.Msg) {
		subject := m.Subject()
		id, err := strconv.ParseInt(subject[strings.LastIndexByte(subject, '.')+1:], 10, 64)
		if err != nil {
			return // owners and records of HubSpot have numbers
		}
		index = append(index, newLogged(id, m.Headers()))
	})
	if err != nil {
		return nil, fmt.Errorf("read the last events of %s: %w", l.object.Name, err)
	}
	// An event that came while we read is the second one of its record: it counts.
	slices.SortStableFunc(index, func(a, b logged) int { return cmp.Compare(a.id, b.id) })
	last := index[:0]
	for i, e := range index {
		if i+1 == len(index) || index[i+1].id != e.id {
			last = append(last, e)
		}
	}
	return last, nil
}

func newLogged(id int64, h nats.Header) logged {
	e := logged{id: id, hash: halfHash(h.Get(schemas.HeaderHash))}
	if t, err := time.Parse(time.RFC3339, h.Get(schemas.HeaderTime)); err == nil {
		e.state = t.UnixMilli() * loggedFlags
	}
	kind := h.Get(schemas.HeaderType)
	switch schemas.Op(kind[strings.LastIndexByte(kind, '.')+1:]) {
	case schemas.OpPurged:
		e.state |= loggedEnded | loggedPurged
	case schemas.OpArchived, schemas.OpMerged:
		e.state |= loggedEnded
	}
	return e
}

// halfHash returns the first half of a content hash.
func halfHash(digits string) uint64 {
	n, _ := strconv.ParseUint(digits[:min(16, len(digits))], 16, 64)
	return n
}

// lastPatience is how long the next message of a reading may take before it is asked whether there is one.
const lastPatience = 2 * time.Second

// eachLast calls do with the headers of the last message of every subject that the filter selects.
func (l *objectLog) eachLast(ctx context.Context, filter string, do func(jetstream.Msg)) error {
	reader, err := jetlog.Reader(ctx, l.js, l.stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true,
	})
	if err != nil {
		return err
	}
	if info, err := reader.Info(ctx); err != nil || info.NumPending == 0 {
		return err
	}
	messages, err := reader.Messages(jetstream.PullMaxMessages(5_000))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		m, err := messages.Next(jetstream.NextMaxWait(lastPatience))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, nats.ErrTimeout):
			// A message that was replaced before it was sent is never sent.
			if info, err := reader.Info(ctx); err != nil || info.NumPending == 0 {
				return err
			}
			continue
		case err != nil:
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if do(m); meta.NumPending == 0 {
			return nil
		}
	}
}
