package connector

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/schemas"
)

var (
	day      = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	contacts = func() hubspot.Object { o, _ := hubspot.ObjectByName("contacts"); return o }()
)

// logBundle is a real NATS server with an empty stream.
type logBundle struct {
	t      testing.TB
	server *localnats.Server
	js     jetstream.JetStream
}

func setupLog(t testing.TB) *logBundle {
	t.Helper()
	server, err := localnats.Start(localnats.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	nc, err := server.Connect()
	must(t, err)
	t.Cleanup(nc.Close)
	b := &logBundle{t: t, server: server, js: jetStream(t, nc)}
	_, err = jetlog.Ensure(t.Context(), b.js, jetlog.StreamConfig(jetlog.DefaultStream, 1))
	must(t, err)
	return b
}

func jetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	must(t, err)
	return js
}

// open returns the log of an object as the named process has it.
func (b *logBundle) open(instance string) *objectLog { return openTestLog(b.t, b.js, instance) }

func openTestLog(t testing.TB, js jetstream.JetStream, instance string) *objectLog {
	t.Helper()
	l := &objectLog{
		js: js, stream: jetlog.DefaultStream, portal: "7", object: contacts, instance: instance,
		now: func() time.Time { return day }, timeout: publishTimeout, logger: slog.New(slog.DiscardHandler),
		token: make(chan struct{}, 1),
		confirm: func(context.Context, []string) (hubspot.Batch, error) {
			t.Error("records read again without need")
			return hubspot.Batch{}, nil
		},
		asked: func() []string { return nil },
	}
	_, err := l.Reload(t.Context())
	must(t, err)
	return l
}

// stored is one message of the stream.
type stored struct {
	seq     uint64
	subject schemas.Subject
	msg     schemas.Message
}

func (s stored) event(t testing.TB) *schemas.Event {
	t.Helper()
	e, err := schemas.DecodeEvent(s.msg)
	must(t, err)
	return e
}

// messages returns the whole stream.
func (b *logBundle) messages() []stored {
	b.t.Helper()
	stream, err := b.js.Stream(b.t.Context(), jetlog.DefaultStream)
	must(b.t, err)
	state := stream.CachedInfo().State
	var all []stored
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := stream.GetMsg(b.t.Context(), seq)
		if err == jetstream.ErrMsgNotFound {
			continue // an old cursor
		}
		must(b.t, err)
		msg := schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}
		subject, err := schemas.ParseSubject(m.Subject)
		must(b.t, err)
		all = append(all, stored{seq: seq, subject: subject, msg: msg})
	}
	return all
}

// events returns the change events of one record, or of all if id is "".
func (b *logBundle) events(id string) (events []*schemas.Event) {
	b.t.Helper()
	for _, m := range b.messages() {
		if m.subject.Kind == schemas.KindRecord && (id == "" || m.subject.ID == id) {
			events = append(events, m.event(b.t))
		}
	}
	return events
}

// count returns how many messages of a kind the stream holds.
func (b *logBundle) count(kind schemas.Kind) (n int) {
	b.t.Helper()
	for _, m := range b.messages() {
		if m.subject.Kind == kind {
			n++
		}
	}
	return n
}

// noDuplicates fails if one state of a record is in the stream twice in a row, or a record's states are out of order.
func (b *logBundle) noDuplicates() {
	b.t.Helper()
	seen := map[string]bool{}
	last := map[string]*schemas.Event{}
	for _, e := range b.events("") {
		if id := e.CEID(); seen[id] {
			b.t.Errorf("event %s is in the log twice", id)
		} else {
			seen[id] = true
		}
		switch before := last[e.ID]; {
		case before == nil:
		case e.Hash == before.Hash && e.UpdatedAt.Equal(before.UpdatedAt):
			b.t.Errorf("record %s is in the log twice with the same state", e.ID)
		case e.UpdatedAt.Before(before.UpdatedAt):
			b.t.Errorf("record %s goes back from %s to %s", e.ID, before.UpdatedAt, e.UpdatedAt)
		}
		last[e.ID] = e
	}
}

func record(id int, updated time.Time, values ...string) hubspot.Record {
	m := map[string]string{"hs_object_id": fmt.Sprint(id)}
	for i := 0; i < len(values); i += 2 {
		m[values[i]] = values[i+1]
	}
	return hubspot.Record{ID: fmt.Sprint(id), Properties: schemas.MakeProperties(m), CreatedAt: day.Add(-time.Hour), UpdatedAt: updated}
}

func records(from, n int, updated time.Time) []hubspot.Record {
	all := make([]hubspot.Record, n)
	for i := range all {
		all[i] = record(from+i, updated, "email", fmt.Sprintf("r%d@example.com", from+i))
	}
	return all
}

func polled(records ...hubspot.Record) page {
	return page{Origin: schemas.OriginPoll, Primary: true, After: math.MaxUint64, Records: records}
}

// moveTo returns an advance that sets how far was polled.
func moveTo(t time.Time) func(*schemas.Cursor) {
	return func(c *schemas.Cursor) { c.PolledTo = t }
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustAppend(t testing.TB, l *objectLog, p page, advance func(*schemas.Cursor)) schemas.Counts {
	t.Helper()
	counts, err := l.Append(t.Context(), p, advance)
	must(t, err)
	return counts
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func equalSlices[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// longest is how long a test waits for what takes seconds: a busy machine takes its time.
const longest = 2 * time.Minute

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, what, longest, ok)
}

func eventuallyWithin(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-tick.C
	}
}

func text(n int) string { return strings.Repeat("x", n) }
