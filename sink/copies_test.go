package sink_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// dumpAll returns every row of every table of every schema as text.
func (b *bundle) dumpAll() string {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `select table_schema, table_name from information_schema.tables
		where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'`)
	if err != nil {
		b.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (name pgx.Identifier, err error) {
		name = make(pgx.Identifier, 2)
		err = row.Scan(&name[0], &name[1])
		return name, err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range tables {
		all.WriteString(b.value(`select string_agg(t::text, E'\n') from ` + name.Sanitize() + ` t`))
		if name[1] == "dead_letters" { // a bytea's text is hexadecimal
			all.WriteString(b.value(`select string_agg(encode(payload, 'escape') || headers::text, E'\n') from ` + name.Sanitize()))
		}
	}
	return all.String()
}

// addCopy makes a registered copy of a schema with messages applied.
func (b *bundle) addCopy(name string, kind sink.CopyKind, messages ...sink.Message) {
	b.t.Helper()
	if err := sink.RegisterCopy(b.t.Context(), b.pool, schema, sink.Copy{Schema: name, Kind: kind, Stream: "HUBSPOT"}); err != nil {
		b.t.Fatal(err)
	}
	if err := migrations.Apply(b.t.Context(), b.pool, name); err != nil {
		b.t.Fatal(err)
	}
	b.exec(`update hubspot.copies c set installation = i.id from ` + name + `.installation i where c.schema_name = '` + name + `'`)
	a := sink.NewApplier(sink.ApplierConfig{
		Pool: b.pool, Schema: name, Stream: "HUBSPOT", Created: streamCreated, Consumer: "test", Logger: testLogger(b.t),
	})
	if err := a.Apply(b.t.Context(), messages, 0); err != nil {
		b.t.Fatal(err)
	}
}

func TestADeletionForPrivacyReachesEveryCopy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := append([]sink.Message{definitions(t, "contacts", 1, "email", "string")}, privateMessages(t)[:8]...)
	b.apply(before...)
	b.addCopy("hubspot_rebuild", sink.CopyOld, before...)
	b.addCopy("hubspot_2025", sink.CopyAsOf, before[:4]...)
	b.addCopy("hubspot_next", sink.CopyShadow) // not begun: the messages were read, and are written below
	if n := strings.Count(b.dumpAll(), private); n < 12 {
		t.Fatalf("%d values before", n)
	}

	b.apply(privateMessages(t)[8])
	late := sink.NewApplier(sink.ApplierConfig{Pool: b.pool, Schema: "hubspot_next", Stream: "HUBSPOT", Created: streamCreated, Consumer: "test"})
	if err := late.Apply(t.Context(), before, 0); err != nil {
		t.Fatal(err)
	}
	if all := b.dumpAll(); strings.Contains(all, private) {
		t.Errorf("still there: %.300s", all[strings.Index(all, private):])
	}
	for _, name := range []string{"hubspot_rebuild", "hubspot_2025", "hubspot_next"} {
		b.want("7 true true", `select concat_ws(' ', id, case when _purged then 'true' end, case when _archived then 'true' end) from `+name+`.contacts where id = 7`)
	}
	b.want("someone@else.example", `select email from hubspot_rebuild.contacts where id = 8`)
	b.want("0", `select count(*) from hubspot.copy_erasures`)
}

func TestADeletionForPrivacyThatACopyCannotTakeIsNotForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := append([]sink.Message{definitions(t, "contacts", 1, "email", "string")}, privateMessages(t)[:8]...)
	b.apply(before...)
	b.addCopy("hubspot_rebuild", sink.CopyOld, before...)
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // after the test's own it is a no-op
	if _, err := tx.Exec(t.Context(), `lock table hubspot_rebuild.contacts in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	b.apply(privateMessages(t)[8]) // the live tables do not wait for the copy
	b.want("true", `select _purged from hubspot.contacts where id = 7`)
	b.want("hubspot_rebuild contacts 7 10", `select concat_ws(' ', schema_name, object, record_id, _seq) from hubspot.copy_erasures`)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	// The process ends here; whoever comes next finds it in the database.
	b.applier = b.newApplier()
	b.apply(event("contacts", 8, 11, props{"email": "other@else.example"}))
	b.want("0", `select count(*) from hubspot.copy_erasures`)
	if all := b.dumpAll(); strings.Contains(all, private) {
		t.Errorf("still there: %.300s", all[strings.Index(all, private):])
	}
}

func TestACopyDroppedByHandHoldsNothingUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(event("contacts", 7, 1, props{"email": private}))
	b.addCopy("hubspot_rebuild", sink.CopyOld, event("contacts", 7, 1, props{"email": private}))
	b.exec(`drop schema hubspot_rebuild cascade`)
	b.apply(event("contacts", 7, 2, nil, op(schemas.OpPurged)))
	b.want("0", `select count(*) from hubspot.copy_erasures`)
	b.want("0", `select count(*) from hubspot.copies`)
}

func TestACopyIsNotDroppedWithWhatDependsOnIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.addCopy("hubspot_2025", sink.CopyAsOf, event("contacts", 7, 1, nil))
	b.exec(`create view public.people as select id from hubspot_2025.contacts`)
	b.exec(`create view hubspot_2025.inside as select id from hubspot_2025.contacts`)
	err := sink.DropCopy(t.Context(), b.pool, schema, "hubspot_2025")
	if err == nil || !strings.Contains(err.Error(), "view public.people") {
		t.Fatalf("dropped with a view: %v", err)
	}
	if err := sink.RegisterCopy(t.Context(), b.pool, schema, sink.Copy{Schema: "hubspot_2025", Kind: sink.CopyShadow}); !errors.Is(err, sink.ErrCopyTaken) {
		t.Errorf("registered as another kind: %v", err)
	}
	b.exec(`drop view public.people`)
	if err := sink.DropCopy(t.Context(), b.pool, schema, "hubspot_2025"); err != nil {
		t.Fatal(err)
	}
	copies, err := sink.Copies(t.Context(), b.pool, schema)
	if err != nil || len(copies) != 0 {
		t.Errorf("copies %v, %v", copies, err)
	}
	b.want("null", `select to_regnamespace('hubspot_2025')`)
}
