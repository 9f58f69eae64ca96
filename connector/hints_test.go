package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

func (b *logBundle) hints() *hints {
	b.t.Helper()
	h, err := openHints(b.t.Context(), b.js, jetlog.DefaultStream, 1, "7", slog.New(slog.DiscardHandler))
	must(b.t, err)
	return h
}

// hint returns one that a record changed; n orders several.
func hint(id string, n int) *schemas.Hint {
	return &schemas.Hint{
		Kind: schemas.HintRecord, Portal: "7", Object: "contacts", ID: id,
		OccurredAt: day.Add(time.Duration(n) * time.Second), Cause: "contact.propertyChange", Property: fmt.Sprint("p", n),
	}
}

// waitingHints returns how many hints the queue holds, whoever works on them.
func waitingHints(t testing.TB, h *hints) uint64 {
	t.Helper()
	n, err := h.waiting(t.Context())
	must(t, err)
	return n
}

// consumer consumes in the background. Its batches come one by one; finish ends the work on one.
type consumer struct {
	batches chan []*schemas.Hint
	finish  chan error
	wait    func() error // until a batch fails
	stop    func() error
}

func startConsumer(t *testing.T, h *hints, w hintWork) *consumer {
	t.Helper()
	c := &consumer{batches: make(chan []*schemas.Hint), finish: make(chan error)}
	ctx, cancel := context.WithCancel(t.Context())
	w.do = func(ctx context.Context, batch []*schemas.Hint) error {
		select {
		case c.batches <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-c.finish:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = h.consume(ctx, w)
	}()
	c.wait = func() error {
		<-ended
		return err
	}
	c.stop = func() error {
		cancel()
		return c.wait()
	}
	t.Cleanup(func() { _ = c.stop() })
	return c
}

func (c *consumer) next(t *testing.T) []*schemas.Hint {
	t.Helper()
	select {
	case batch := <-c.batches:
		return batch
	case <-time.After(longest):
		t.Fatal("no hints came")
		return nil
	}
}

var recordWork = hintWork{kind: schemas.HintRecord, object: "contacts"}

func TestABurstAboutOneRecordIsOneHint(t *testing.T) {
	t.Parallel()
	h := setupLog(t).hints()
	var burst []*schemas.Hint
	for n := range 50 {
		burst = append(burst, hint("1", n))
	}
	must(t, h.publish(t.Context(), burst...))
	must(t, h.publish(t.Context(), hint("2", 1)))
	must(t, h.publish(t.Context(), hint("1", 50)))
	equal(t, "hints in the queue", waitingHints(t, h), 2)
	c := startConsumer(t, h, recordWork)
	batch := c.next(t)
	equal(t, "batch", len(batch), 2)
	equal(t, "first", *batch[0], *hint("2", 1))
	equal(t, "the newest of the burst", *batch[1], *hint("1", 50))
	c.finish <- nil
	eventually(t, "nothing is left", func() bool { return waitingHints(t, h) == 0 })
}

func TestAHintThatComesWhileItsRecordIsBeingReadLeadsToAnotherRead(t *testing.T) {
	t.Parallel()
	h := setupLog(t).hints()
	c := startConsumer(t, h, recordWork)
	must(t, h.publish(t.Context(), hint("1", 1)))
	equal(t, "read", *c.next(t)[0], *hint("1", 1))
	must(t, h.publish(t.Context(), hint("1", 2))) // takes the place of the one that is being worked on
	equal(t, "hints in the queue", waitingHints(t, h), 1)
	c.finish <- nil // the older one is done; that must not take the newer one away
	batch := c.next(t)
	equal(t, "hints read again", len(batch), 1)
	equal(t, "read again", *batch[0], *hint("1", 2))
	equal(t, "hints in the queue", waitingHints(t, h), 1)
	c.finish <- nil
	eventually(t, "nothing is left", func() bool { return waitingHints(t, h) == 0 })
	must(t, c.stop())
}

func TestHintsOfATakerThatDiedAreHandedOutAgain(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h := b.hints()
	h.ackWait = time.Second
	must(t, h.publish(t.Context(), hint("1", 1), hint("2", 1)))
	queue, err := h.queue(t.Context(), recordWork.kind, recordWork.object)
	must(t, err)
	dead, err := h.fetch(t.Context(), queue, 2, true) // and never heard of again
	must(t, err)
	equal(t, "taken", len(dead), 2)
	must(t, h.publish(t.Context(), hint("2", 2)))

	c := startConsumer(t, h, recordWork)
	seen := map[string]*schemas.Hint{}
	for len(seen) < 2 {
		for _, hint := range c.next(t) {
			seen[hint.ID] = hint
		}
		c.finish <- nil
	}
	equal(t, "of the dead", *seen["1"], *hint("1", 1))
	equal(t, "newer than the dead one's", *seen["2"], *hint("2", 2))
	eventually(t, "nothing is left", func() bool { return waitingHints(t, h) == 0 })
}

func TestHintsInWorkAreHandedToNobodyElse(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h, other := b.hints(), b.hints()
	h.ackWait, other.ackWait = 3*time.Second, 3*time.Second
	must(t, h.publish(t.Context(), hint("1", 1)))
	c := startConsumer(t, h, recordWork)
	c.next(t)
	idle := startConsumer(t, other, recordWork)
	select {
	case batch := <-idle.batches:
		t.Errorf("handed out twice: %+v", batch[0])
	case <-time.After(7 * time.Second): // longer than any taker may be silent
	}
	c.finish <- nil
	eventually(t, "nothing is left", func() bool { return waitingHints(t, h) == 0 })
}

func TestHintsThatWereNotWorkedOffAreHandedOutAgainAtOnce(t *testing.T) {
	t.Parallel()
	h := setupLog(t).hints()
	must(t, h.publish(t.Context(), hint("1", 1)))
	failing := startConsumer(t, h, recordWork)
	failing.next(t)
	broken := errors.New("broken")
	failing.finish <- broken
	if err := failing.wait(); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}

	began := time.Now()
	stopped := startConsumer(t, h, recordWork)
	stopped.next(t)
	must(t, stopped.stop()) // in the middle of the work

	c := startConsumer(t, h, recordWork)
	equal(t, "handed out again", *c.next(t)[0], *hint("1", 1))
	if took := time.Since(began); took > hintAckWait/2 {
		t.Errorf("it took %s", took)
	}
	c.finish <- nil
	eventually(t, "nothing is left", func() bool { return waitingHints(t, h) == 0 })
}

func TestHintsOfOtherKindsAndObjectsAreLeftAlone(t *testing.T) {
	t.Parallel()
	h := setupLog(t).hints()
	all := []*schemas.Hint{
		hint("1", 1),
		{Kind: schemas.HintRecord, Portal: "7", Object: "deals", ID: "1", Cause: "deal.creation"},
		{Kind: schemas.HintLinks, Portal: "7", Object: "contacts", ID: "1", To: "deals", Cause: "contact.associationChange"},
		{Kind: schemas.HintLinks, Portal: "7", Object: "contacts", ID: "1", Cause: "object.associationChange"},
		{Kind: schemas.HintPurge, Portal: "7", Object: "contacts", ID: "1", Cause: "contact.privacyDeletion"},
	}
	must(t, h.publish(t.Context(), all...))
	equal(t, "hints in the queue", waitingHints(t, h), 5)
	for _, step := range []struct {
		kind   schemas.HintKind
		object string
		want   []*schemas.Hint
	}{
		{schemas.HintPurge, "contacts", all[4:5]}, {schemas.HintLinks, "contacts", all[2:4]}, {schemas.HintRecord, "deals", all[1:2]}, {schemas.HintRecord, "contacts", all[:1]},
	} {
		c := startConsumer(t, h, hintWork{kind: step.kind, object: step.object})
		batch := c.next(t)
		equal(t, fmt.Sprintf("%s of %s", step.kind, step.object), len(batch), len(step.want))
		for i, hint := range batch {
			hint.OccurredAt = step.want[i].OccurredAt // zero is in UTC now
			equal(t, "hint", *hint, *step.want[i])
		}
		c.finish <- nil
		must(t, c.stop())
	}
	eventually(t, "nothing is left", func() bool { return waitingHints(t, h) == 0 })
}

func TestWhatIsNoHintIsThrownAway(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h := b.hints()
	_, err := b.js.Publish(t.Context(), "hubspot-hints.7.contacts.1", []byte("{"))
	must(t, err)
	must(t, h.publish(t.Context(), hint("2", 1)))
	c := startConsumer(t, h, recordWork)
	equal(t, "hint", *c.next(t)[0], *hint("2", 1))
	c.finish <- nil
	eventually(t, "nothing is left", func() bool { return waitingHints(t, h) == 0 })
}

func TestPublishedHintsAreStored(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h := b.hints()
	var many []*schemas.Hint
	for id := range 2500 {
		many = append(many, hint(fmt.Sprint(id), 1))
	}
	must(t, h.publish(t.Context(), many...))
	equal(t, "hints in the queue", waitingHints(t, h), 2500)

	g := &gate{target: strings.TrimPrefix(b.server.URL(), "nats://")}
	nc, err := nats.Connect("127.0.0.1:1", nats.SetCustomDialer(g), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	must(t, err)
	defer nc.Close()
	cut := &hints{writer: &hintWriter{js: jetStream(t, nc)}, stream: h.stream, portal: "7"}
	g.shut(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := cut.publish(ctx, hint("new", 1), hint("newer", 1)); err == nil {
		t.Error("stored without a server")
	}
	equal(t, "hints in the queue", waitingHints(t, h), 2500)
}

func TestConsumingGoesOnWhenTheQueueWasDeleted(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	h := b.hints()
	c := startConsumer(t, h, recordWork)
	must(t, h.publish(t.Context(), hint("1", 1)))
	c.next(t)
	c.finish <- nil
	eventually(t, "nothing is left", func() bool { return waitingHints(t, h) == 0 })
	must(t, b.js.DeleteConsumer(t.Context(), h.stream, "7-record-contacts"))
	must(t, h.publish(t.Context(), hint("2", 1)))
	equal(t, "hint", *c.next(t)[0], *hint("2", 1))
	c.finish <- nil
}
