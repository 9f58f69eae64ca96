package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

const (
	// linger is how long a batch that is not full waits for messages that the server says are there.
	linger = 50 * time.Millisecond

	// idle is how often a sink that is not alone on its consumer asks how far all of them are.
	idle = time.Second
)

// work is a batch on its way: collected, prepared, committed, acknowledged.
type work struct {
	messages []Message
	acks     []jetstream.Msg // nil for messages that are not from the durable consumer
	position uint64          // everything up to here is in the tables once this is; 0: unknown
	prepared *batch
}

// collector cuts the stream of messages into batches, and knows how far the tables are when a batch is in them.
//
// It knows exactly as long as this sink alone gets messages from the consumer: then the consumer's own sequence has no
// gaps, and what was delivered before was applied before. When another sink takes messages, or some got lost on the way
// here, the position falls back to the consumer's ack floor, until a moment when nothing is under way.
type collector struct {
	cfg      Config
	consumer jetstream.Consumer // nil when ordered
	iterator jetstream.MessagesContext
	stats    *statistics

	ordered bool   // every message comes, in order
	until   uint64 // end after this sequence; 0: never

	alone bool   // no message went elsewhere since expected was set
	next  uint64 // consumer sequence that comes next if alone
	high  uint64 // newest stream sequence that came
}

// run sends batches until ctx ends, the iterator fails, or all of an ordered read is through.
func (c *collector) run(ctx context.Context, out chan<- *work) error {
	defer context.AfterFunc(ctx, c.iterator.Stop)()
	defer c.iterator.Stop()
	for {
		w, done, err := c.collect(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, jetstream.ErrMsgIteratorClosed) && ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read the log: %w", err)
		}
		if w != nil {
			select {
			case out <- w:
			case <-ctx.Done():
				return nil
			}
		}
		if done {
			return nil
		}
	}
}

// collect returns the next batch: as soon as nothing more is waiting in the log, or when it is full.
func (c *collector) collect(ctx context.Context) (w *work, done bool, err error) {
	w = &work{}
	size := 0
	for {
		msg, err := c.nextMessage(len(w.messages) > 0)
		if errors.Is(err, nats.ErrTimeout) {
			if len(w.messages) > 0 {
				break
			}
			if w := c.settle(ctx); w != nil {
				return w, false, nil
			}
			continue
		}
		if err != nil {
			return nil, false, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, false, err
		}
		c.follow(meta)
		w.messages = append(w.messages, Message{
			Message: schemas.Message{Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data()},
			Seq:     meta.Sequence.Stream,
		})
		if !c.ordered {
			w.acks = append(w.acks, msg)
		}
		c.stats.seen(meta.NumPending)
		size += len(msg.Data())
		if done = c.until > 0 && (meta.Sequence.Stream >= c.until || meta.NumPending == 0); done {
			break
		}
		if len(w.messages) >= c.cfg.BatchRows || size >= c.cfg.BatchBytes || meta.NumPending == 0 {
			break
		}
	}
	if c.alone || c.ordered {
		w.position = c.high
	}
	return w, done, nil
}

func (c *collector) nextMessage(begun bool) (jetstream.Msg, error) {
	switch {
	case begun:
		return c.iterator.Next(jetstream.NextMaxWait(linger))
	case !c.alone && !c.ordered:
		return c.iterator.Next(jetstream.NextMaxWait(idle))
	}
	return c.iterator.Next()
}

// follow notes a message, and whether any before it went elsewhere.
func (c *collector) follow(meta *jetstream.MsgMetadata) {
	c.high = max(c.high, meta.Sequence.Stream)
	if c.alone && meta.Sequence.Consumer == c.next {
		c.next++
	} else {
		c.alone = false
	}
}

// settle asks, while nothing comes, whether all that was ever delivered is acknowledged, which means committed. Then
// that is the position, and counting starts afresh.
func (c *collector) settle(ctx context.Context) *work {
	info, err := c.consumer.Info(ctx)
	if err != nil || info.NumAckPending > 0 || info.NumPending > 0 {
		return nil
	}
	c.alone, c.next = true, info.Delivered.Consumer+1
	c.high = max(c.high, info.Delivered.Stream)
	return &work{position: info.Delivered.Stream}
}
