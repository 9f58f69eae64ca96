package history_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const portal = "42"

// began is when the portal's first record was created, by HubSpot's clock.
var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// writer appends a record's events to a log as a source does.
type writer struct {
	t    testing.TB
	js   jetstream.JetStream
	last map[string]*schemas.Event // by subject
	seq  map[string]uint64

	cursors map[string]*schemas.Cursor // by object, at the end of its last load
}

// newWriter makes a log that keeps depth messages of a subject.
func newWriter(t testing.TB, depth int64) *writer {
	t.Helper()
	server, err := localnats.Start(localnats.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := jetlog.StreamConfig("HUBSPOT", 1)
	cfg.MaxMsgsPerSubject = depth
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return &writer{t: t, js: js, last: map[string]*schemas.Event{}, seq: map[string]uint64{}, cursors: map[string]*schemas.Cursor{}}
}

func (w *writer) open() *history.Log {
	w.t.Helper()
	l, err := history.Open(w.t.Context(), w.js, "HUBSPOT", portal)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *writer) publish(m schemas.Message) uint64 {
	w.t.Helper()
	ack, err := w.js.PublishMsg(w.t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if err != nil {
		w.t.Fatal(err)
	}
	return ack.Sequence
}

type values = map[string]string

// event appends an event of a record: values are those it has from then on, nil for those it had.
func (w *writer) event(object string, id int, op schemas.Op, v values, change ...func(*schemas.Event)) uint64 {
	w.t.Helper()
	e := &schemas.Event{
		Portal: portal, Object: object, ObjectTypeID: "0-1", ID: strconv.Itoa(id), Op: op, Origin: schemas.OriginPoll,
		CreatedAt: began, UpdatedAt: began.Add(time.Minute), Properties: schemas.MakeProperties(v),
	}
	subject := schemas.RecordSubject(portal, object, e.ID)
	if last := w.last[subject]; last != nil && op != schemas.OpPurged {
		if v == nil {
			e.Properties = last.Properties
		}
		e.PreviousSeq = w.seq[subject]
		e.Changed, e.Previous = schemas.Diff(last.Properties, e.Properties)
	}
	if op == schemas.OpArchived || op == schemas.OpMerged || op == schemas.OpPurged {
		e.Archived, e.ArchivedAt = true, e.UpdatedAt
	}
	if op == schemas.OpPurged {
		e.Properties, e.Previous = nil, nil
		w.purge(subject)
	}
	for _, c := range change {
		c(e)
	}
	w.last[subject], w.seq[subject] = e, w.publish(e.Encode())
	return w.seq[subject]
}

// nextEvent is an update that is not published.
func (w *writer) nextEvent(object string, id int, v values) *nats.Msg {
	e := &schemas.Event{
		Portal: portal, Object: object, ID: strconv.Itoa(id), Op: schemas.OpUpdated, Origin: schemas.OriginPoll,
		UpdatedAt: began, Properties: schemas.MakeProperties(v),
	}
	m := e.Encode()
	return &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
}

func (w *writer) purge(subject string) {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), "HUBSPOT")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := stream.Purge(w.t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
		w.t.Fatal(err)
	}
}

func into(id int) func(*schemas.Event) {
	return func(e *schemas.Event) { e.MergedInto = strconv.Itoa(id) }
}

func (w *writer) links(id int, to ...int) uint64 {
	w.t.Helper()
	set := &schemas.Links{Portal: portal, From: "contacts", ID: strconv.Itoa(id), To: "companies", Links: []schemas.Link{}}
	for _, n := range to {
		set.Links = append(set.Links, schemas.Link{ID: strconv.Itoa(n), Category: "HUBSPOT_DEFINED", TypeID: 1})
	}
	return w.control(set)
}

func (w *writer) control(c schemas.Control) uint64 {
	w.t.Helper()
	m, err := schemas.EncodeControl(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.publish(m)
}

func at(seq uint64) history.Moment { return history.Moment{Seq: seq} }

func text(v *string) string {
	if v == nil {
		return "-"
	}
	return *v
}

func TestVersionsHaveWhatChangedWithOldAndNewValues(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 4)
	first := w.event("contacts", 7, schemas.OpSnapshot, values{"email": "a@x", "city": "Ulm"})
	second := w.event("contacts", 7, schemas.OpUpdated, values{"email": "b@x"})
	w.event("contacts", 8, schemas.OpCreated, values{"email": "other@x"})
	before := time.Now()
	third := w.event("contacts", 7, schemas.OpArchived, nil)
	l := w.open()
	r, err := l.ReadRecord(t.Context(), "contacts", "7")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Versions) != 3 || !r.Complete() || r.Erased() {
		t.Fatalf("%+v", r)
	}
	v := r.Versions[1]
	if v.Seq != second || v.PreviousSeq != first || v.Op != schemas.OpUpdated || v.Origin != schemas.OriginPoll || !v.UpdatedAt.Equal(began.Add(time.Minute)) {
		t.Errorf("%+v", v)
	}
	var changed string
	for _, c := range v.Changed {
		changed += fmt.Sprintf("%s %s %s,", c.Property, text(c.Old), text(c.New))
	}
	if want := "city Ulm -,email a@x b@x,"; changed != want {
		t.Errorf("changed %s, want %s", changed, want)
	}
	if v := r.Versions[2]; v.Seq != third || !v.Ended() || v.LoggedAt.Before(before.Add(-time.Minute)) || v.LoggedAt.After(time.Now().Add(time.Minute)) {
		t.Errorf("%+v", v)
	}

	for i := range 5 {
		w.event("contacts", 7, schemas.OpArchived, values{"email": strconv.Itoa(i)})
	}
	if r, err = w.open().ReadRecord(t.Context(), "contacts", "7"); err != nil || len(r.Versions) != 4 || r.Complete() {
		t.Errorf("%v, of more than are kept: %+v", err, r)
	}
	w.event("contacts", 7, schemas.OpPurged, nil)
	if r, err = w.open().ReadRecord(t.Context(), "contacts", "7"); err != nil || len(r.Versions) != 1 || !r.Erased() {
		t.Errorf("%v, of an erased record: %+v", err, r)
	}
	if r, err = w.open().ReadRecord(t.Context(), "contacts", "9"); err != nil || r.Last() != nil {
		t.Errorf("%v, of a record that never was: %+v", err, r)
	}
}

func TestMomentsAreTimesAgesAndSequences(t *testing.T) {
	t.Parallel()
	w := newWriter(t, 4)
	first := w.event("contacts", 1, schemas.OpCreated, values{"n": "1"})
	second := w.event("contacts", 1, schemas.OpUpdated, values{"n": "2"})
	l := w.open()
	entries, err := l.Messages(t.Context(), "hubspot.42.contacts.1")
	if err != nil || len(entries) != 2 {
		t.Fatal(entries, err)
	}
	now := entries[1].Time.Add(time.Hour)
	for text, want := range map[string]uint64{
		"start": 0, "now": second, "1": first, "0": 0, "1h": second, "7d": 0, "61m ago": 0, "2h": 0, "1w": 0,
		entries[0].Time.Format(time.RFC3339Nano):         first,
		entries[0].Time.Add(-1).Format(time.RFC3339Nano): 0,
		entries[1].Time.Format(time.RFC3339Nano):         second,
		"2020-01-31":                                     0, "2020-01-31 14:30": 0, "2020-01-31T14:30:10": 0,
	} {
		if got, err := l.Resolve(t.Context(), text, now); err != nil || got.Seq != want {
			t.Errorf("%s is %+v %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-5m", "3", "2999-01-01", "12 monkeys", "-1d"} {
		if got, err := l.Resolve(t.Context(), text, now); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}
