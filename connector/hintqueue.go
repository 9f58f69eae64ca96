package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/schemas"
)

const (
	// hintAckWait is after how long the hints of a taker that died are handed to another.
	hintAckWait = 30 * time.Second
	// hintHeartbeat is how often NATS says that it still waits with us; two that fail to come are a lost connection.
	hintHeartbeat = 2 * time.Second
	// maxTaken bounds how many hints of one queue are taken and not worked off.
	maxTaken = 4096
)

// hintWork says how to work off the hints of one kind about one object type.
type hintWork struct {
	kind     schemas.HintKind
	object   string
	most     int // hints in a batch; 0 means 100
	parallel int // batches at a time; 0 means 1
	// linger returns how long to wait for more when a batch is not full; nil means not at all. It is told how many hints
	// were there.
	linger func(there int) time.Duration
	took   func(n int) // is told how many hints each batch has; nil means nobody is
	// do works a batch off. Several hints of it can be about one thing, and each can come again.
	do func(ctx context.Context, batch []*schemas.Hint) error
}

// consume works off hints as they come, until ctx ends, which is no error, or a batch fails. Hints are gone from the queue
// once do has returned nil. The hints of a batch that failed, and of a process that stopped, are handed out again at once,
// those of one that died after hintAckWait. A hint that comes while do works on an older one about the same thing is handed
// out afterwards. While NATS is away consume waits.
func (h *hints) consume(ctx context.Context, w hintWork) error {
	if w.most == 0 {
		w.most = 100
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		slots := make(chan struct{}, max(w.parallel, 1))
		for {
			select {
			case slots <- struct{}{}:
			case <-gctx.Done():
				return nil
			}
			batch, err := h.await(gctx, w)
			if err != nil {
				return nil // only ctx ends it
			}
			group.Go(func() error {
				defer func() { <-slots }()
				return batch.work(gctx, h.ackWait/3, w.do)
			})
		}
	})
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// await returns the next batch, not empty. It tries until there is one or ctx ends.
func (h *hints) await(ctx context.Context, w hintWork) (hintBatch, error) {
	var warned time.Time
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		batch, err := h.take(ctx, w)
		switch {
		case ctx.Err() != nil:
			batch.giveBack()
			return nil, ctx.Err()
		case len(batch) > 0:
			return batch, nil
		case err == nil:
			wait = 50 * time.Millisecond // none came for half a minute
			continue
		}
		if time.Since(warned) >= warnEvery {
			h.logger.Warn("hints cannot be taken, trying on", "object", w.object, "kind", w.kind, "err", err)
			warned = time.Now()
		}
		if err := pause(ctx, wait/2, wait); err != nil {
			return nil, err
		}
	}
}

// take returns the hints that are there, and, unless they fill a batch, those that come while it lingers. If there are
// none it waits for one, up to half a minute.
func (h *hints) take(ctx context.Context, w hintWork) (batch hintBatch, err error) {
	queue, err := h.queue(ctx, w.kind, w.object)
	if err != nil {
		return nil, err
	}
	if w.took != nil {
		defer func() { w.took(len(batch)) }()
	}
	batch, err = h.fetch(ctx, queue, w.most, true)
	if err == nil && len(batch) == 0 {
		// NATS rule: what is handed to a taker that no longer listens, such as a hint that was just given back, comes again
		// only after hintAckWait.
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		batch, err = h.fetch(ctx, queue, 1, false)
	}
	if err != nil || len(batch) == 0 || len(batch) >= w.most || w.linger == nil {
		return batch, err
	}
	wait := w.linger(len(batch))
	if err := pause(ctx, wait, wait); err != nil {
		return batch, err
	}
	more, err := h.fetch(ctx, queue, w.most-len(batch), true)
	return append(batch, more...), err
}

// queue returns the consumer of the hints of one kind about one object type. Any number of processes may use it: each hint
// is handed to one of them.
func (h *hints) queue(ctx context.Context, kind schemas.HintKind, object string) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		Durable:        schemas.EncodeToken(h.portal) + "-" + string(kind) + "-" + schemas.EncodeToken(object),
		Description:    fmt.Sprintf("hints of kind %s about %s (hubtail)", kind, object),
		FilterSubjects: h.filters(kind, object),
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        h.ackWait,
		MaxDeliver:     -1,
		MaxAckPending:  maxTaken,
	}
	h.mu.Lock()
	consumer := h.queues[cfg.Durable]
	h.mu.Unlock()
	if consumer != nil {
		return consumer, nil
	}
	consumer, err := h.js.CreateOrUpdateConsumer(ctx, h.stream, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the queue of hints %v: %w", cfg.FilterSubjects, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queues[cfg.Durable] = consumer
	return consumer, nil
}

// filters returns the subjects of a queue. What a merge is told of is read like any record that changed; on a subject of its
// own it says into which, whatever is told of the record afterwards.
func (h *hints) filters(kind schemas.HintKind, object string) []string {
	filters := []string{schemas.HintFilter(kind, h.portal, object)}
	if kind == schemas.HintRecord {
		filters = append(filters, schemas.HintFilter(schemas.HintMerge, h.portal, object))
	}
	return filters
}

// forget makes the next take open its queue again: someone may have deleted it.
func (h *hints) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.queues)
}

// fetch takes up to n hints: those that are there now, or else it waits for the first ones.
func (h *hints) fetch(ctx context.Context, queue jetstream.Consumer, n int, now bool) (batch hintBatch, err error) {
	var answers jetstream.MessageBatch
	if now {
		answers, err = queue.FetchNoWait(n)
	} else {
		answers, err = queue.Fetch(n, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(hintHeartbeat))
	}
	if err == nil {
		for m := range answers.Messages() {
			batch = h.add(batch, m)
		}
		err = answers.Error()
	}
	if err == nil || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) {
		return batch, nil
	}
	h.forget()
	return batch, fmt.Errorf("take hints: %w", err)
}

// add decodes a message. One that is no hint is thrown away with a line in the program's log: nobody can do anything with
// it, and the changes it may have meant are found by polling.
func (h *hints) add(batch hintBatch, m jetstream.Msg) hintBatch {
	hint, err := schemas.DecodeHint(schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
	if err != nil {
		h.logger.Warn("hint thrown away", "err", err)
		_ = m.TermWithReason("not a hint") // if that does not arrive it comes again
		return batch
	}
	return append(batch, takenHint{msg: m, hint: hint})
}

// hintBatch is hints that were taken from a queue and not worked off yet.
type hintBatch []takenHint

type takenHint struct {
	msg  jetstream.Msg
	hint *schemas.Hint
}

// work calls do and takes the batch out of the queue if that went well, else gives it back. Meanwhile it says that the
// batch is being worked on, every so often.
func (b hintBatch) work(ctx context.Context, every time.Duration, do func(context.Context, []*schemas.Hint) error) error {
	all := make([]*schemas.Hint, len(b))
	for i, t := range b {
		all[i] = t.hint
	}
	done := make(chan error, 1)
	go func() { done <- do(ctx, all) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				b.giveBack()
				return err
			}
			b.done()
			return nil
		case <-tick.C:
			for _, t := range b {
				_ = t.msg.InProgress()
			}
		}
	}
}

// done takes the hints out of the queue. An acknowledgement that gets lost costs another read, no more.
func (b hintBatch) done() {
	for _, t := range b {
		_ = t.msg.Ack()
	}
}

// giveBack lets another taker have the hints at once.
func (b hintBatch) giveBack() {
	for _, t := range b {
		_ = t.msg.Nak()
	}
}
