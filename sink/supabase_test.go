package sink_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// supabaseRole prepares a role for the sink as a person with nothing but Supabase's SQL editor does, and returns its URL.
func supabaseRole(t testing.TB, s *pgtest.Supabase) (role, url string) {
	t.Helper()
	role = s.Role("sink")
	for range 2 { // it may be run again
		s.Console(migrations.RoleSQL(role, "secret", 4, true) + migrations.OwnerSQL(schema, role))
	}
	return role, s.As(role, "secret")
}

func TestTheDocumentedRoleSufficesAndReachesNothingElse(t *testing.T) {
	t.Parallel()
	pgtest.EachSupabase(t, func(t *testing.T, s *pgtest.Supabase) {
		role, own := supabaseRole(t, s)
		r := &rig{bundle: setupOn(t, own)}
		r.startNATS()
		last := r.publish(definitions(t, "contacts", 0, "email", "string", "age", "number"), event("contacts", 1, 0, props{"email": "ann@x", "age": "30"}),
			event("p_cars", 1, 0, props{"plate": "B"}))
		run := r.start()
		r.applied(last)
		last = r.publish(definitions(t, "contacts", 0, "email", "string", "age", "string", "late", "string"), event("contacts", 2, 0, props{"late": "l"}),
			event("contacts", 1, 0, nil, op(schemas.OpPurged)))
		r.applied(last)
		r.exec(`update hubspot.contacts set late = 'wrong' where id = 2`)
		reports, err := run.Verify(t.Context(), sink.VerifyOptions{Repair: true})
		if err != nil || len(reports) == 0 {
			t.Errorf("verify: %v", err)
		}
		r.want("l", `select late from hubspot.contacts where id = 2`)
		r.expose(sink.Exposure{Object: "contacts"}) // its own schema, since it may create some
		r.wantSupabase("2", "authenticated", `select id from hubspot_api.contacts`, s)

		r.want("f f f f f", `select concat_ws(' ', rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication) from pg_roles where rolname = current_user`)
		for _, query := range []string{
			`select * from auth.users`, `select * from storage.objects`, `select * from public.profiles`, `create table public.mine (x int)`, `create role x`,
			`create database x`, `alter publication supabase_realtime add table hubspot.contacts`, `set role service_role`, `set role ` + s.AdminRole,
		} {
			if _, err := r.pool.Exec(t.Context(), query); sqlState(err) != "42501" {
				t.Errorf("%s may run %s: error %v", role, query, err)
			}
		}
		// Realtime is the administrator's, whom the role's tables obey.
		_, err = r.exposer().Expose(t.Context(), sink.Exposure{Object: "contacts", Realtime: true})
		if !errors.Is(err, sink.ErrExposure) || !strings.Contains(err.Error(), "run this as an administrator") {
			t.Errorf("error %v", err)
		}
		admin := &sink.Exposer{Pool: openPool(t, s.Admin), Schema: schema}
		if _, err := admin.Expose(t.Context(), sink.Exposure{Object: "contacts", Realtime: true}, sink.Exposure{Object: "p_cars"}); err != nil {
			t.Fatal(err)
		}
		r.applied(r.publish(definitions(t, "contacts", 0, "email", "string", "age", "string", "late", "string", "later", "string"), event("contacts", 3, 0, props{"later": "x"})))
		r.wantSupabase("3 x", "authenticated", `select id, later from hubspot_api.contacts where later is not null`, s) // the sink kept the administrator's view up to date
		r.want(role, `select string_agg(distinct pg_get_userbyid(relowner), ' ') from pg_class where relnamespace::regnamespace::text in ('hubspot', 'hubspot_api')`)
		if _, err := admin.Remove(t.Context(), "contacts", "p_cars"); err != nil {
			t.Fatal(err)
		}
	})
}

// wantSupabase is wantAs for a role that the sink's cannot become.
func (b *bundle) wantSupabase(want, role, query string, s *pgtest.Supabase) {
	b.t.Helper()
	admin := &bundle{t: b.t, pool: openPool(b.t, s.Superuser)}
	admin.wantAs(want, role, query)
}

func TestAReaderReadsAllRecordsAndChangesNothing(t *testing.T) {
	t.Parallel()
	pgtest.EachSupabase(t, func(t *testing.T, s *pgtest.Supabase) {
		_, own := supabaseRole(t, s)
		b := setupOn(t, own)
		b.apply(definitions(t, "contacts", 1, "email", "string"), event("contacts", 1, 2, props{"email": "ann@x"}), event("contacts", 2, 3, props{"email": "old@x"}, op(schemas.OpArchived)))
		role := s.Role("reader")
		s.Console(migrations.RoleSQL(role, "secret", 2, false))
		for range 2 {
			s.Console(sink.ReaderSQL(schema, role))
		}
		b.apply(definitions(t, "p_cars", 4, "plate", "string"), event("p_cars", 1, 5, props{"plate": "B"})) // a table that came later
		reader := &bundle{t: t, pool: openPool(t, s.As(role, "secret"))}
		reader.want("ann@x old@x", `select string_agg(email, ' ' order by id) from hubspot.contacts`)
		reader.want("B", `select plate from hubspot.p_cars`)
		for _, table := range []string{"objects", "properties", "links", "link_sets", "pipelines", "pipeline_stages", "cursors", "sync_logs"} {
			reader.want("true", `select count(*) >= 0 from hubspot.`+table)
		}
		for _, query := range []string{
			`update hubspot.contacts set email = 'x'`, `delete from hubspot.p_cars`, `insert into hubspot.links values ('a', 1, 'b', 2, 3, 'c')`,
			`select * from hubspot.dead_letters`, `select * from hubspot.exposed`, `create table hubspot.mine (x int)`, `select * from auth.users`,
		} {
			if _, err := reader.pool.Exec(t.Context(), query); sqlState(err) != "42501" {
				t.Errorf("a reader may run %s: error %v", query, err)
			}
		}
		for _, other := range []string{"anon", "authenticated"} {
			b.wantSupabase("denied", other, `select email from hubspot.contacts`, s)
		}
		// It is taken back in the usual way, and a table that comes then does not mind.
		s.Exec(`drop owned by ` + role)
		if _, err := reader.pool.Exec(t.Context(), `select * from hubspot.contacts`); sqlState(err) != "42501" {
			t.Errorf("error %v", err)
		}
		reader.pool.Close()
		s.Exec(`drop role ` + role)
		b.apply(event("p_bikes", 1, 6, props{"plate": "C"}))
		b.want("0", `select count(*) from pg_policy where polrelid = 'hubspot.p_bikes'::regclass`)
	})
}

// TestOneConnectionSuffices would stand still if anything that has a connection waited for another one.
func TestOneConnectionSuffices(t *testing.T) {
	t.Parallel()
	s := pgtest.NewSupabase(t)
	role, own := supabaseRole(t, s)
	s.Exec(fmt.Sprintf(`alter role %s connection limit 1`, role))
	u, err := url.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("pool_max_conns", "1")
	u.RawQuery = query.Encode()
	r := &rig{bundle: setupOn(t, u.String())}
	r.startNATS()
	run := r.start(func(c *sink.Config) { c.BatchRows = 150 })
	r.workOut(run)
	if n := r.pool.Stat().MaxConns(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// workOut has a running sink do everything it does: rows, changes of columns while rows are written, links, a deletion for
// privacy, a comparison with repair.
func (r *rig) workOut(run *running) {
	r.t.Helper()
	var last uint64
	for i := range 4 {
		r.publish(definitions(r.t, "contacts", 0, "email", "string", fmt.Sprint("new", i), "string", "late", []string{"string", "number"}[i%2]))
		for id := range 300 {
			last = r.publish(event("contacts", int64(id), 0, props{"email": fmt.Sprint("v", i), "late": "7"}))
		}
	}
	last = max(last, r.publish(event("contacts", 299, 0, nil, op(schemas.OpPurged)), definitions(r.t, "contacts", 0, "email", "string", "late", "string")))
	r.applied(last)
	eventually(r.t, "columns", func() bool {
		return r.value(`select not exists (select from hubspot.objects where reshape or refill) and not exists (select from hubspot.properties where fill or next_name is not null)`) == "true"
	})
	r.exec(`delete from hubspot.contacts where id < 50`)
	r.exec(`update hubspot.contacts set email = 'wrong' where id = 60`)
	if _, err := run.Verify(r.t.Context(), sink.VerifyOptions{Repair: true}); err != nil {
		r.t.Error(err)
	}
	r.want("299", `select count(*) from hubspot.contacts where email = 'v3' and late = '7'`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
}

// TestTheSinkWorksThroughEveryPooler runs the sink's work through PgBouncer, as a user named role.project, by TLS.
func TestTheSinkWorksThroughEveryPooler(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]pgtest.PoolerOptions{
		"transaction": {TLS: true},
		"session":     {TLS: true, Session: true, Size: 5, Extra: []string{"server_reset_query = discard all", "server_reset_query_always = 1"}},
		"one server":  {TLS: true, Size: 1, Extra: []string{"query_wait_timeout = 30"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pgtest.NewSupabase(t)
			_, own := supabaseRole(t, s)
			pooler := pgtest.StartPooler(t, own, o)
			r := &rig{bundle: setupOn(t, pooler.URL("sslmode=verify-full&sslrootcert="+pooler.Certificate+"&default_query_exec_mode=cache_describe"))}
			r.startNATS()
			r.workOut(r.start(func(c *sink.Config) { c.BatchRows = 150 }))
			r.expose(sink.Exposure{Object: "contacts"})
			r.want("299", `select count(*) from hubspot_api.contacts`)
			if _, err := r.exposer().Remove(t.Context(), "contacts"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAPoolerThatRestartsOnlyDelays(t *testing.T) {
	t.Parallel()
	s := pgtest.NewSupabase(t)
	_, own := supabaseRole(t, s)
	pooler := pgtest.StartPooler(t, own, pgtest.PoolerOptions{})
	r := &rig{bundle: setupOn(t, pooler.URL("default_query_exec_mode=cache_describe&sslmode=disable"))}
	r.startNATS()
	r.start(func(c *sink.Config) { c.BatchRows = 100 })
	var last uint64
	for i := range 3 {
		for id := range 400 {
			last = r.publish(event("contacts", int64(id), 0, props{"email": fmt.Sprint("v", i)}))
		}
		pooler.Kill()
		pooler.Start(t)
	}
	r.applied(last)
	direct := &bundle{t: t, pool: openPool(t, own)}
	direct.want("400", `select count(*) from hubspot.contacts where _extra ->> 'email' = 'v2'`)
}

func TestSettingsThatPoolersRefuseAreLeftOut(t *testing.T) {
	t.Parallel()
	s := pgtest.NewSupabase(t)
	_, own := supabaseRole(t, s)
	pooler := pgtest.StartPooler(t, own, pgtest.PoolerOptions{})
	const settings = "sslmode=disable&statement_timeout=5s&search_path=hubspot&options=-c%20lock_timeout%3D1s"
	if _, err := sink.OpenPool(t.Context(), pooler.URL(settings)); err == nil || !strings.Contains(err.Error(), "default_query_exec_mode=cache_describe") {
		t.Errorf("error %v does not say what helps", err)
	}
	pool, err := sink.OpenPool(t.Context(), pooler.URL(settings+"&default_query_exec_mode=cache_describe"))
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
}

func TestErrorsOfConnectingSayWhatHelps(t *testing.T) {
	t.Parallel()
	s := pgtest.NewSupabase(t)
	role, own := supabaseRole(t, s)
	pooler := pgtest.StartPooler(t, own, pgtest.PoolerOptions{TLS: true})
	s.Exec(`alter role ` + role + ` connection limit 0`)
	for database, want := range map[string]string{
		pooler.URL("sslmode=verify-full"): "sslrootcert=FILE",
		pooler.URL("sslmode=disable"):     "sslmode=require",
		strings.Replace(pooler.URL("sslmode=verify-full&sslrootcert="+pooler.Certificate), "localhost", "127.0.0.1", 1): "sslmode=verify-ca",
		strings.Replace(pooler.URL("sslmode=require"), ":pooler-", ":wrong-", 1):                                        "check user and password",
		own: "pool_max_conns=2",
		strings.Replace(own, "sslmode=disable", "sslmode=require", 1): "sslmode=disable",
		s.As(role, "wrong"): "check user and password",
	} {
		pool, err := sink.OpenPool(t.Context(), database)
		if err == nil {
			pool.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", database, err, want)
		}
	}
}

// TestARolesStatementTimeoutStopsNoLongWork makes statements take longer than the role's timeout, by a lock that somebody
// has on the table they need.
func TestARolesStatementTimeoutStopsNoLongWork(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"contacts", "erased", "links", "link_sets"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			s := pgtest.NewSupabase(t)
			role, own := supabaseRole(t, s)
			s.Exec(`alter role ` + role + ` set statement_timeout = '1s'; alter role ` + role + ` set lock_timeout = '20s'`)
			r := &rig{bundle: setupOn(t, own)}
			r.startNATS()
			run := r.start()
			r.applied(r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 0, props{"email": "ann@x"})))
			r.exec(`insert into hubspot.links values ('contacts', 7, 'deals', 1, 1, 'x', 'x')`) // to look at, too
			lock, err := openPool(t, s.Superuser).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // a no-op, unless the test failed
			if _, err := lock.Exec(t.Context(), `lock table hubspot.`+table+` in access exclusive mode`); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := run.Verify(t.Context(), sink.VerifyOptions{Repair: true})
				done <- err
			}()
			admin := &bundle{t: t, pool: openPool(t, s.Superuser)}
			eventually(t, "a statement that takes long", func() bool {
				select {
				case err := <-done:
					t.Fatalf("verify ended: %v", err)
				default:
				}
				return admin.value(`select count(*) > 0 from pg_stat_activity where usename = '`+role+`' and wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '1200 ms'`) == "true"
			})
			if err := lock.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
