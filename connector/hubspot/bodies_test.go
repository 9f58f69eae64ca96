package hubspot

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnswersAreReadAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBodies()
		var held []*bytes.Buffer
		for range bodiesAtOnce {
			held = append(held, b.take(t.Context()))
		}
		began := time.Now()
		time.AfterFunc(time.Second, func() { b.put(held[0]) })
		if buf := b.take(t.Context()); buf != held[0] || time.Since(began) != time.Second {
			t.Errorf("the next answer is read after %s", time.Since(began))
		}
		// Answers that trickle in hold up the others for a bounded time only.
		began = time.Now()
		extra := b.take(t.Context())
		if time.Since(began) != bodyPatience {
			t.Errorf("an answer waits %s for slow ones", time.Since(began))
		}
		for _, buf := range append(held, extra) {
			b.put(buf)
		}
		if len(b) != bodiesAtOnce {
			t.Errorf("%d buffers are kept", len(b))
		}
		for range bodiesAtOnce {
			b.take(t.Context())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		b.take(ctx)
		if time.Since(began) != 0 {
			t.Error("waits although the call has ended")
		}
	})
}
