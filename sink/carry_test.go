package sink_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/sink"
)

// belongings returns all that Postgres knows of the tables of the live schema and of what depends on them.
func (r *rig) belongings() string {
	r.t.Helper()
	return r.value(`select string_agg(x, E'\n' order by x) from (
		select format('table %s %s %s %s %s %s %s %s', relname, relowner::regrole, relrowsecurity, relforcerowsecurity, relreplident, reloptions, relpersistence,
		  (select t.reloptions from pg_class t where t.oid = c.reltoastrelid)) as x
		  from pg_class c where relnamespace = 'hubspot'::regnamespace and relkind in ('r', 'v')
		union all select format('right %s %s %s %s', c.oid::regclass, a.grantee::regrole, a.privilege_type, a.is_grantable)
		  from pg_class c, aclexplode(c.relacl) a where c.relnamespace in ('hubspot'::regnamespace, 'api'::regnamespace) and a.grantee <> c.relowner and c.relkind <> 'i'
		union all select format('right %s.%s %s %s', c.attrelid::regclass, c.attname, a.grantee::regrole, a.privilege_type)
		  from pg_attribute c, aclexplode(c.attacl) a where c.attrelid = 'hubspot.contacts'::regclass
		union all select format('column %s.%s %s %s %s %s %s %s %s %s %s', c.attrelid::regclass, c.attname, format_type(c.atttypid, c.atttypmod), c.attnotnull, c.attgenerated, c.attstorage, c.attcompression, c.attstattarget, c.attoptions, pg_get_expr(d.adbin, d.adrelid), col_description(c.attrelid, c.attnum))
		  from pg_attribute c left join pg_attrdef d on d.adrelid = c.attrelid and d.adnum = c.attnum
		  where c.attrelid in ('hubspot.contacts'::regclass, 'hubspot.deals'::regclass, 'hubspot.links'::regclass) and c.attnum > 0 and not c.attisdropped
		union all select format('index %s %s %s %s %s', pg_get_indexdef(indexrelid), obj_description(indexrelid, 'pg_class'), nullif(indisclustered, false), nullif(indisreplident, false),
		  (select string_agg(a.attstattarget::text, ' ') from pg_attribute a where a.attrelid = indexrelid and a.attstattarget >= 0)) from pg_index where indrelid in (select oid from pg_class where relnamespace = 'hubspot'::regnamespace)
		union all select format('constraint %s %s %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint')) from pg_constraint where connamespace in ('hubspot'::regnamespace, 'api'::regnamespace)
		union all select format('trigger %s %s %s', pg_get_triggerdef(oid), tgenabled, obj_description(oid, 'pg_trigger')) from pg_trigger where not tgisinternal and tgrelid in (select oid from pg_class where relnamespace = 'hubspot'::regnamespace)
		union all select format('policy %s %s %s %s %s %s %s', polrelid::regclass, polname, polcmd, polpermissive, (select array_agg(r::regrole::text order by r::regrole::text) from unnest(polroles) r), pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) from pg_policy
		union all select format('view %s %s %s', oid::regclass, reloptions, pg_get_viewdef(oid)) from pg_class where relkind = 'v' and relnamespace in ('hubspot'::regnamespace, 'api'::regnamespace)
		union all select format('published %s.%s %s %s', schemaname, tablename, attnames, rowfilter) from pg_publication_tables where pubname = 'mine'
		union all select format('comment %s %s', oid::regclass, obj_description(oid, 'pg_class')) from pg_class where relnamespace = 'hubspot'::regnamespace and relkind in ('r', 'v')) t`)
}

// dressed puts everything on the tables that an owner may.
func (r *rig) dressed() {
	r.t.Helper()
	r.exec(`create schema api`)
	for _, sql := range []string{
		`grant select, update on hubspot.contacts to authenticated with grant option`, `grant select on hubspot.deals to public`,
		`grant select (id, email) on hubspot.contacts to anon`, `grant select on hubspot.links to authenticated`,
		`create policy mine on hubspot.contacts as restrictive for select to authenticated, anon using (email <> 'x' and exists (select from hubspot.deals d where d.id = contacts.id))`,
		`create policy writes on hubspot.contacts for update to authenticated using (true) with check (id > 0)`,
		`alter table hubspot.deals force row level security`, `alter table hubspot.links disable row level security`,
		`comment on table hubspot.contacts is 'ours'`, `comment on column hubspot.contacts.email is 'where to''s write'`,
		`create index "By Mail" on hubspot.contacts (lower(email)) where not _archived`, `comment on index hubspot."By Mail" is 'fast'`,
		`create unique index contacts_id_email on hubspot.contacts (id, email)`,
		`alter table hubspot.contacts add constraint grown check (age is null or age > 0)`,
		`alter table hubspot.contacts add constraint once unique (id, _seq)`,
		`alter table hubspot.contacts add column note text not null default 'none', add column "Score" integer, add column twice numeric generated always as (age * 2) stored`,
		`update hubspot.contacts set note = 'note ' || id, "Score" = id where id % 2 = 0`,
		`create function api.touch() returns trigger language plpgsql as $$ begin return new; end $$`,
		`create trigger touched before update of email on hubspot.contacts for each row when (new.id > 0) execute function api.touch()`,
		`create trigger never after insert on hubspot.contacts for each row execute function api.touch()`,
		`alter table hubspot.contacts disable trigger never`,
		`alter table hubspot.contacts replica identity full`, `alter table hubspot.deals set (fillfactor = 70)`,
		`alter table hubspot.contacts alter column email set storage external`,
		`alter table hubspot.contacts set (autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_enabled = false)`,
		`alter table hubspot.contacts alter column email set statistics 500, alter column age set (n_distinct = 5), alter column _extra set compression pglz`,
		`alter table hubspot.contacts alter column age set default 7, alter column _merged_into set default 0`, `alter table hubspot.deals alter column name set not null`,
		`comment on constraint grown on hubspot.contacts is 'grown-up'`, `comment on constraint once on hubspot.contacts is 'only'`,
		`comment on constraint contacts_pkey on hubspot.contacts is 'key'`, `comment on trigger touched on hubspot.contacts is 'touches'`,
		`alter index hubspot."By Mail" alter column 1 set statistics 300`, `alter index hubspot.once set (fillfactor = 60)`, `comment on index hubspot.once is 'once'`,
		`alter table hubspot.contacts cluster on contacts_id_email`,
		`create unique index deals_by on hubspot.deals (id)`, `alter table hubspot.deals replica identity using index deals_by`,
		`alter table hubspot.link_sets set unlogged`,
		`create view api.people with (security_invoker = true) as select c.*, d.name as deal from hubspot.contacts c join hubspot.deals d using (id)`,
		`create view api.adults as select id, email from api.people where age > 18`, `grant select on api.adults to anon`,
		`create view hubspot.linked as select l.* from hubspot.links l join hubspot.link_sets s on s.from_id = l.from_id`,
		`create table api.orders (id bigint primary key, contact bigint constraint orders_contact references hubspot.contacts on delete set null)`,
		`insert into api.orders values (1, 2)`,
		`alter table hubspot.deals add constraint deal_contact foreign key (id) references hubspot.contacts(id) deferrable`,
		`create publication mine for table hubspot.deals, hubspot.contacts (id, email, _seq) where (id > 0) with (publish = 'insert')`,
	} {
		r.exec(sql)
	}
}

func TestWhatIsOnTheTablesCarriesOver(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		t.Parallel()
		r := &rig{bundle: setupOn(t, url)}
		r.startNATS()
		r.applied0(r.logOfAll(30))
		r.dressed()
		before, state := r.belongings(), r.state()
		extra := r.value(`select string_agg(concat_ws(' ', id, note, "Score", twice), ';' order by id) from hubspot.contacts`)
		s := r.newTables()
		var during bool
		sink.AfterRebuildStep(s, func(phase string) {
			if phase == "comparing" && !during { // the owner does not stop either
				during = true
				r.exec(`create index late on hubspot.deals (name)`)
				r.exec(`update hubspot.contacts set note = 'late' where id = 5`)
			}
		})
		r.rebuild(s, sink.RebuildOptions{})
		before = strings.Replace(before, "index CREATE UNIQUE INDEX deals_pkey", "index CREATE INDEX late ON hubspot.deals USING btree (name)    \nindex CREATE UNIQUE INDEX deals_pkey", 1)
		r.wantLines(before, r.belongings())
		r.wantLines(state, r.state())
		r.want(strings.Replace(extra, "5 none", "5 late", 1), `select string_agg(concat_ws(' ', id, note, "Score", twice), ';' order by id) from hubspot.contacts`)
		r.want("30", `select count(*) from api.people`)
		r.want("0", `select count(*) from pg_class c, aclexplode(c.relacl) a where c.relnamespace = 'hubspot_rebuild'::regnamespace and c.relkind = 'r' and a.grantee <> c.relowner`)
		r.want("0", `select count(*) from pg_class where relnamespace = 'hubspot_rebuild'::regnamespace and relkind = 'r' and not relrowsecurity and relname not in ('schema_migrations', 'links')`)

		// And the way back, with what is new on the new tables.
		r.exec(`create view api.later as select id from hubspot.contacts`)
		r.exec(`grant select on hubspot.contacts to service_role`)
		r.exec(`update hubspot.contacts set note = 'later' where id = 6`)
		before = r.belongings()
		if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		r.wantLines(before, r.belongings())
		r.wantLines(state, r.state())
		r.want("later", `select note from hubspot.contacts where id = 6`)
		r.rebuild(s, sink.RebuildOptions{})
		r.wantLines(before, r.belongings())
	})
}

// applied0 applies the log once.
func (r *rig) applied0(last uint64) {
	r.t.Helper()
	if err := r.newTables().ApplyThrough(r.t.Context(), last); err != nil {
		r.t.Fatal(err)
	}
}

// newTables returns a sink that does not run.
func (r *rig) newTables() *sink.Sink {
	r.t.Helper()
	s, err := sink.New(r.t.Context(), sink.Config{Pool: r.pool, JetStream: r.js, Schema: schema, Logger: testLogger(r.t)})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// wantLines compares line by line.
func (r *rig) wantLines(want, got string) {
	r.t.Helper()
	lines := func(text string) map[string]bool {
		set := make(map[string]bool)
		for line := range strings.Lines(text) {
			set[strings.TrimSpace(line)] = true
		}
		return set
	}
	had, has := lines(want), lines(got)
	for line := range had {
		if !has[line] {
			r.t.Errorf("gone: %s", line)
		}
	}
	for line := range has {
		if !had[line] {
			r.t.Errorf("new: %s", line)
		}
	}
}

func TestARebuildRefusesWhatIsBuiltOnAnAlteredColumn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(3))
	r.exec(`alter table hubspot.contacts alter column age type integer; create view public.ages as select age from hubspot.contacts`)
	for _, o := range []sink.RebuildOptions{{}, {Force: true}} {
		_, err := r.newTables().Rebuild(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "view public.ages is built on column age") || !strings.Contains(err.Error(), `alter table "hubspot"."contacts" alter column age type`) {
			t.Errorf("force %v: %v", o.Force, err)
		}
	}
	r.want("null", `select to_regnamespace('hubspot_rebuild')`)
	r.exec(`drop view public.ages`)
	r.rebuild(r.newTables(), sink.RebuildOptions{})
	r.want("numeric", `select pg_typeof(age) from hubspot.contacts limit 1`)
}

func TestARebuildSaysWhatDoesNotCarryOverBeforeItBegins(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(10))
	r.exec(`create materialized view hubspot.summary as select count(*) from hubspot.contacts`)
	r.exec(`create function public.full_name(hubspot.contacts) returns text language sql as $$ select $1.email $$`)
	r.exec(`alter table hubspot.contacts add column number serial`)
	r.exec(`create rule loud as on update to hubspot.deals do also select 1`)
	r.exec(`create statistics hubspot.mine on id, email from hubspot.contacts`)
	r.exec(`alter table hubspot.contacts add column key text; update hubspot.contacts set key = id; alter table hubspot.contacts alter column key set not null`)
	r.exec(`create access method stored type table handler heap_tableam_handler; alter table hubspot.deals set access method stored`)
	r.exec(`create index broken on hubspot.deals (name); update pg_index set indisvalid = false where indexrelid = 'hubspot.broken'::regclass`)
	r.exec(`insert into pg_seclabel values ('hubspot.contacts'::regclass, 'pg_class'::regclass, 0, 'guard', 'secret')`) // no provider is to be had
	s := r.newTables()
	result, err := s.Rebuild(t.Context(), sink.RebuildOptions{})
	if !errors.Is(err, sink.ErrNotCarried) {
		t.Fatalf("not refused: %v", err)
	}
	lost := strings.Join(result.Lost, "\n")
	for _, what := range []string{"materialized view hubspot.summary", "full_name", "column number", "rule loud", "statistics object hubspot.mine",
		"column key", "index hubspot.broken is not valid", "access method stored of hubspot.deals", "security label of guard (secret) on table hubspot.contacts"} {
		if !strings.Contains(lost, what) {
			t.Errorf("%s is not among %q", what, lost)
		}
	}
	r.want("null", `select to_regnamespace('hubspot_rebuild')`)
	plan, err := s.PlanRebuild(t.Context(), sink.RebuildOptions{})
	if err != nil || strings.Join(plan.Lost, "\n") != lost || plan.Messages == 0 || len(plan.Objects) != 2 {
		t.Errorf("plan %+v, %v", plan, err)
	}
	r.want("null", `select to_regnamespace('hubspot_rebuild')`)

	r.rebuild(s, sink.RebuildOptions{Force: true})
	r.want("10", `select count(*) from hubspot.contacts`)
	if _, err := s.DropOld(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "hubspot.summary") {
		t.Errorf("dropped with what depends on it: %v", err)
	}
	r.exec(`drop materialized view hubspot.summary; drop function public.full_name`)
	if _, err := s.DropOld(t.Context(), ""); err != nil {
		t.Error(err)
	}
	r.want("null", `select to_regnamespace('hubspot_rebuild')`)
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); !errors.Is(err, sink.ErrNoOld) {
		t.Errorf("rolled back to nothing: %v", err)
	}
}
