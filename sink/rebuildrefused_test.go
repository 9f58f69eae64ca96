package sink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// picky puts on contacts what refuses rows, and publishes some that it refuses, some of them of records that had a version before.
func (r *rig) picky() {
	r.t.Helper()
	r.publish(definitions(r.t, "contacts", 0, "email", "string", "age", "number", "name", "string", "kind", "string", "note", "string"))
	r.applied0(r.publish(person(1, nil)))
	for _, sql := range []string{
		`create table public.kinds (kind text primary key); insert into public.kinds values ('a'), ('b')`,
		`create function public.f() returns trigger language plpgsql as 'begin if new.note = ''bad'' then raise exception ''no''; end if; return new; end'`,
		`alter table hubspot.contacts add constraint young check (age < 100), alter column name set not null, add constraint kinds foreign key (kind) references public.kinds`,
		`create unique index once on hubspot.contacts (email)`,
		`create trigger loud before insert or update on hubspot.contacts for each row execute function public.f()`,
	} {
		r.exec(sql)
	}
	for i, refused := range []props{{"age": "200"}, {"email": "1@x"}, {"name": ""}, {"kind": "z"}, {"note": "bad"}} {
		id := int64(10 * (i + 1))
		r.publish(person(id, refused), person(id+1, nil), person(id+1, refused)) // one never was in order, one was
	}
	bad := person(61, nil)
	bad.Data = append([]byte("{"), bad.Data...)
	// Of two of one email address the one that was first is changed later.
	r.applied0(r.publish(person(61, props{"note": "before"})))
	r.applied0(r.publish(bad, person(1, props{"age": "31"})))
}

// person is an event that nothing refuses, but for some properties; "" is none.
func person(id int64, change props) sink.Message {
	values := props{"email": fmt.Sprintf("%d@x", id), "age": "30", "name": "n", "kind": "a"}
	for name, value := range change {
		if values[name] = value; value == "" {
			delete(values, name)
		}
	}
	return event("contacts", id, uint64(id), values)
}

func TestWhatTheLiveTablesRefusedStaysRefusedThroughARebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.picky()
	const rows = `select string_agg(concat_ws(' ', id, _seq, email, age, name, kind, note), ', ' order by id) from hubspot.contacts`
	const letters = `select string_agg(concat_ws(' ', seq, record_id, sqlstate), ', ' order by seq) from hubspot.dead_letters`
	before, dead := r.value(rows), r.value(letters)
	r.want("11 7", `select count(*) || ' ' || (select count(*) from hubspot.contacts) from hubspot.dead_letters`)
	s := r.newTables()
	for _, o := range []sink.RebuildOptions{{}, {Objects: []string{"contacts"}}} {
		if plan, err := s.PlanRebuild(t.Context(), o); err != nil || len(plan.Lost) > 0 {
			t.Errorf("plan %+v, %v", plan, err)
		}
		r.rebuild(s, o)
		r.want(before, rows)
		r.want(dead, letters)
		r.wantAsLog(s)
	}

	// What no sink has applied yet is refused as well, and so is the tombstone of a record: then its row goes.
	run := r.start()
	r.applied(r.publish(event("contacts", 61, 999, nil, op(schemas.OpPurged))))
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
	r.publish(person(70, props{"age": "200"}), person(71, nil), person(72, props{"email": "71@x"}), person(11, props{"age": "50"}), person(51, props{"kind": "z"}))
	r.rebuild(s, sink.RebuildOptions{})
	r.want("11 21 31 41 51 71", `select string_agg(id::text, ' ' order by id) from hubspot.contacts where id > 1`)
	r.want("50", `select age from hubspot.contacts where id = 11`)
	r.want("70 23514, 72 23505, 51 23503", `select string_agg(concat_ws(' ', record_id, sqlstate), ', ' order by seq) from hubspot.dead_letters where seq > (select _seq from hubspot.contacts where id = 1) + 1`)
	r.want("true", `select convalidated from pg_constraint where conname = 'kinds' and conrelid = 'hubspot.contacts'::regclass`)
	r.want("61", `select string_agg(record_id::text, ' ') from hubspot.erased`)
	r.wantAsLog(s)

	// What the owner takes away refuses nothing any more.
	r.exec(`alter table hubspot.contacts drop constraint young`)
	r.rebuild(s, sink.RebuildOptions{})
	r.want("200 200", `select string_agg(age::text, ' ') from hubspot.contacts where id in (10, 70)`)
	r.wantAsLog(s)
	after, dead := r.value(rows), r.value(letters)
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil { // to tables that had it, and refused these
		t.Fatal(err)
	}
	r.want(after, rows)
	r.want(dead, letters)

	// But a deletion for privacy is carried out, whatever refused it.
	r.exec(`create function public.keep() returns trigger language plpgsql as 'begin raise exception ''kept''; end';
		create trigger keeps before insert or update or delete on hubspot.contacts for each row execute function public.keep()`)
	r.applied0(r.publish(event("contacts", 51, 999, nil, op(schemas.OpPurged))))
	r.want("51@x", `select email from hubspot.contacts where id = 51`)
	r.rebuild(s, sink.RebuildOptions{})
	r.want("0", `select count(*) from hubspot.contacts where id = 51`)
}

func TestWhatOnlyTheNewTableRefusesIsNotLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(5))
	// A trigger fills what a constraint asks for: it does not fire for a rebuild.
	for _, sql := range []string{
		`alter table hubspot.contacts add column team text; update hubspot.contacts set team = 'a'`,
		`alter table hubspot.contacts add constraint teamed check (team is not null)`,
		`create function public.f() returns trigger language plpgsql as 'begin new.team := ''a''; return new; end'`,
		`create trigger fills before insert on hubspot.contacts for each row execute function public.f()`,
	} {
		r.exec(sql)
	}
	s := r.newTables()
	r.rebuild(s, sink.RebuildOptions{}) // all rows are there when the constraint comes
	r.want("5", `select count(*) from hubspot.contacts where team = 'a'`)
	sink.AfterRebuildStep(s, func(phase string) {
		if phase == "indexing" {
			r.applied0(r.publish(event("contacts", 6, 1, props{"email": "6@x"})))
		}
	})
	was := r.value(`select 'hubspot.contacts'::regclass::oid`)
	if _, err := s.Rebuild(t.Context(), sink.RebuildOptions{}); err == nil || !strings.Contains(err.Error(), "1 rows that the live one has") || !strings.Contains(err.Error(), "teamed") {
		t.Errorf("%v", err)
	}
	r.want(was, `select 'hubspot.contacts'::regclass::oid`)
	sink.AfterRebuildStep(s, nil)
	r.rebuild(s, sink.RebuildOptions{})
	r.want("6", `select count(*) from hubspot.contacts where team = 'a'`)
}

func TestWhatNoSinkAppliedIsRefusedByARebuildAsByASink(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.picky()
	// With a constraint that the owner's own values fulfil, which the new rows get from the live ones.
	r.exec(`alter table hubspot.contacts add column team text; update hubspot.contacts set team = 'a'; alter table hubspot.contacts add constraint teamed check (team is not null or id > 80), add constraint novel check (id > 5) not valid`)
	if err := r.js.DeleteStream(t.Context(), "HUBSPOT"); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	r.publish(definitions(t, "contacts", 0, "email", "string", "age", "number", "name", "string", "kind", "string", "note", "string"))
	for _, id := range []int64{1, 11, 21, 31, 41, 51, 61} {
		r.publish(person(id, nil))
	}
	r.publish(person(81, props{"age": "300"}), person(82, props{"email": "1@x"}), person(83, props{"kind": "q"}), person(84, props{"name": ""}), person(85, nil))
	s := r.newTables()
	r.rebuild(s, sink.RebuildOptions{})
	r.want("1a 11a 21a 31a 41a 51a 61a 85", `select string_agg(id || coalesce(team, ''), ' ' order by id) from hubspot.contacts`)
	r.want("81 23514, 82 23505, 83 23503, 84 23502", `select string_agg(concat_ws(' ', record_id, sqlstate), ', ' order by seq) from hubspot.dead_letters`)
	r.wantAsLog(s)
}

func TestTheLinksBeforeARefusedSetStayThroughARebuild(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"check": `alter table hubspot.links add constraint chk check (coalesce(label, '') <> 'bad')`,
		"trigger": `create function public.f() returns trigger language plpgsql as 'begin if new.label = ''bad'' then raise exception ''no''; end if; return new; end';
			create trigger loud before insert or update on hubspot.links for each row execute function public.f()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.applied0(r.logOfAll(3))
			r.exec(sql)
			link := func(id, label string) schemas.Link {
				return schemas.Link{ID: id, Category: "HUBSPOT_DEFINED", TypeID: 1, Label: label}
			}
			first := r.publish(links(t, 0, "777", "companies", link("10", "good")), links(t, 0, "777", "deals", link("12", "good")))
			r.applied0(first)
			r.applied0(r.publish(links(t, 0, "777", "companies", link("10", "good"), link("11", "bad")), links(t, 0, "778", "companies", link("11", "bad"))))
			const have = `select string_agg(concat_ws('/', from_id, to_id, label), ' ' order by from_id, to_id) from hubspot.links where from_id in (777, 778)`
			const letters = `select string_agg(concat_ws(' ', seq, record_id, sqlstate), ', ' order by seq) from hubspot.dead_letters`
			r.want("777/10/good 777/12/good", have)
			dead := r.value(letters)
			s := r.newTables()
			for range 2 {
				r.rebuild(s, sink.RebuildOptions{})
				r.want("777/10/good 777/12/good", have)
				r.want(dead, letters)
				r.wantAsLog(s)
			}

			// A later set takes their place.
			r.applied0(r.publish(links(t, 0, "777", "companies", link("11", "well"))))
			r.rebuild(s, sink.RebuildOptions{})
			r.want("777/11/well 777/12/good", have)

			// Where the log no longer has the set that stayed, that is said before anything begins.
			r.applied0(r.publish(links(t, 0, "777", "deals", link("13", "bad"))))
			if err := r.stream.DeleteMsg(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Rebuild(t.Context(), sink.RebuildOptions{}); !errors.Is(err, sink.ErrNotCarried) || !strings.Contains(err.Error(), "1 sets of links") {
				t.Errorf("%v", err)
			}
			r.want("777/11/well 777/12/good", have)
		})
	}
}

func TestLinksThatOnlyTheNewTableRefusesAreNotLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(3))
	// A trigger fills what a constraint asks for: it does not fire for a rebuild.
	r.exec(`alter table hubspot.links add constraint labelled check (label is not null or from_id <> 777);
		create function public.f() returns trigger language plpgsql as 'begin new.label := coalesce(new.label, ''x''); return new; end';
		create trigger fills before insert on hubspot.links for each row execute function public.f()`)
	r.applied0(r.publish(links(t, 0, "777", "companies", schemas.Link{ID: "10", Category: "HUBSPOT_DEFINED", TypeID: 1})))
	const have = `select string_agg(concat_ws('/', from_id, to_id, label), ' ' order by to_id) from hubspot.links where from_id = 777`
	r.want("777/10/x", have)
	if _, err := r.newTables().Rebuild(t.Context(), sink.RebuildOptions{}); err == nil || !strings.Contains(err.Error(), "1 sets that the live ones have") || !strings.Contains(err.Error(), "labelled") {
		t.Errorf("%v", err)
	}
	r.want("777/10/x", have)
}

func TestWhatATriggerRefusesStaysRefusedWithAnyCodeAndAtAnyTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ code, at string }{
		"as a constraint": {"check_violation", ""}, "as bad data": {"data_exception", ""}, "a size": {"program_limit_exceeded", ""},
		"after the log was read": {"raise_exception", "reading"}, "after the copy caught up": {"raise_exception", "catching up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.publish(definitions(t, "contacts", 0, "email", "string", "age", "number", "name", "string", "kind", "string", "note", "string"))
			r.applied0(r.publish(person(1, nil), person(2, nil)))
			r.exec(`create function public.f() returns trigger language plpgsql as 'begin
				if to_jsonb(new)->>''note'' = ''bad'' or to_jsonb(new)->>''label'' = ''bad'' then raise exception ''no'' using errcode = ''` + c.code + `''; end if; return new; end';
				create trigger loud before insert or update on hubspot.contacts for each row execute function public.f();
				create trigger loud before insert or update on hubspot.links for each row execute function public.f()`)
			link := schemas.Link{ID: "10", Category: "HUBSPOT_DEFINED", TypeID: 1}
			r.applied0(r.publish(links(t, 0, "1", "companies", link)))
			refuse := func() {
				bad := link
				bad.Label = "bad"
				r.applied0(r.publish(person(2, props{"note": "bad"}), person(3, props{"note": "bad"}), links(t, 0, "1", "companies", bad)))
			}
			s := r.newTables()
			if c.at == "" {
				refuse()
			}
			sink.AfterRebuildStep(s, func(phase string) {
				if phase == c.at {
					refuse()
				}
			})
			r.rebuild(s, sink.RebuildOptions{})
			r.want("1, 2", `select string_agg(concat(id, note), ', ' order by id) from hubspot.contacts`)
			r.want("1 10", `select string_agg(concat_ws(' ', from_id, to_id, label), ', ') from hubspot.links`)
			r.want("2, 3, 1", `select string_agg(record_id, ', ' order by seq) from hubspot.dead_letters`)
			r.wantAsLog(s)
		})
	}
}

func TestLettersRedrivenDuringARebuildAreApplied(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"reading", "catching up", "comparing"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.picky()
			s := r.newTables()
			sink.AfterRebuildStep(s, func(phase string) {
				if phase == at {
					sink.AfterRebuildStep(s, nil)
					r.exec(`drop trigger loud on hubspot.contacts; delete from hubspot.dead_letters where record_id = '50'`)
					if done, err := r.newTables().Redrive(t.Context(), sink.DeadLetters{}); err != nil || len(done) == 0 {
						t.Errorf("%v, %v", done, err)
					}
					r.want("51 bad", `select concat_ws(' ', id, note) from hubspot.contacts where id = 51`)
				}
			})
			r.rebuild(s, sink.RebuildOptions{})
			r.want("51 bad", `select concat_ws(' ', id, note) from hubspot.contacts where id = 51`)
			r.want("0", `select count(*) from hubspot.dead_letters where record_id = '51'`)
		})
	}
}

func TestWhatWasRefusedSinceARebuildStaysRefusedThroughARollback(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"before", "catching up", "indexing"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.picky()
			s := r.newTables()
			r.rebuild(s, sink.RebuildOptions{})
			r.exec(`alter table hubspot.contacts add constraint short check (length(note) < 9)`)
			refuse := func(phase string) {
				if phase == at {
					r.applied0(r.publish(person(1, props{"note": "fine"}), person(21, props{"note": "well"}), person(1, props{"note": "bad"}),
						person(21, props{"note": "much too long"}), person(91, props{"note": "bad"}), person(92, props{"note": "good"})))
				}
			}
			refuse("before")
			sink.AfterRebuildStep(s, refuse)
			if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
				t.Fatal(err)
			}
			r.want("1 fine, 21 well, 61 before, 92 good", `select string_agg(concat_ws(' ', id, note), ', ' order by id) from hubspot.contacts where note is not null`)
			r.want("14", `select count(*) from hubspot.dead_letters`)
			r.wantAsLog(s)
		})
	}
}
