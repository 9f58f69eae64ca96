package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

const (
	// linger is how long a batch that is not full waits for messages that the server says are there.
	linger = 50 * time.Millisecond

	// idle is how often a sink that is not alone on its consumer asks how far all of them are, while nothing comes.
	idle = 250 * time.Millisecond

	// idleAlone is how often one asks that believes to be alone: another may have come, applied the last messages and gone.
	idleAlone = 5 * time.Second

	// readAhead is how many messages, of up to 8 MB, wait between the iterator and the batch.
	readAhead = 4
)

// work is a batch on its way: collected, prepared, committed, acknowledged.
type work struct {
	messages []Message
	acks     []jetstream.Msg // nil for messages that are not from the durable consumer
	position uint64          // everything up to here is in the tables once this is; 0: unknown
	streak   streak          // the deliveries up to the last of messages
	prepared *batch

	size              int  // of messages, in bytes
	full, whole, last bool // no more fits; nothing more was waiting; the read ends with it
}

// streak is deliveries of the consumer without a gap: all of them came to this sink. What was delivered before was applied
// before if it is acknowledged.
type streak struct {
	from uint64 // consumer sequence of the first
	high uint64 // newest stream sequence that came, of any streak
}

// collector cuts the stream of messages into batches, and knows how far the tables are when a batch is in them.
//
// It knows exactly as long as this sink alone gets messages from the consumer: then the consumer's own sequence has no
// gaps, and what was delivered before was applied before. When another sink takes messages, or some got lost on the way
// here, the position falls back to the consumer's ack floor, until that has reached the streak of deliveries that now
// come here.
type collector struct {
	cfg      Config
	consumer jetstream.Consumer // nil when ordered
	iterator jetstream.MessagesContext
	stats    *statistics

	ordered bool   // every message comes, in order
	until   uint64 // end after this sequence; 0: never

	alone  bool   // all deliveries before the streak are applied
	streak streak // of the last delivery
	next   uint64 // consumer sequence that comes next if none is missed

	settled uint64 // the last position that went with a batch or by settle

	held  held          // what is collected and not yet acknowledged
	floor atomic.Uint64 // consumer sequence up to which all is acknowledged, as last heard
}

// run sends batches until ctx ends, the iterator fails, or all of an ordered read is through.
func (c *collector) run(ctx context.Context, out chan<- *work) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(reading, c.iterator.Stop)()
	in, ended := make(chan jetstream.Msg, readAhead), make(chan error, 1)
	go func() { ended <- c.read(reading, in) }()
	err := c.collect(ctx, in, out)
	stop()
	if failed := <-ended; err == nil && ctx.Err() == nil && !errors.Is(failed, jetstream.ErrMsgIteratorClosed) {
		err = failed
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("read the log: %w", err)
	}
	return nil
}

// read hands messages over until the iterator fails or ctx ends. It always waits without a limit: the iterator looks for
// the server's heartbeats only within one call.
func (c *collector) read(ctx context.Context, out chan<- jetstream.Msg) error {
	defer close(out)
	for {
		msg, err := c.iterator.Next()
		if err != nil {
			return err
		}
		select {
		case out <- msg:
		case <-ctx.Done():
			return nil
		}
	}
}

// collect cuts messages into batches. A batch is complete when it is full or nothing more is waiting in the log; while
// Postgres is not ready for it, it goes on growing by what comes.
func (c *collector) collect(ctx context.Context, in <-chan jetstream.Msg, out chan<- *work) error {
	timer := time.NewTimer(idleAlone)
	defer timer.Stop()
	w := &work{}
	for {
		if !w.full && !w.last {
			select { // before anything else: what is here already belongs to this batch
			case msg, ok := <-in:
				if !ok {
					return nil
				}
				if err := c.add(w, msg); err != nil {
					return err
				}
				continue
			default:
			}
		}
		from, to := in, out
		switch {
		case w.full || w.last:
			from = nil
		case len(w.messages) == 0 && w.position == 0:
			to = nil
			timer.Reset(c.patience())
		case len(w.messages) > 0 && !w.whole:
			to = nil
			timer.Reset(linger)
		}
		c.place(w)
		select {
		case msg, ok := <-from:
			if !ok {
				return nil
			}
			if err := c.add(w, msg); err != nil {
				return err
			}
		case to <- w:
			if w.last {
				return nil
			}
			w = &work{}
		case <-timer.C:
			if len(w.messages) > 0 {
				w.whole = true
			} else if settled := c.settle(ctx); settled != nil {
				w = settled
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// patience is how long to wait for a first message before asking how far all sinks are.
func (c *collector) patience() time.Duration {
	switch {
	case c.ordered:
		return math.MaxInt64 // every message comes
	case c.alone:
		return idleAlone
	}
	return idle
}

// add takes a message into the batch.
func (c *collector) add(w *work, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	c.follow(meta)
	w.messages = append(w.messages, Message{
		Message: schemas.Message{Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data()},
		Seq:     meta.Sequence.Stream,
	})
	if !c.ordered {
		c.held.add(w, msg)
	}
	c.stats.seen(meta.NumPending)
	w.size += len(msg.Data())
	w.last = c.until > 0 && (meta.Sequence.Stream >= c.until || meta.NumPending == 0)
	w.full = len(w.messages) >= c.cfg.BatchRows || w.size >= c.cfg.BatchBytes
	w.whole = meta.NumPending == 0
	return nil
}

// place says how far the tables are once the batch is in them, if that is known.
func (c *collector) place(w *work) {
	if len(w.messages) == 0 {
		return // from settle, or empty
	}
	w.streak, w.position = c.streak, 0
	if c.alone || c.ordered {
		w.position = c.streak.high
		c.settled = w.position
	}
}

// follow notes a message, and whether any before it went elsewhere.
func (c *collector) follow(meta *jetstream.MsgMetadata) {
	c.streak.high = max(c.streak.high, meta.Sequence.Stream)
	if meta.Sequence.Consumer != c.next {
		c.alone, c.streak.from = false, meta.Sequence.Consumer
	}
	c.next = meta.Sequence.Consumer + 1
	c.alone = c.alone || c.streak.follows(c.floor.Load())
}

// follows reports whether everything delivered before the streak is acknowledged, which means applied.
func (s streak) follows(floor uint64) bool { return s.from > 0 && s.from <= floor+1 }

// positionOf asks how far the tables are once a batch is in them, of which it is not known because other sinks had
// deliveries in between: what all of them have acknowledged is certain, and if that reaches the streak of deliveries that
// the batch ends, so is the streak.
func (c *collector) positionOf(ctx context.Context, w *work) uint64 {
	info, err := c.consumer.Info(ctx)
	if err != nil {
		return 0
	}
	c.floor.Store(info.AckFloor.Consumer)
	if len(w.messages) > 0 && w.streak.follows(info.AckFloor.Consumer) {
		return w.streak.high
	}
	return info.AckFloor.Stream
}

// settle asks, while nothing comes, how much of what was ever delivered is acknowledged, which means committed. That is the
// position; if it is all, counting starts afresh.
func (c *collector) settle(ctx context.Context) *work {
	info, err := c.consumer.Info(ctx)
	if err != nil {
		return nil
	}
	c.floor.Store(info.AckFloor.Consumer)
	position := info.AckFloor.Stream
	if info.NumAckPending == 0 && info.NumPending == 0 {
		c.alone, c.next = true, info.Delivered.Consumer+1
		c.streak = streak{from: c.next, high: max(c.streak.high, info.Delivered.Stream)}
		position = info.Delivered.Stream
	}
	if position <= c.settled {
		return nil
	}
	c.settled = position
	return &work{position: position}
}
