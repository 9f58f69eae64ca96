package sink_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

func TestARebuildTakesNoSchemaOfSomebodyElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(3))
	for name, sql := range map[string]string{
		"functions": `create function app.f() returns int language sql as 'select 1'; create sequence app.s`,
		"tables":    `create table app.links (a int); create table app.objects (a int); create table app.users (a int)`,
		"types":     `create type app.mood as enum ('a'); create domain app.d as int`,
		"live":      ``,
		"replaced":  `create table app.mine (a int)`,
	} {
		r.exec(`drop schema if exists app cascade; create schema app; ` + sql)
		switch name {
		case "live":
			if err := migrations.Apply(t.Context(), r.pool, "app"); err != nil {
				t.Fatal(err)
			}
		case "replaced": // dropped by hand, and made for something else
			if err := sink.RegisterCopy(t.Context(), r.pool, schema, sink.Copy{Schema: "app", Kind: sink.CopyOld}); err != nil {
				t.Fatal(err)
			}
		}
		const all = `select string_agg(pg_describe_object(classid, objid, objsubid), ', ' order by objid) from pg_depend where refobjid = 'app'::regnamespace`
		before := r.value(all)
		if _, err := r.newTables().Rebuild(t.Context(), sink.RebuildOptions{Copy: "app"}); !errors.Is(err, sink.ErrCopyTaken) {
			t.Errorf("%s: %v, want that the schema is taken", name, err)
		}
		r.want(before, all)
		r.exec(`delete from hubspot.copies`)
	}
	r.exec(`drop schema app cascade; create schema app; alter default privileges in schema app grant select on tables to public`)
	if _, err := r.newTables().Rebuild(t.Context(), sink.RebuildOptions{Copy: "app"}); err != nil {
		t.Errorf("an empty schema: %v", err)
	}
}

func TestARebuildThatIsNoLongerAloneSwapsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(20))
	separator := "?"
	if strings.Contains(r.url, "?") {
		separator = "&"
	}
	was := r.value(`select 'hubspot.contacts'::regclass::oid`)
	for name, done := range map[string]string{
		"killed": `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'first' and state = 'idle in transaction'`,
		"taken":  `update hubspot.copies set created_at = now() + interval '1 second'`, // as another rebuild does
		"gone":   `delete from hubspot.copies`,
	} {
		s := r.newTablesOn(openPool(t, r.url+separator+"application_name=first"))
		sink.AfterRebuildStep(s, func(phase string) {
			if phase == "comparing" {
				r.exec(done)
			}
		})
		_, err := s.Rebuild(t.Context(), sink.RebuildOptions{})
		if err == nil || name != "killed" && !errors.Is(err, sink.ErrRebuilding) {
			t.Errorf("%s: %v", name, err)
		}
		r.want(was, `select 'hubspot.contacts'::regclass::oid`)
		r.exec(`drop schema hubspot_rebuild cascade; delete from hubspot.copies`)
	}
	r.rebuild(r.newTables(), sink.RebuildOptions{})
}

func TestADeletionForPrivacyWhileTheShadowIsMade(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(3))
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // it ends in time below
	// A rebuild waits for it, with its copy registered and without tables: whatever meets it there takes it for dropped.
	if _, err := tx.Exec(t.Context(), `select pg_advisory_xact_lock(hashtextextended('hubtail migrate hubspot_rebuild', 0))`); err != nil {
		t.Fatal(err)
	}
	s, done := r.newTables(), make(chan error, 1)
	go func() {
		_, err := s.Rebuild(t.Context(), sink.RebuildOptions{})
		done <- err
	}()
	eventually(t, "the copy is registered", func() bool { return r.value(`select count(*) from hubspot.copies`) == "1" })
	r.applied0(r.publish(event("contacts", 1, 99, nil, op(schemas.OpPurged))))
	r.want("0", `select count(*) from hubspot.copies`)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.want("1 old", `select count(*) || ' ' || max(kind) from hubspot.copies`)
	r.want("0", `select count(email) from hubspot.contacts where id = 1`)
	r.want("true", `select exists (select from hubspot.erased where object = 'contacts' and record_id = 1)`)
}

func TestARebuildDuringAChangeOfAType(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string", "age", "string"))
	r.applied0(r.publish(event("contacts", 1, 1, props{"email": "e", "age": "30"})))
	s := r.newTables()
	for i, begun := range []string{"", "preparing", "comparing"} {
		// A change that another sink has begun: its column is there, and no owner's.
		begin := `alter table hubspot.contacts add column _next_age numeric; update hubspot.properties set next_name = '_next_age' where name = 'age'`
		if begun == "" {
			r.exec(begin)
		}
		sink.AfterRebuildStep(s, func(phase string) {
			if phase == begun {
				r.exec(begin)
			}
		})
		r.rebuild(s, sink.RebuildOptions{})
		r.want("30", `select age from hubspot.contacts where id = 1`)
		r.want("false", `select exists (select from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = '_next_age')
			or exists (select from hubspot.properties where next_name is not null or fill)`)
		if t.Failed() {
			t.Fatalf("rebuild %d", i)
		}
	}
}

func TestARebuildLeavesAnOwnersTableOfATypesNameAlone(t *testing.T) {
	t.Parallel()
	for _, during := range []bool{false, true} { // when the type appears in the live tables
		r := newRig(t)
		r.applied0(r.logOfAll(3))
		r.exec(`create table hubspot.companies (id bigint primary key, mine text); insert into hubspot.companies values (1, 'mine')`)
		companies := func() uint64 {
			return r.publish(definitions(t, "companies", 0, "name", "string"), event("companies", 1, 1, props{"name": "c"}))
		}
		s := r.newTables()
		if !during {
			companies()
		}
		sink.AfterRebuildStep(s, func(phase string) {
			if during && phase == "preparing" {
				during = false
				r.applied0(companies())
			}
		})
		r.rebuild(s, sink.RebuildOptions{})
		r.want("mine", `select mine from hubspot.companies`)
		table := r.value(`select table_name from hubspot.objects where object = 'companies'`)
		r.want("c", `select name from hubspot.`+table)
		r.applied0(r.publish(event("companies", 1, 2, props{"name": "d"})))
		r.want("d", `select name from hubspot.`+table)
		r.rebuild(s, sink.RebuildOptions{})
		if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		r.want("d", `select name from hubspot.`+table)
		if _, err := s.DropOld(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		r.want("mine", `select mine from hubspot.companies`)
	}
}

func TestARebuildThatAStaticTableWouldRefuseDoesNotBegin(t *testing.T) {
	t.Parallel()
	for table, c := range map[string]struct {
		check string
		m     schemas.Control
	}{
		"pipelines": {`label <> 'bad'`, &schemas.Pipelines{Portal: portal, Object: "contacts", Pipelines: []schemas.Pipeline{{ID: "p", Label: "bad"}}}},
		"sync_logs": {`sync_type <> 'bad'`, &schemas.Run{Portal: portal, Object: "contacts", RunID: "r1", SyncType: "bad", Status: "success", StartedAt: streamCreated, CompletedAt: streamCreated}},
	} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.applied0(r.logOfAll(3))
			r.exec(`alter table hubspot.` + table + ` add constraint picky check (` + c.check + `)`)
			r.applied0(r.publish(control(t, 0, c.m)))
			r.want("1", `select count(*) from hubspot.dead_letters where sqlstate = '23514'`)
			s := r.newTables()
			_, planned := s.PlanRebuild(t.Context(), sink.RebuildOptions{})
			_, err := s.Rebuild(t.Context(), sink.RebuildOptions{})
			for _, err := range []error{planned, err} {
				if err == nil || !strings.Contains(err.Error(), table) || !strings.Contains(err.Error(), "picky") || !strings.Contains(err.Error(), "redrive") {
					t.Errorf("%v", err)
				}
			}
			r.want("0", `select count(*) from hubspot.copies`)
			r.exec(`alter table hubspot.` + table + ` drop constraint picky`)
			r.rebuild(s, sink.RebuildOptions{})
			r.want("0", `select count(*) from hubspot.dead_letters where sqlstate = '23514'`)
		})
	}
}

func TestADeletionForPrivacyBetweenTheShadowsTablesAndTheirRows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(3))
	// What such a deletion does, at the beginning of the transaction that makes the tables of records.
	r.exec(`create function public.deletes() returns event_trigger language plpgsql as $$ begin
		if to_regclass('hubspot_rebuild.withheld') is not null and to_regclass('hubspot_rebuild.contacts') is null then
			insert into hubspot_rebuild.objects (object, table_name) values ('contacts', 'contacts');
			create table hubspot_rebuild.contacts (like hubspot.contacts including all);
			insert into hubspot_rebuild.contacts (id, _seq, _purged) values (3, 1, true);
			insert into hubspot_rebuild.erased (object, record_id, _seq) values ('contacts', 3, 1);
		end if; end $$`)
	r.exec(`create event trigger deletes on ddl_command_start when tag in ('DROP INDEX') execute function public.deletes()`)
	r.rebuild(r.newTables(), sink.RebuildOptions{})
	r.want("1 2", `select string_agg(id::text, ' ' order by id) from hubspot.contacts where not _purged`)
	r.want("3", `select string_agg(record_id::text, ' ') from hubspot.erased`)
}
