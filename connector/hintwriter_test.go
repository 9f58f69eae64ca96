package connector

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// busy makes it look as if a delivery were being written until the returned function is called.
func (w *hintWriter) busy() (free func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = true
	return w.handOver
}

func (w *hintWriter) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)
}

func TestDeliveriesAtTheSameTimeAreOneWrite(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h := b.hints()
	free := h.writer.busy()
	var deliveries sync.WaitGroup
	for i := range 30 {
		deliveries.Go(func() { must(t, h.publish(t.Context(), hint(fmt.Sprint("own", i), 1), hint("same", i))) })
	}
	eventually(t, "all wait", func() bool { return h.writer.queued() == 30 })
	free()
	deliveries.Wait()
	equal(t, "hints", waitingHints(t, h), 31)
	stream, err := h.js.Stream(t.Context(), h.stream)
	must(t, err)
	last, err := stream.GetMsg(t.Context(), stream.CachedInfo().State.LastSeq)
	must(t, err)
	equal(t, "messages of the last batch", last.Header.Get("Nats-Batch-Sequence"), "31")
}

func TestADeliveryThatCannotBeStoredHarmsNoOther(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h := b.hints()
	huge := hint("huge", 1)
	huge.Cause = strings.Repeat("x", int(b.js.Conn().MaxPayload())) // more than NATS takes
	free := h.writer.busy()
	var deliveries sync.WaitGroup
	for i := range 10 {
		deliveries.Go(func() { must(t, h.publish(t.Context(), hint(fmt.Sprint(i), 1))) })
	}
	var err error
	deliveries.Go(func() { err = h.publish(t.Context(), huge, hint("beside", 1)) })
	eventually(t, "all wait", func() bool { return h.writer.queued() == 11 })
	free()
	deliveries.Wait()
	if err == nil {
		t.Error("it is called stored")
	}
	equal(t, "hints", waitingHints(t, h), 10)
}

func TestADeliveryWhoseConnectionBrokeHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h := b.hints()
	free := h.writer.busy()
	var deliveries sync.WaitGroup
	ctx, hangUp := context.WithCancel(t.Context())
	var err error
	deliveries.Go(func() { err = h.publish(ctx, hint("broken", 1)) })
	eventually(t, "it waits", func() bool { return h.writer.queued() == 1 })
	hangUp()
	deliveries.Wait()
	if err == nil {
		t.Error("it is called stored")
	}
	deliveries.Go(func() { must(t, h.publish(t.Context(), hint("1", 1))) })
	eventually(t, "the next waits", func() bool { return h.writer.queued() == 1 })
	free()
	deliveries.Wait()
	equal(t, "hints", waitingHints(t, h), 1)
	must(t, h.publish(t.Context(), hint("2", 1)))
	equal(t, "hints", waitingHints(t, h), 2)
}

func TestADeliveryWhoseTimeIsOverHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h := b.hints()
	free := h.writer.busy()
	var deliveries sync.WaitGroup
	over, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	deliveries.Go(func() { _ = h.publish(over, hint("old", 1)) })
	eventually(t, "it waits", func() bool { return h.writer.queued() == 1 })
	deliveries.Go(func() { must(t, h.publish(t.Context(), hint("1", 1), hint("2", 1))) })
	eventually(t, "both wait", func() bool { return h.writer.queued() == 2 })
	h.writer.mu.Lock()
	h.writer.waiting[0].deadline = time.Now() // it has its turn in the last moment
	h.writer.mu.Unlock()
	free()
	deliveries.Wait()
	equal(t, "hints", waitingHints(t, h), 3)
}
