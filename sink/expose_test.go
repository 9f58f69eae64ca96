package sink_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// exposedBundle has three contacts, one of them archived and one purged, and a deal.
func exposedBundle(t *testing.T, url string) *bundle {
	t.Helper()
	b := setupOn(t, url)
	b.apply(
		definitions(t, "contacts", 1, "email", "string", "age", "number"), definitions(t, "deals", 2, "amount", "number"),
		event("contacts", 1, 3, props{"email": "ann@x", "age": "30", "secret": "s"}), event("contacts", 2, 4, props{"email": "bob@x", "age": "40"}),
		event("contacts", 3, 5, props{"email": "old@x"}, op(schemas.OpArchived)), event("contacts", 4, 6, nil, op(schemas.OpPurged)),
		event("deals", 1, 7, props{"amount": "5"}),
	)
	return b
}

func (b *bundle) exposer() *sink.Exposer { return &sink.Exposer{Pool: b.pool, Schema: schema} }

func (b *bundle) expose(exposures ...sink.Exposure) {
	b.t.Helper()
	if _, err := b.exposer().Expose(b.t.Context(), exposures...); err != nil {
		b.t.Fatal(err)
	}
}

// as runs a query as PostgREST does: with the role and the claims of a request, for one transaction. It returns all values
// as text, or "denied".
func (b *bundle) as(role, claims, query string) string {
	b.t.Helper()
	var all []string
	err := pgx.BeginFunc(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(b.t.Context(), `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`, role, claims); err != nil {
			return err
		}
		rows, err := tx.Query(b.t.Context(), query, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		for rows.Next() {
			var values []string
			for _, v := range rows.RawValues() { // as text, by the simple protocol
				values = append(values, string(v))
			}
			all = append(all, strings.Join(values, " "))
		}
		return rows.Err()
	})
	if code := sqlState(err); code == "42501" {
		return "denied"
	} else if err != nil {
		b.t.Fatalf("%s: %s: %v", role, query, err)
	}
	return strings.Join(all, ", ")
}

func (b *bundle) wantAs(want, role, query string) {
	b.t.Helper()
	if got := b.as(role, `{}`, query); got != want {
		b.t.Errorf("%s sees %q by %s, want %q", role, got, query, want)
	}
}

func TestExposeShowsChosenObjectsToChosenRolesOnly(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := exposedBundle(t, url)
		for _, role := range []string{"anon", "authenticated", "service_role"} {
			b.wantAs("denied", role, `select email from hubspot.contacts`)
		}
		b.expose(sink.Exposure{Object: "contacts"})
		b.want("id,age,email", `select string_agg(attname, ',' order by attnum) from pg_attribute where attrelid = 'hubspot_api.contacts'::regclass and attnum > 0`)
		b.wantAs("1 ann@x, 2 bob@x", "authenticated", `select id, email from hubspot_api.contacts order by id`)
		for _, query := range []string{
			`select count(*) from hubspot.contacts`, `select email from hubspot.contacts`, `select count(*) from hubspot.deals`,
			`update hubspot_api.contacts set email = 'x'`, `delete from hubspot_api.contacts`, `insert into hubspot_api.contacts (id) values (9)`,
			`create table hubspot_api.mine (x int)`, `select count(*) from hubspot.sync_logs`, `select count(*) from hubspot.dead_letters`,
		} {
			b.wantAs("denied", "authenticated", query)
		}
		for _, role := range []string{"anon", "service_role"} {
			b.wantAs("denied", role, `select email from hubspot_api.contacts`)
		}
		// Even inside the schema of the tables only the columns of the view can be read, and only rows of the policy.
		b.exec(`grant usage on schema hubspot to authenticated`)
		b.wantAs("denied", "authenticated", `select _extra from hubspot.contacts`)
		b.wantAs("1, 2", "authenticated", `select id from hubspot.contacts order by id`)
		b.wantAs("denied", "authenticated", `select amount from hubspot.deals`)
		b.exec(`revoke usage on schema hubspot from authenticated`)

		b.expose(sink.Exposure{Object: "contacts", Roles: []string{"anon", "authenticated"}, Columns: []string{"age"}, Archived: true})
		b.wantAs("1 30 f, 2 40 f, 3  t", "anon", `select * from hubspot_api.contacts order by id`)
		b.expose(sink.Exposure{Object: "contacts", System: true, Extra: true}, sink.Exposure{Object: "pipelines"}, sink.Exposure{Object: "links"})
		b.want("id,age,email,_seq,_merged_into,_created_at,_updated_at,_archived_at,_synced_at,_archived,_extra",
			`select string_agg(attname, ',' order by attnum) from pg_attribute where attrelid = 'hubspot_api.contacts'::regclass and attnum > 0`)
		b.wantAs(`1 {"secret": "s"}`, "authenticated", `select id, _extra from hubspot_api.contacts where _extra is not null`)
		b.wantAs("denied", "anon", `select id from hubspot_api.contacts`)
		b.wantAs("0", "authenticated", `select count(*) from hubspot_api.links`)
	})
}

// TestANotedPolicyIsReadAgainBeforeItIsMade notes a condition that no expose of today would take, and has the table lose its
// policy: one that was noted must not become one that shows what is purged.
func TestANotedPolicyIsReadAgainBeforeItIsMade(t *testing.T) {
	t.Parallel()
	b := exposedBundle(t, pgtest.NewDatabase(t))
	b.expose(sink.Exposure{Object: "contacts"})
	b.exec(`drop policy hubtail_expose on hubspot.contacts`)
	b.exec(`update hubspot.exposed set policy = 'true) or (true' where object = 'contacts'`)
	b.apply(definitions(t, "contacts", 8, "email", "string", "age", "number", "city", "string"))
	b.want("0", `select count(*) from pg_policy where polrelid = 'hubspot.contacts'::regclass`)
	b.wantAs("", "authenticated", `select id from hubspot_api.contacts`)
	b.exec(`update hubspot.exposed set policy = 'id < 2' where object = 'contacts'`)
	b.apply(definitions(t, "contacts", 9, "email", "string", "age", "number", "city", "string", "zip", "string"))
	b.wantAs("1", "authenticated", `select id from hubspot_api.contacts`)
	b.want("id,age,email,city,zip", `select string_agg(attname, ',' order by attnum) from pg_attribute where attrelid = 'hubspot_api.contacts'::regclass and attnum > 0`)
}

func TestPoliciesOfTheOwnerDecideWhatIsExposed(t *testing.T) {
	t.Parallel()
	b := exposedBundle(t, pgtest.NewDatabase(t))
	const own, mail = `email = current_setting('request.jwt.claims', true)::json ->> 'email'`, `{"email": "bob@x"}`
	// None of hubtail's: nothing is seen until the owner's own is there.
	b.expose(sink.Exposure{Object: "contacts", Policy: sink.PolicyNone})
	b.wantAs("", "authenticated", `select id from hubspot_api.contacts`)
	b.exec(`create policy mine on hubspot.contacts for select to authenticated using (` + own + `)`)
	for range 2 {
		if got := b.as("authenticated", mail, `select id, email from hubspot_api.contacts`); got != "2 bob@x" {
			t.Errorf("bob sees %q", got)
		}
		b.wantAs("", "authenticated", `select id from hubspot_api.contacts`)
		// The same as a condition of the exposure.
		b.exec(`drop policy if exists mine on hubspot.contacts`)
		b.expose(sink.Exposure{Object: "contacts", Policy: own + " -- whose it is"})
	}
	// A role that passes row level security sees all live rows, since the view hides the others.
	b.expose(sink.Exposure{Object: "contacts", Roles: []string{"service_role"}})
	b.wantAs("1, 2", "service_role", `select id from hubspot_api.contacts order by id`)
}

func TestExposedViewsFollowTheTable(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := exposedBundle(t, url)
		b.expose(sink.Exposure{Object: "contacts", Archived: true}, sink.Exposure{Object: "deals", Columns: []string{"amount"}})
		b.reshape(definitions(t, "contacts", 20, "email", "string", "age", "number", "secret", "string"), definitions(t, "deals", 21, "amount", "number", "stage", "string"))
		b.wantAs("1 s", "authenticated", `select id, secret from hubspot_api.contacts where secret is not null`)
		b.wantAs("1 5", "authenticated", `select * from hubspot_api.deals`)
		// A column below the view changes its type, which Postgres refuses while a view uses it.
		b.reshape(definitions(t, "contacts", 22, "email", "string", "age", "string", "secret", "string"))
		b.want("text", `select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'age'`)
		b.wantAs("1 30 text", "authenticated", `select id, age, pg_typeof(age) from hubspot_api.contacts where id = 1`)
		b.wantAs("denied", "anon", `select id from hubspot_api.contacts`)
		// A view of the owner's on top of it keeps the type, as any view does, and nothing breaks.
		b.exec(`create view public.mine as select secret from hubspot_api.contacts`)
		b.reshape(definitions(t, "contacts", 23, "email", "string", "age", "string", "secret", "number", "further", "string"))
		b.want("text", `select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'secret'`)
		b.wantAs("0", "authenticated", `select count(further) from hubspot_api.contacts`)
		// A table that was dropped with its view and is made again is exposed again.
		b.exec(`drop table hubspot.contacts cascade`)
		b.exec(`update hubspot.objects set definitions_seq = 0`)
		b.applier = b.newApplier()
		b.reshape(definitions(t, "contacts", 24, "email", "string"))
		b.apply(event("contacts", 9, 25, props{"email": "new@x"}))
		b.wantAs("9 new@x", "authenticated", `select id, email from hubspot_api.contacts`)
	})
}

// trace is everything in the catalogue that an exposure might leave behind.
const trace = `select string_agg(what, E'\n' order by what) from (
	select concat('schema ', nspname, ' ', a.grantee::regrole, a.privilege_type) from pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a where nspname !~ '^pg_'
	union all select concat('relation ', c.oid::regclass, c.relkind, c.relrowsecurity, c.relreplident, a.grantee, a.privilege_type) from pg_class c, aclexplode(coalesce(relacl, acldefault('r', relowner))) a
		where relnamespace::regnamespace::text ~ '^(hubspot|public)' and relkind in ('r', 'v')
	union all select concat('column ', attrelid::regclass, attname, attacl) from pg_attribute where attacl is not null and attrelid::regclass::text ~ '^hubspot'
	union all select concat('policy ', polname, polrelid::regclass) from pg_policy
	union all select concat('published ', prrelid::regclass) from pg_publication_rel
	union all select concat('exposed ', object) from hubspot.exposed) as t(what)`

func TestWhatIsNoLongerExposedLeavesNoTrace(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := exposedBundle(t, url)
		b.exec(`alter table hubspot.deals replica identity nothing`)
		before := b.value(trace)
		dry := &sink.Exposer{Pool: b.pool, Schema: schema, DryRun: true}
		exposures := []sink.Exposure{
			{Object: "contacts", Realtime: true}, {Object: "deals", Realtime: true, Roles: []string{"anon", "authenticated"}}, {Object: "links"},
			{Object: "pipelines", APISchema: "public", Roles: []string{"anon"}},
		}
		statements, err := dry.Expose(t.Context(), exposures...)
		if err != nil || !strings.Contains(strings.Join(statements, "\n"), "security_invoker = true") || b.value(trace) != before {
			t.Errorf("a dry run: %q, error %v", statements, err)
		}
		for _, order := range [][]string{{"contacts", "deals", "links", "pipelines"}, {"pipelines", "links", "deals", "contacts"}} {
			b.expose(exposures...)
			if b.value(trace) == before {
				t.Fatal("nothing was exposed, or a trace shows nothing")
			}
			b.want("4", `select count(*) from hubspot.exposed`)
			for i, object := range order {
				if _, err := b.exposer().Remove(t.Context(), object); err != nil {
					t.Fatal(err)
				}
				left := "authenticated"
				if i < 3 && order[i+1] != "pipelines" {
					b.wantAs("0", left, `select count(*) from hubspot_api.`+order[i+1]+` where false`)
				}
			}
			if after := b.value(trace); after != before {
				t.Errorf("after removing %v:\n%s", order, differentLines(before, after))
			}
		}
		if statements, err := b.exposer().Remove(t.Context(), "contacts"); err != nil || len(statements) != 0 {
			t.Errorf("removing what is not there: %q, error %v", statements, err)
		}
	})
}

func TestExposeInPublicTakesBackWhatSupabaseGrantsByDefault(t *testing.T) {
	t.Parallel()
	b := exposedBundle(t, pgtest.NewDatabase(t))
	b.exec(`create view public.witness as select 1 as x`)
	b.wantAs("1", "anon", `select x from public.witness`) // the default grants are there
	b.expose(sink.Exposure{Object: "contacts", APISchema: "public"})
	b.wantAs("1, 2", "authenticated", `select id from public.contacts order by id`)
	for _, role := range []string{"anon", "service_role"} {
		b.wantAs("denied", role, `select id from public.contacts`)
	}
	b.wantAs("denied", "authenticated", `update public.contacts set id = 1`)
}

func TestExposeSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	b := exposedBundle(t, pgtest.NewDatabase(t))
	b.exec(`create schema taken; create table taken.contacts (x int)`)
	for want, e := range map[string]sink.Exposure{
		"there are contacts, deals, links": {Object: "cars"},
		`no property "phone"`:              {Object: "contacts", Columns: []string{"phone"}},
		"no role nobody_here; --to":        {Object: "contacts", Roles: []string{"nobody_here"}},
		"another one than that":            {Object: "contacts", APISchema: schema},
		"is not hubtail's":                 {Object: "contacts", APISchema: "taken"},
		"columns can be chosen":            {Object: "links", Columns: []string{"from_id"}},
		"auth is Supabase's own":           {Object: "contacts", APISchema: "auth"},
		"supabase_x is Supabase's own":     {Object: "contacts", APISchema: "supabase_x"},
		"closes a parenthesis":             {Object: "contacts", Policy: "false) or (true"},
		"does not close a parenthesis":     {Object: "contacts", Policy: "(true"},
		"comment that does not end":        {Object: "contacts", Policy: "true /* /* */"},
		"quote that does not end":          {Object: "contacts", Policy: "email = ''')"},
		"without ;":                        {Object: "contacts", Policy: "true; select 1"},
		"outside quotes":                   {Object: "contacts", Policy: "email = $$'$$) or (true or email = $$'$$"},
		"E'...'":                           {Object: "contacts", Policy: `email = E'\'') or (true or email = ' '`},
	} {
		if _, err := b.exposer().Expose(t.Context(), e); !errors.Is(err, sink.ErrExposure) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %s", e, err, want)
		}
	}
	b.expose(sink.Exposure{Object: "contacts", Policy: `("email" in ('a)''(', '\.$;') /* ) /* ( */ ' */ or age > 30) -- )`})
	b.wantAs("2", "authenticated", `select id from hubspot_api.contacts`)
	b.expose(sink.Exposure{Object: "contacts"})
	b.exec(`create view public.mine as select id from hubspot_api.contacts`)
	if _, err := b.exposer().Remove(t.Context(), "contacts"); err == nil || !strings.Contains(err.Error(), "mine") {
		t.Errorf("error %v does not name the view in the way", err)
	}
}

// TestRealtimeSeesWhatTheRoleMaySee looks at a changed row as Realtime does for a subscriber: by key, in the table itself,
// with the subscriber's role and claims, and at the columns the role may read.
func TestRealtimeSeesWhatTheRoleMaySee(t *testing.T) {
	t.Parallel()
	b := exposedBundle(t, pgtest.NewDatabase(t))
	b.exec(`alter table hubspot.contacts replica identity nothing`)
	b.expose(sink.Exposure{Object: "contacts", Realtime: true})
	b.want("contacts", `select string_agg(tablename, ',') from pg_publication_tables where pubname = 'supabase_realtime'`)
	b.apply(event("contacts", 2, 30, props{"email": "bobby@x"}), event("contacts", 1, 31, props{"email": "ann@x"}, op(schemas.OpArchived))) // an update of a published table
	b.wantAs("1 ann@x, 2 bobby@x", "authenticated", `select id, email from hubspot.contacts where id < 3 order by id`)
	b.wantAs("", "authenticated", `select id from hubspot.contacts where id = 4`) // purged
	b.wantAs("denied", "authenticated", `select _extra from hubspot.contacts where id = 1`)
	b.wantAs("denied", "authenticated", `select id from hubspot.deals`)
	b.wantAs("denied", "anon", `select id from hubspot.contacts`)
	b.wantAs("2", "authenticated", `select id from hubspot_api.contacts`)
	// Supabase makes the publication; elsewhere it may be missing.
	b.exec(`drop publication supabase_realtime`)
	b.expose(sink.Exposure{Object: "contacts", Realtime: true})
	b.want("contacts", `select string_agg(tablename, ',') from pg_publication_tables where pubname = 'supabase_realtime'`)
}

// differentLines returns what one of two texts has alone.
func differentLines(before, after string) (different string) {
	for _, side := range [][3]string{{"- ", before, after}, {"+ ", after, before}} {
		for _, line := range strings.Split(side[1], "\n") {
			if !slices.Contains(strings.Split(side[2], "\n"), line) {
				different += side[0] + line + "\n"
			}
		}
	}
	return different
}

func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// reshape applies definitions and waits until the tables have the columns.
func (b *bundle) reshape(messages ...sink.Message) {
	b.t.Helper()
	b.apply(messages...)
}
