package connector

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

// logWalk hands out the records of an object type in the order of their events in the log. It asks HubSpot nothing and
// keeps nothing in memory: the NATS server knows every id. It is for one goroutine.
type logWalk struct {
	js     jetstream.JetStream
	stream string
	filter string // subjects of the records
	// newest hands out each record that is in the log when the walk begins once, by its last event; otherwise every event
	// counts. What comes into the log later is handed out either way.
	newest bool
	after  uint64 // sequence of the last event handed out, or to begin after

	consumer jetstream.Consumer // nil if there is none (any more)
	next     uint64             // the consumer's own count of the message that comes next
	total    int64              // messages when the consumer was made
}

// walked is one event of a record, without its body.
type walked struct {
	id  string
	seq uint64
	op  schemas.Op
	at  time.Time // when the event came into the log
}

// gone reports whether HubSpot shows no links of the record any more.
func (w walked) gone() bool {
	return w.op == schemas.OpArchived || w.op == schemas.OpMerged || w.op == schemas.OpPurged
}

func (l *objectLog) walk(after uint64, newest bool) *logWalk {
	filter := schemas.Root + "." + schemas.EncodeToken(l.portal) + "." + schemas.EncodeToken(l.object.Name) + ".*"
	return &logWalk{js: l.js, stream: l.stream, filter: filter, newest: newest, after: after}
}

const (
	// walkSize is how many events are handed out at a time at most.
	walkSize = 1000
	// walkTimeout bounds one request to the log.
	walkTimeout = 5 * time.Second
	// walkIdle is after how long the server forgets a walk that nobody goes on with; it begins anew then, from after.
	walkIdle = 10 * time.Minute
)

// errWalkBroken says that messages were lost on their way here. The next take begins again after the last good one.
var errWalkBroken = errors.New("walk over the log was interrupted")

// take returns the next events, up to walkSize, and whether there are more. It does not wait for any.
func (w *logWalk) take(ctx context.Context) (taken []walked, more bool, err error) {
	if w.consumer == nil {
		if err := w.open(ctx); err != nil {
			return nil, false, fmt.Errorf("walk over %s: %w", w.filter, err)
		}
	}
	batch, err := w.consumer.FetchNoWait(walkSize)
	if err != nil {
		w.close(ctx)
		return nil, false, fmt.Errorf("walk over %s: %w", w.filter, err)
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Consumer != w.next {
			w.close(ctx)
			return taken, true, nil
		}
		w.next++
		more = meta.NumPending > 0
		if meta.Sequence.Stream <= w.after {
			continue // handed out before the consumer was made anew
		}
		w.after = meta.Sequence.Stream
		kind := m.Headers().Get(schemas.HeaderType)
		subject, err := schemas.ParseSubject(m.Subject())
		if err != nil {
			continue // nobody can ask HubSpot for it
		}
		taken = append(taken, walked{id: subject.ID, seq: w.after, at: meta.Timestamp, op: schemas.Op(kind[strings.LastIndexByte(kind, '.')+1:])})
	}
	if err := batch.Error(); err != nil {
		w.close(ctx)
		if len(taken) == 0 {
			return nil, false, fmt.Errorf("%w: %s: %w", errWalkBroken, w.filter, err)
		}
		more = true
	}
	return taken, more, ctx.Err()
}

// open makes a consumer that begins after the last event handed out. NATS rule: the set of last messages per subject is
// made when the consumer is; it cannot begin in the middle, so what was handed out before is skipped.
func (w *logWalk) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, walkTimeout)
	defer cancel()
	cfg := jetstream.ConsumerConfig{
		Description: "hubtail source: links of records", FilterSubject: w.filter, AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: true, MemoryStorage: true, Replicas: 1, InactiveThreshold: walkIdle,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: w.after + 1,
	}
	if w.newest {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverLastPerSubjectPolicy, 0
	}
	consumer, err := w.js.CreateConsumer(ctx, w.stream, cfg)
	if err != nil {
		return err
	}
	w.consumer, w.next = consumer, 1
	w.total = int64(consumer.CachedInfo().NumPending)
	return nil
}

// close forgets the consumer; take makes another one. That the server does not hear of it is no harm: it forgets by itself.
func (w *logWalk) close(ctx context.Context) {
	if w == nil || w.consumer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = w.js.DeleteConsumer(ctx, w.stream, w.consumer.CachedInfo().Name)
	w.consumer = nil
}
