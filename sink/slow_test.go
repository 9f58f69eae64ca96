package sink_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/sink"
)

// TestASlowSinkHoldsLittleSaysHowFarItIsBehindAndCatchesUp throttles the connection to Postgres, and that to NATS, to a few
// megabytes per second, with a log of 30 MB. At no moment has the sink fetched more than its batches and its buffer hold
// without having applied it; its lag is what is missing; nothing is lost or delivered twice for it; and in the end the tables
// have everything.
func TestASlowSinkHoldsLittleSaysHowFarItIsBehindAndCatchesUp(t *testing.T) {
	t.Parallel()
	for _, slow := range []string{"Postgres", "NATS"} {
		t.Run(slow, func(t *testing.T) {
			t.Parallel()
			const events, size = 1500, 20 << 10
			r := &rig{bundle: setup(t)}
			server, err := localnats.Start(localnats.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Close() })
			toPostgres, pool := r.proxied()
			toNATS := startProxy(t, strings.TrimPrefix(server.URL(), "nats://"))
			connect := func(url string) jetstream.JetStream {
				nc, err := nats.Connect(url, nats.MaxReconnects(-1))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(nc.Close)
				js, err := jetstream.New(nc)
				if err != nil {
					t.Fatal(err)
				}
				return js
			}
			r.js = connect(server.URL())
			r.createStream()
			r.publish(definitions(t, "contacts", 0, "email", "string"))
			s := r.start(func(c *sink.Config) { c.Pool, c.JetStream = pool, connect("nats://"+toNATS.Addr()) })
			r.applied(r.load(1, "a"))

			if slow == "Postgres" {
				toPostgres.Slow(4 * time.Millisecond) // for every 32 KB
			} else {
				toNATS.Slow(4 * time.Millisecond)
			}
			var page []sink.Message
			for i := range events {
				page = append(page, event("contacts", int64(i), 0, props{"email": noise(size)}))
			}
			last := r.publishAll(page)
			consumer, err := r.stream.Consumer(t.Context(), sink.DefaultConsumer)
			if err != nil {
				t.Fatal(err)
			}
			// A batch is collected, one waits, one is prepared and one committed. The iterator has asked for what the largest message
			// takes (8 MB) and a little more.
			const most = (4*sink.DefaultBatchBytes + 9<<20 + 1<<19) / size
			held, lagging, behind := 0, false, uint64(0)
			within(t, 3*time.Minute, "everything", func() bool {
				info, err := consumer.Info(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				held = max(held, info.NumAckPending)
				stats := s.Stats()
				lagging = lagging || stats.Lag > events/4 && stats.LastCommit.After(time.Now().Add(-time.Minute)) && stats.Error == ""
				behind = max(behind, stats.Lag)
				return r.value(`select max(seq) >= $1 from hubspot.positions`, int64(last)) == "true"
			})
			t.Logf("%d of %d messages were fetched and not applied at a time; it said that it is up to %d behind", held, events, behind)
			if held > most {
				t.Errorf("%d messages, %d MB, were fetched and not applied at a time, want at most %d", held, held*size>>20, most)
			}
			if !lagging || behind > events+1 {
				t.Errorf("the lag it said was at most %d of %d", behind, events)
			}
			r.want(fmt.Sprint(events, " ", size), `select concat(count(*), ' ', min(length(email))) from hubspot.contacts`)
			stats := s.Stats()
			if stats.Error != "" || stats.Lag != 0 || stats.Unchanged != 0 {
				t.Errorf("in the end: %+v", stats)
			}
			info, err := consumer.Info(t.Context())
			if err != nil || info.NumRedelivered > 0 {
				t.Errorf("%d were delivered again, %v", info.NumRedelivered, err)
			}
		})
	}
}

// TestASlowSinkIsSentNothingTwice stalls Postgres while more messages wait than fit the sink's buffer. NATS rule: what comes
// to a full buffer of a client is dropped there, and delivered again only when its time to be acknowledged is over.
func TestASlowSinkIsSentNothingTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var dropped atomic.Int64
	nc, err := r.server.Connect(nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrSlowConsumer) {
			dropped.Add(1)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	r.start(func(c *sink.Config) { c.JetStream = js })
	r.applied(r.load(1, "a"))
	consumer, err := r.stream.Consumer(t.Context(), sink.DefaultConsumer)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		stalled, err := r.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stalled.Exec(t.Context(), `lock table hubspot.contacts in share mode`); err != nil {
			t.Fatal(err)
		}
		var last uint64
		for range 4 {
			var page []sink.Message
			for i := range 1_000 {
				page = append(page, event("contacts", int64(i), 0, props{"email": "a@x"}))
			}
			last = r.publishPage(page)
		}
		for held, same := 0, 0; same < 10; { // until it takes no more
			info, err := consumer.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if same++; info.NumAckPending != held || held == 0 {
				held, same = info.NumAckPending, 0
			}
		}
		if err := stalled.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.applied(last)
	}
	info, err := consumer.Info(t.Context())
	if err != nil || info.NumRedelivered > 0 || dropped.Load() > 0 {
		t.Errorf("%d were delivered again, %d times the client dropped some, %v", info.NumRedelivered, dropped.Load(), err)
	}
}

// noise is text that does not compress much.
func noise(size int) string {
	var text strings.Builder
	for text.Len() < size {
		fmt.Fprintf(&text, "%016x", rand.Uint64())
	}
	return text.String()[:size]
}
