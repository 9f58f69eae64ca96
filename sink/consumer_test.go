package sink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/sink"
)

func TestADeletedConsumerIsMadeAgainBehindThePosition(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	last := r.load(20, "a")
	r.applied(last)
	if err := r.stream.DeleteConsumer(t.Context(), sink.DefaultConsumer); err != nil {
		t.Fatal(err)
	}
	r.applied(r.load(20, "b"))
	r.want("20", `select count(*) from hubspot.contacts where email = 'b'`)
	info, err := r.stream.Consumer(t.Context(), sink.DefaultConsumer)
	if err != nil {
		t.Fatal(err)
	}
	if start := info.CachedInfo().Config.OptStartSeq; start <= last {
		t.Errorf("the new consumer starts at %d, the tables were at %d", start, last)
	}
	if got := s.Stats().Unchanged; got != 0 {
		t.Errorf("%d events were applied twice", got)
	}
}

func TestTwoSinksShareOneConsumer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string", "n", "number"))
	small := func(c *sink.Config) { c.BatchRows = 50 }
	first := r.start(small)
	other := openPool(t, r.url)
	second := r.start(small, func(c *sink.Config) { c.Pool = other })
	for i := range 40 {
		if i == 20 {
			r.publish(definitions(t, "contacts", 0, "email", "string", "n", "number", "late", "string"))
		}
		for id := range 25 {
			r.publish(event("contacts", int64(id), 0, props{"email": fmt.Sprint("v", i), "n": fmt.Sprint(i), "late": "l"}))
		}
	}
	last := r.load(25, "end")
	r.applied(last)
	r.want("25", `select count(*) from hubspot.contacts where email = 'end' and n is null and late is null and _extra is null`)
	if a, b := first.Stats(), second.Stats(); a.Messages == 0 || b.Messages == 0 {
		t.Logf("one sink did all the work: %d and %d messages", a.Messages, b.Messages)
	}
	// Killed without a word, its messages unacknowledged: the other goes on, and a new one brings the rest at once.
	_ = first.stop()
	r.applied(r.load(25, "more"))
	r.want("25", `select count(*) from hubspot.contacts where email = 'more'`)
}

func TestAConsumerOfAnotherKindIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: sink.DefaultConsumer, AckPolicy: jetstream.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	if err := r.start().wait(); err == nil || !strings.Contains(err.Error(), "--consumer") {
		t.Errorf("error %v", err)
	}
}

func TestAConsumerOfOtherTablesIsRefusedOrTakenOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	last := r.load(5, "a")
	r.applied(last)
	other := setup(t)
	toOther := func(c *sink.Config) { c.Pool = other.pool }
	if err := r.start(toOther).wait(); !errors.Is(err, sink.ErrOtherConsumer) || !strings.Contains(err.Error(), "--consumer") {
		t.Errorf("error %v", err)
	}
	// Once the first sink is gone, empty tables take the consumer over, and get everything; the others must not come back.
	_ = s.stop()
	eventually(t, "nobody reads", func() bool {
		consumer, err := r.stream.Consumer(t.Context(), sink.DefaultConsumer)
		return err == nil && consumer.CachedInfo().NumWaiting == 0
	})
	r.start(toOther)
	(&rig{bundle: other}).applied(last)
	other.want("5", `select count(*) from hubspot.contacts`)
	if err := r.start().wait(); !errors.Is(err, sink.ErrOtherConsumer) {
		t.Errorf("error %v", err)
	}
}
