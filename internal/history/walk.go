package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// Range is a part of the log.
type Range struct {
	From, To    uint64   // both included; To 0 means up to what the log had when it was opened
	Subjects    []string // filters; none means all of the portal
	HeadersOnly bool     // bodies stay in the server
}

// quiet is how long a walk waits before it asks whether anything is still to come: a message that was replaced before it
// was sent is never sent.
const quiet = 2 * time.Second

// Walk hands the messages of a part of the log to do, in order, without one request per message. The entries are do's to
// keep.
func (l *Log) Walk(ctx context.Context, r Range, do func(Entry) error) error {
	if r.To == 0 {
		r.To = l.LastSeq
	}
	if r.From = max(r.From, 1); r.From > r.To {
		return nil
	}
	if err := l.walk(ctx, r, do); ctx.Err() == nil {
		return err
	}
	return ctx.Err()
}

func (l *Log) walk(ctx context.Context, r Range, do func(Entry) error) error {
	reader, iterator, err := l.open(ctx, r)
	if err != nil || iterator == nil {
		return err
	}
	defer iterator.Stop()
	defer context.AfterFunc(ctx, iterator.Stop)()
	for {
		m, err := iterator.Next(jetstream.NextMaxWait(quiet))
		if errors.Is(err, nats.ErrTimeout) {
			info, err := reader.Info(ctx)
			if err != nil {
				return fmt.Errorf("read stream %s: %w", l.name, err)
			}
			if info.NumPending == 0 {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", l.name, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", l.name, err)
		}
		if meta.Sequence.Stream > r.To {
			return nil
		}
		err = do(Entry{
			Message: schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, Seq: meta.Sequence.Stream, Time: meta.Timestamp,
		})
		if err != nil || meta.Sequence.Stream == r.To || meta.NumPending == 0 {
			return err
		}
	}
}

// open starts reading; the iterator is nil if there is nothing in the range.
func (l *Log) open(ctx context.Context, r Range) (jetstream.Consumer, jetstream.MessagesContext, error) {
	if len(r.Subjects) == 0 {
		r.Subjects = []string{schemas.Root + "." + l.portalToken() + ".>"}
	}
	reader, err := jetlog.Reader(ctx, l.js, l.name, jetstream.OrderedConsumerConfig{
		FilterSubjects: r.Subjects, HeadersOnly: r.HeadersOnly,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.From,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read stream %s from %d: %w", l.name, r.From, err)
	}
	if info, err := reader.Info(ctx); err != nil {
		return nil, nil, fmt.Errorf("read stream %s from %d: %w", l.name, r.From, err)
	} else if info.NumPending == 0 {
		return nil, nil, nil
	}
	iterator, err := reader.Messages(pullOptions(l.js)...)
	if err != nil {
		return nil, nil, fmt.Errorf("read stream %s from %d: %w", l.name, r.From, err)
	}
	return reader, iterator, nil
}

// pullOptions bounds the buffer of an iterator. A pull asks for what is free of it, which must never be less than the
// largest message the server takes, or that message would not come.
func pullOptions(js jetstream.JetStream) []jetstream.PullMessagesOpt {
	const buffer = 4 << 20
	largest := int(js.Conn().MaxPayload()) + 64<<10
	size := max(buffer, largest+512<<10)
	return []jetstream.PullMessagesOpt{jetstream.PullMaxBytes(size), jetstream.PullThresholdBytes(min(size/2, size-largest))}
}
