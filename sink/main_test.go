package sink_test

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(playChild(role, os.Args[1:]))
	}
	pgtest.Main(m)
}

const (
	portal = "42"
	schema = "hubspot"
)

var streamCreated = time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC)

// bundle is one migrated database and an applier on it.
type bundle struct {
	t       testing.TB
	url     string
	pool    *pgxpool.Pool
	applier *sink.Applier
}

func setup(t testing.TB) *bundle { return setupOn(t, pgtest.NewDatabase(t)) }

func setupOn(t testing.TB, url string) *bundle {
	t.Helper()
	b := &bundle{t: t, url: url, pool: openPool(t, url)}
	if err := migrations.Apply(t.Context(), b.pool, schema); err != nil {
		t.Fatal(err)
	}
	b.applier = b.newApplier()
	return b
}

func openPool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := sink.OpenPool(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (b *bundle) newApplier() *sink.Applier {
	return sink.NewApplier(sink.ApplierConfig{
		Pool: b.pool, Schema: schema, Stream: "HUBSPOT", Created: streamCreated, Consumer: "test", Logger: testLogger(b.t),
	})
}

// apply applies messages and fails the test if that fails. The position is the last message's.
func (b *bundle) apply(messages ...sink.Message) {
	b.t.Helper()
	last := uint64(0)
	for _, m := range messages {
		last = max(last, m.Seq)
	}
	if err := b.applier.Apply(b.t.Context(), messages, last); err != nil {
		b.t.Fatal(err)
	}
}

// value returns the one value of a query as text, "null" for null.
func (b *bundle) value(query string, args ...any) string {
	b.t.Helper()
	var text *string
	if err := b.pool.QueryRow(b.t.Context(), "select ("+query+")::text", args...).Scan(&text); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	if text == nil {
		return "null"
	}
	return *text
}

// want compares the one value of a query.
func (b *bundle) want(want, query string, args ...any) {
	b.t.Helper()
	if got := b.value(query, args...); got != want {
		b.t.Errorf("%s = %q, want %q", query, got, want)
	}
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(p))
	return len(p), nil
}

// props is property values by name.
type props map[string]string

// event returns a record's event.
func event(object string, id int64, seq uint64, values props, change ...func(*schemas.Event)) sink.Message {
	e := &schemas.Event{
		Portal: portal, Object: object, ObjectTypeID: "0-1", ID: strconv.FormatInt(id, 10), Op: schemas.OpUpdated, Origin: schemas.OriginPoll,
		CreatedAt: time.UnixMilli(1_700_000_000_000), UpdatedAt: time.UnixMilli(1_700_000_000_000 + int64(seq)),
		Properties: schemas.MakeProperties(values),
	}
	for _, c := range change {
		c(e)
	}
	return sink.Message{Message: e.Encode(), Seq: seq}
}

func op(o schemas.Op) func(*schemas.Event) {
	return func(e *schemas.Event) {
		e.Op = o
		if o == schemas.OpArchived || o == schemas.OpMerged {
			e.Archived, e.ArchivedAt = true, e.UpdatedAt
		}
	}
}

func control(t testing.TB, seq uint64, c schemas.Control) sink.Message {
	t.Helper()
	m, err := schemas.EncodeControl(c)
	if err != nil {
		t.Fatal(err)
	}
	return sink.Message{Message: m, Seq: seq}
}

// definitions returns definitions of properties given as name, type pairs.
func definitions(t testing.TB, object string, seq uint64, namesAndTypes ...string) sink.Message {
	d := &schemas.PropertyDefinitions{Portal: portal, Object: object, ObjectTypeID: "0-1"}
	for i := 0; i < len(namesAndTypes); i += 2 {
		d.Properties = append(d.Properties, schemas.Property{Name: namesAndTypes[i], Type: namesAndTypes[i+1], Label: "Label of " + namesAndTypes[i]})
	}
	return control(t, seq, d)
}

// eventually waits until check is true.
func eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	within(t, 2*time.Minute, what, check) // what takes seconds: a busy machine takes its time
}

// within is eventually with another patience.
func within(t testing.TB, patience time.Duration, what string, check func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !check() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not happen", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
