package sink

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// held are the batches that are collected, or being collected, and not yet acknowledged. While Postgres takes its time over one, its messages
// are kept from being delivered to another sink.
type held struct {
	mu    sync.Mutex // guards works, and their acks while they grow
	works map[*work]struct{}
}

// add adds a message to a batch.
func (h *held) add(w *work, msg jetstream.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(w.acks) == 0 {
		if h.works == nil {
			h.works = make(map[*work]struct{})
		}
		h.works[w] = struct{}{}
	}
	w.acks = append(w.acks, msg)
}

func (h *held) remove(w *work) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.works, w)
}

// keep tells the consumer, until ctx ends, that the messages are being worked on. A lost sign means a redelivery, which
// changes nothing.
func (h *held) keep(ctx context.Context) {
	ticker := time.NewTicker(ackWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			h.sign()
		}
	}
}

func (h *held) sign() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.works {
		for _, m := range w.acks {
			_ = m.InProgress()
		}
	}
}
