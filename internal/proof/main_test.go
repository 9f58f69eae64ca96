package proof_test

import (
	"iter"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/internal/proof"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const schema = "hubspot"

// tables are real ones, made and filled by the sink.
type tables struct {
	t       *testing.T
	conn    *pgx.Conn
	applier *sink.Applier
	seq     uint64
}

func newTables(t *testing.T) *tables {
	t.Helper()
	url := pgtest.NewDatabase(t)
	pool, err := sink.OpenPool(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := migrations.Apply(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	return &tables{t: t, conn: conn.Conn(), applier: sink.NewApplier(sink.ApplierConfig{
		Pool: pool, Schema: schema, Stream: "HUBSPOT", Created: time.Unix(1, 0), Consumer: "test",
	})}
}

func (tb *tables) apply(m schemas.Message) {
	tb.t.Helper()
	tb.seq++
	if err := tb.applier.Apply(tb.t.Context(), []sink.Message{{Message: m, Seq: tb.seq}}, tb.seq); err != nil {
		tb.t.Fatal(err)
	}
	var dead int
	if err := tb.conn.QueryRow(tb.t.Context(), "select count(*) from hubspot.dead_letters").Scan(&dead); err != nil || dead != 0 {
		tb.t.Fatalf("the sink refused %s: %v", m.Subject, err)
	}
}

// define makes the table of an object type, from name, type pairs.
func (tb *tables) define(object string, namesAndTypes ...string) {
	tb.t.Helper()
	d := &schemas.PropertyDefinitions{Portal: "42", Object: object, ObjectTypeID: "0-1"}
	for i := 0; i < len(namesAndTypes); i += 2 {
		d.Properties = append(d.Properties, schemas.Property{Name: namesAndTypes[i], Type: namesAndTypes[i+1]})
	}
	tb.control(d)
}

func (tb *tables) control(c schemas.Control) {
	tb.t.Helper()
	m, err := schemas.EncodeControl(c)
	if err != nil {
		tb.t.Fatal(err)
	}
	tb.apply(m)
}

// put writes a record as the sink does.
func (tb *tables) put(object string, r proof.Record) {
	tb.t.Helper()
	e := &schemas.Event{
		Portal: "42", Object: object, ObjectTypeID: "0-1", ID: r.ID, Op: schemas.OpUpdated, Origin: schemas.OriginPoll,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Properties: schemas.MakeProperties(r.Properties),
	}
	switch {
	case r.Purged:
		e.Op, e.Properties = schemas.OpPurged, schemas.MakeProperties(nil)
	case r.MergedInto != "":
		e.Op, e.Archived, e.ArchivedAt, e.MergedInto = schemas.OpMerged, true, r.UpdatedAt, r.MergedInto
	case r.Archived:
		e.Op, e.Archived, e.ArchivedAt = schemas.OpArchived, true, r.UpdatedAt
	}
	tb.apply(e.Encode())
}

func (tb *tables) exec(sql string) {
	tb.t.Helper()
	if _, err := tb.conn.Exec(tb.t.Context(), sql); err != nil {
		tb.t.Fatalf("%s: %v", sql, err)
	}
}

// changed runs a change of the tables, compares, and undoes the change.
func (tb *tables) changed(table, change string, compare func() proof.Result) proof.Result {
	tb.t.Helper()
	tb.exec("create temp table before as table hubspot." + table)
	tb.exec(change)
	r := compare()
	tb.exec("truncate hubspot." + table)
	tb.exec("insert into hubspot." + table + " table before")
	tb.exec("drop table before")
	return r
}

func (tb *tables) compare(object string, truth iter.Seq2[proof.Record, error]) proof.Result {
	tb.t.Helper()
	r, err := proof.Compare(tb.t.Context(), tb.conn, schema, object, truth)
	if err != nil {
		tb.t.Fatal(err)
	}
	return r
}

func all(records []proof.Record) iter.Seq2[proof.Record, error] {
	return func(yield func(proof.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// outcome is what a comparison found.
type outcome struct{ missing, extra, different int }

func outcomeOf(r proof.Result) outcome { return outcome{r.Missing, r.Extra, r.Different} }
