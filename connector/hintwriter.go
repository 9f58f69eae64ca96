package connector

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// hintWriter writes deliveries to the work queue. Those that come while one is written go into the next batch together: a
// batch costs one write to disk, however many events it has, and HubSpot waits for that write.
//
// No goroutine of its own: whoever comes first writes, and then hands over to the first of those that wait.
type hintWriter struct {
	js jetstream.JetStream

	mu      sync.Mutex // guards the fields below
	waiting []*hintWrite
	writing bool
}

// hintWrite is the messages of one delivery, at most maxBatch, each subject once.
type hintWrite struct {
	msgs     []*nats.Msg
	deadline time.Time
	done     chan error    // holds the result
	turn     chan struct{} // holds an element once it is its turn to write for all
}

// write returns when the messages are on disk, or are not within the time that ctx gives or else publishTimeout. All of them
// are, or none. After an error they may be.
func (w *hintWriter) write(ctx context.Context, msgs []*nats.Msg) error {
	own := &hintWrite{msgs: msgs, deadline: time.Now().Add(publishTimeout), done: make(chan error, 1), turn: make(chan struct{}, 1)}
	if d, ok := ctx.Deadline(); ok {
		own.deadline = d
	}
	w.mu.Lock()
	w.waiting = append(w.waiting, own)
	if !w.writing {
		w.writing = true
		own.turn <- struct{}{}
	}
	w.mu.Unlock()
	select {
	case err := <-own.done:
		return err
	case <-own.turn:
	case <-ctx.Done():
		if w.leave(own) {
			return ctx.Err()
		}
		select { // it is being written, or its turn
		case err := <-own.done:
			return err
		case <-own.turn:
		}
	}
	w.writeAll(ctx, w.take())
	return <-own.done
}

// leave takes back what waits, if nobody has begun to write it and it is nobody's turn to.
func (w *hintWriter) leave(own *hintWrite) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.waiting, own)
	if at < 0 || len(own.turn) > 0 {
		return false
	}
	w.waiting = slices.Delete(w.waiting, at, at+1)
	return true
}

// take returns the deliveries that fit into one batch, the one whose turn it is first.
func (w *hintWriter) take() []*hintWrite {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size := 0, 0
	for n < len(w.waiting) && (n == 0 || size+len(w.waiting[n].msgs) <= maxBatch) {
		size += len(w.waiting[n].msgs)
		n++
	}
	all := slices.Clone(w.waiting[:n])
	w.waiting = slices.Delete(w.waiting, 0, n)
	return all
}

// writeAll writes deliveries in one batch and tells each what became of it. One that cannot be stored must harm no other: if
// the batch fails, each is tried on its own.
func (w *hintWriter) writeAll(ctx context.Context, all []*hintWrite) {
	defer w.handOver()
	// Others wait for this write, too: it goes on when the first one's connection breaks, and when its time is over.
	last := slices.MaxFunc(all, func(a, b *hintWrite) int { return a.deadline.Compare(b.deadline) })
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), last.deadline)
	defer cancel()
	err := w.batch(ctx, merged(all))
	for _, one := range all {
		if err != nil && len(all) > 1 && ctx.Err() == nil {
			one.done <- w.batch(ctx, one.msgs)
			continue
		}
		one.done <- err
	}
}

// handOver gives the turn to the first that waits.
func (w *hintWriter) handOver() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing = len(w.waiting) > 0; w.writing {
		w.waiting[0].turn <- struct{}{}
	}
}

// merged returns the messages of all deliveries, of each subject the last one.
func merged(all []*hintWrite) []*nats.Msg {
	if len(all) == 1 {
		return all[0].msgs
	}
	at := make(map[string]int)
	var msgs []*nats.Msg
	for _, one := range all {
		for _, m := range one.msgs {
			if i, ok := at[m.Subject]; ok {
				msgs[i] = m
				continue
			}
			at[m.Subject] = len(msgs)
			msgs = append(msgs, m)
		}
	}
	return msgs
}

// batch stores messages, all or none.
func (w *hintWriter) batch(ctx context.Context, msgs []*nats.Msg) (err error) {
	if len(msgs) > 1 {
		_, err = jetstreamext.PublishMsgBatch(ctx, w.js, msgs, jetstreamext.BatchFlowControl{}) // the last answer is about all
		return err
	}
	for _, name := range []string{jetstreamext.BatchIDHeader, jetstreamext.BatchSeqHeader, jetstreamext.BatchCommitHeader} {
		msgs[0].Header.Del(name) // it was in a batch that failed
	}
	_, err = w.js.PublishMsg(ctx, msgs[0])
	return err
}
