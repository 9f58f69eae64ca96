package history_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/schemas"
)

// TestFollowOutlastsARestartOfNATS follows a log over TCP while its server restarts twice.
func TestFollowOutlastsARestartOfNATS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listen := "127.0.0.1:0"
	var server *localnats.Server
	start := func() {
		t.Helper()
		var err error
		if server, err = localnats.Start(localnats.Options{StoreDir: dir, Listen: listen}); err != nil {
			t.Fatal(err)
		}
		listen = strings.TrimPrefix(server.URL(), "nats://")
	}
	start()
	t.Cleanup(func() { _ = server.Close() })
	nc, err := jetlog.Connect(t.Context(), jetlog.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jetlog.Ensure(t.Context(), js, jetlog.StreamConfig("HUBSPOT", 1)); err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, js: js, last: map[string]*schemas.Event{}, seq: map[string]uint64{}}
	w.event("contacts", 1, schemas.OpCreated, values{"n": "0"})

	l := w.open()
	got := make(chan uint64, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.Follow(ctx, 1, l.Filters("contacts"), func(e history.Entry) error { got <- e.Seq; return nil }, nil)
	}()
	next := uint64(1)
	wantThrough := func(last uint64) {
		t.Helper()
		for ; next <= last; next++ {
			select {
			case seq := <-got:
				if seq != next {
					t.Fatalf("got %d, want %d", seq, next)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%d does not come", next)
			}
		}
	}
	wantThrough(1)
	for round := range 2 {
		must := w.event("contacts", 1, schemas.OpUpdated, values{"n": "before" + strconv.Itoa(round)})
		wantThrough(must)
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		start()
		var last uint64
		for i := range 3 {
			for { // the publisher's connection comes back when it does
				m := w.nextEvent("contacts", 1, values{"n": strconv.Itoa(round) + strconv.Itoa(i)})
				ack, err := js.PublishMsg(t.Context(), m, jetstream.WithExpectLastSequence(next-1+uint64(i)))
				if err == nil {
					last = ack.Sequence
					break
				}
				var api *jetstream.APIError
				if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
					last = next + uint64(i) // its answer was lost
					break
				}
				if t.Context().Err() != nil {
					t.Fatal(err)
				}
			}
		}
		wantThrough(last)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFollowEndsWithWhatItsFunctionReturns(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 3)
	w.event("contacts", 1, schemas.OpCreated, values{"n": "0"})
	enough := errors.New("enough")
	l := w.open()
	if err := l.Follow(t.Context(), 0, l.Filters(), func(history.Entry) error { return enough }, nil); !errors.Is(err, enough) {
		t.Error(err)
	}
	if err := w.js.DeleteStream(t.Context(), "HUBSPOT"); err != nil {
		t.Fatal(err)
	}
	if err := l.Follow(t.Context(), 0, l.Filters(), func(history.Entry) error { return nil }, nil); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without a stream: %v", err)
	}
	if _, err := jetlog.Ensure(t.Context(), w.js, jetlog.StreamConfig("HUBSPOT", 1)); err != nil {
		t.Fatal(err)
	}
	if err := l.Follow(t.Context(), 0, l.Filters(), func(history.Entry) error { return nil }, nil); !errors.Is(err, history.ErrRecreated) {
		t.Errorf("with another stream: %v", err)
	}
}
