package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/pgtest"
)

// newSupabaseStack is a stack whose database is a Supabase project. Processes connect as the role that the guide makes.
func newSupabaseStack(t *testing.T) (s *stack, project *pgtest.Supabase, role string) {
	t.Helper()
	s = newStack(t, smallPortal())
	project = pgtest.NewSupabase(t)
	role = project.Role("sink")
	s.database = project.Admin
	for range 2 { // it may be run again
		sql := s.must([]string{"DATABASE_URL="}, "migrate", "--owner", role, "--print").stdout
		project.Console(sql)
		if s.database == project.Admin {
			s.database = project.As(role, regexp.MustCompile(`password %L [^,]+, '[^']+', '([^']+)'`).FindStringSubmatch(sql)[1])
		}
	}
	return s, project, role
}

// TestTheSupabaseGuideWorks runs every block of docs/supabase.md that is marked sql, as the administrator, or sh, and then the
// statements in its sentences and tables.
func TestTheSupabaseGuideWorks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/supabase.md")
	if err != nil {
		t.Fatal(err)
	}
	s, project, role := newSupabaseStack(t)
	reader := project.Role("reader")
	names := strings.NewReplacer("hubtail_sink", role, "bi_reader", reader)
	printed := regexp.MustCompile("(?m)^    hubtail (migrate --reader .* --print)$|(?s)```(sql|sh)\n(.*?)```")
	ran := map[string]int{}
	for _, block := range printed.FindAllStringSubmatch(string(text), -1) {
		switch body := names.Replace(block[3]); {
		case block[1] != "":
			project.Console(s.must(nil, strings.Fields(names.Replace(block[1]))...).stdout)
		case block[2] == "sql":
			ran["sql"]++
			project.Console(body)
		default:
			for _, line := range strings.Split(strings.TrimSpace(body), "\n") {
				ran["sh"]++
				args := shellWords(strings.ReplaceAll(line, "$ADMIN_URL", project.Admin))
				if args[0] != "hubtail" {
					t.Fatalf("%s is not run", line)
				}
				s.must(nil, args[1:]...)
			}
		}
	}
	if ran["sql"] < 6 || ran["sh"] < 8 {
		t.Errorf("too few blocks are run: %v", ran)
	}
	var left struct{ Exposed []struct{ Object string } }
	must(t, json.Unmarshal([]byte(s.must(nil, "expose", "--json").stdout), &left))
	if len(left.Exposed) != 1 || left.Exposed[0].Object != "deals" {
		t.Errorf("in the end %+v is exposed", left.Exposed)
	}
	inline := 0
	for _, code := range regexp.MustCompile("`((?:alter|grant|revoke) [^`]+)`").FindAllStringSubmatch(string(text), -1) {
		inline++
		project.Console(names.Replace(code[1]))
	}
	if inline < 3 {
		t.Errorf("%d statements stand in sentences, that is too few to be true", inline)
	}
	s.must(nil, "expose", "--to", "service_role", "contacts")
}

// shellWords splits a line at spaces outside of double quotes.
func shellWords(line string) (words []string) {
	for _, w := range regexp.MustCompile(`(?:[^\s"]|"[^"]*")+`).FindAllString(line, -1) {
		words = append(words, strings.ReplaceAll(w, `"`, ""))
	}
	return words
}

// TestEveryCommandWorksThroughATransactionPooler runs the commands that use the database as the documented role, by TLS,
// through PgBouncer with two server connections.
func TestEveryCommandWorksThroughATransactionPooler(t *testing.T) {
	t.Parallel()
	s, _, _ := newSupabaseStack(t)
	pooler := pgtest.StartPooler(t, s.database, pgtest.PoolerOptions{TLS: true, Size: 2})
	direct := s.database
	s.database = pooler.URL("sslmode=require&default_query_exec_mode=cache_describe")
	s.must(nil, "migrate")
	s.must(nil, "backfill")
	s.must(nil, "sync")
	s.must(nil, "verify", "--repair")
	s.must(nil, "expose", "contacts,links")
	s.must(nil, "expose", "--remove", "contacts")
	s.database = direct
	conn := s.connect()
	id := queryRows(t, conn, `select id::text as id from hubspot.contacts where not _archived limit 1`)[0]["id"].(string)
	s.database = pooler.URL("sslmode=require&default_query_exec_mode=cache_describe")
	s.must(nil, "erase", "--yes", "contacts", id)
	if r := s.run(nil, "status"); r.code != exitDone && r.code != exitUnhealthy || !strings.Contains(r.stdout, "contacts") {
		t.Errorf("status: %+v", r)
	}
	s.database = direct
	if rows := queryRows(t, conn, `select count(*) as n from hubspot.contacts where _purged and id = `+id); rows[0]["n"] != int64(1) {
		t.Errorf("erased: %v", rows)
	}
}

func TestExposePrintsListsAndRemoves(t *testing.T) {
	t.Parallel()
	s, project, role := newSupabaseStack(t)
	s.must(nil, "backfill", "deals")
	if r := s.must(nil, "expose"); r.stdout != "nothing is exposed\n" {
		t.Errorf("%+v", r)
	}
	sql := s.must(nil, "expose", "--print", "--policy", "amount > 0", "deals").stdout
	if r := s.must(nil, "expose"); r.stdout != "nothing is exposed\n" {
		t.Errorf("--print exposed: %+v", r)
	}
	project.Console(sql) // as from the SQL editor
	r := s.must(nil, "expose")
	for _, want := range []string{"deals", `"hubspot_api"."deals"`, "authenticated", "all properties", "amount > 0"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%s is not in\n%s", want, r.stdout)
		}
	}
	if r := s.must(nil, "expose", "--remove", "deals"); !strings.Contains(r.stdout, "nothing is exposed") {
		t.Errorf("%+v", r)
	}
	s.run(nil, "expose", "cars").complaint(t, exitUsage, "cars", "deals", "links")
	s.run(nil, "expose", "deals", "--to", "anon").complaint(t, exitUsage, "--to", "before arguments")
	s.run(nil, "expose", "--realtime", "deals").complaint(t, exitUsage, "administrator")
	s.run(nil, "expose", "--columns", "amount", "deals,contacts").complaint(t, exitUsage, "--columns")
	s.run(nil, "expose", "--remove").complaint(t, exitUsage, "expose contacts deals")
	r = s.run(nil, "expose", "--policy", "dealname = (select auth.jwt() ->> 'deal')", "deals")
	r.complaint(t, exitFailed, "schema auth", "postgres")
	s.run(nil, "migrate", "--print").complaint(t, exitUsage, "--owner", "--reader")
	if conn := s.connect(); len(queryRows(t, conn, `select 1 from pg_namespace where nspname = 'hubspot_api'`)) != 0 {
		t.Errorf("%s left a schema", role)
	}
}

// TestARebuildKeepsWhatIsExposed rebuilds as the documented role, through a transaction pooler and with three connections, and
// looks at all copies with the roles of the Data API.
func TestARebuildKeepsWhatIsExposed(t *testing.T) {
	t.Parallel()
	s, project, _ := newSupabaseStack(t)
	pooler := pgtest.StartPooler(t, s.database, pgtest.PoolerOptions{Size: 3})
	s.database = pooler.URL("sslmode=disable&default_query_exec_mode=cache_describe&pool_max_conns=3")
	s.must(nil, "backfill")
	reader := project.Role("reader")
	project.Console(s.must(nil, "migrate", "--reader", reader, "--print").stdout)
	s.must(nil, "expose", "--policy", "email <> 'nobody'", "contacts")
	s.must(nil, "expose", "--columns", "dealname", "deals")
	admin, err := pgx.Connect(t.Context(), project.Superuser)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	// seen is what roles see of every table and view in the schemas of hubtail.
	seen := func() string {
		t.Helper()
		var all []string
		for _, relation := range queryRows(t, admin, `select oid::regclass::text as name, relrowsecurity as closed, relkind::text as kind from pg_class
			where relnamespace::regnamespace::text ~ '^hubspot' and relkind in ('r', 'v') order by 1`) {
			name := relation["name"].(string)
			if relation["kind"] == "r" && relation["closed"] != true {
				t.Errorf("%s has no row level security", name)
			}
			for _, as := range []string{"anon", "authenticated", "service_role", reader} {
				tx, err := admin.Begin(t.Context())
				must(t, err)
				_, err = tx.Exec(t.Context(), "set local role "+as)
				must(t, err)
				var n int
				if tx.QueryRow(t.Context(), "select count(*) from "+name).Scan(&n) == nil {
					all = append(all, fmt.Sprint(name, " ", strings.ReplaceAll(as, reader, "reader"), " ", n))
				}
				_ = tx.Rollback(t.Context())
			}
		}
		return strings.Join(all, "\n")
	}
	before := seen()
	for _, want := range []string{"hubspot_api.contacts authenticated 1", "hubspot_api.deals authenticated 15", "hubspot.contacts reader 1"} {
		if !strings.Contains(before, want) {
			t.Fatalf("%q is not in\n%s", want, before)
		}
	}
	if strings.Contains(before, "anon") || strings.Contains(before, "service_role") {
		t.Fatalf("too much is seen:\n%s", before)
	}
	s.must(nil, "rebuild")
	if after := seen(); after != before {
		t.Errorf("after a rebuild:\n%s\nbefore:\n%s", after, before)
	}
	s.must(nil, "rebuild", "--as-of", "0s", "--into", "hubspot_then")
	s.must(nil, "rebuild", "--rollback")
	if after := seen(); after != before {
		t.Errorf("after the way back and with tables as of a time:\n%s\nbefore:\n%s", after, before)
	}
	s.must(nil, "dead-letters", "list")
	s.must(nil, "verify", "--repair")
	s.must(nil, "expose", "--remove", "contacts,deals")
}
