package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/localnats"
)

// records returns how many records of an object type have events in the log.
func (s *stack) records(object string) int {
	s.t.Helper()
	stream, err := s.js.Stream(context.Background(), "HUBSPOT")
	if err != nil {
		s.t.Fatal(err)
	}
	info, err := stream.Info(context.Background(), jetstream.WithSubjectFilter("hubspot.*."+object+".*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(info.State.Subjects)
}

// count returns the one number of a query.
func (s *stack) count(query string) (n int) {
	s.t.Helper()
	if err := s.connect().QueryRow(context.Background(), query).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestBackfillNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	r := s.must([]string{"DATABASE_URL="}, "backfill")
	for object, want := range map[string]int{"contacts": 130, "companies": 20, "deals": 15, "tickets": 10, "calls": 30, "owners": 5} {
		if got := s.records(object); got != want {
			t.Errorf("%d %s in the log, want %d", got, object, want)
		}
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^%s +%d fetched +%d created .* 0 failed$`, object, want, want)).MatchString(r.stdout) {
			t.Errorf("%s: no such line in\n%s", object, r.stdout)
		}
	}
	if n := s.count("select count(*) from pg_namespace where nspname = 'hubspot'"); n != 0 {
		t.Error("it made a schema")
	}
	if !regexp.MustCompile(`(?m)^\d+ requests, [\d.]+m?s$`).MatchString(r.stdout) ||
		!strings.HasPrefix(r.stderr, "hubtail: no database given: the changes are in the log only (stream HUBSPOT of NATS_URL)\n") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
}

func TestBackfillOfNamedObjectsFillsTheirTables(t *testing.T) {
	t.Parallel()
	portal := smallPortal()
	portal.CustomObjects = []simulator.CustomObject{{Name: "pets", Count: 12}}
	s := newStack(t, portal)
	s.must(nil, "backfill", "deals", "p_pets")
	s.requireEqual(s.connect(), []string{"deals", "p_pets"})
	if n := s.count("select count(*) from hubspot.objects where object not in ('deals', 'p_pets')"); n != 0 {
		t.Errorf("tables of %d other object types", n)
	}
	before := s.lastSeq()
	r := s.must(nil, "backfill", "deals")
	if !regexp.MustCompile(`deals +15 fetched +0 created +0 updated +15 unchanged +0 failed`).MatchString(r.stdout) {
		t.Errorf("a second time: %s", r.stdout)
	}
	if grown := s.lastSeq() - before; grown > 10 {
		t.Errorf("%d messages about nothing new", grown)
	}
	s.run(nil, "backfill", "unicorns").complaint(t, exitUsage, "unicorns")
}

// TestSyncFromCron runs sync as cron does: nothing else runs in between, the log is in --data-dir.
func TestSyncFromCron(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"NATS_URL=", "HUBTAIL_DATA_DIR=" + t.TempDir()}
	conn := s.connect()
	sync := func() (result, simulator.Stats) {
		s.simulator.ResetStats()
		r := s.must(nil, "sync")
		if r.stderr != "" {
			t.Errorf("cron would send a mail: %s", r.stderr)
		}
		s.requireEqual(conn, portalObjects)
		s.requireLinks(conn, portalObjects)
		return r, s.simulator.Stats()
	}
	sync()

	ids := s.simulator.IDs("contacts", 0, 3, 10)
	for i, id := range ids {
		must(t, s.simulator.Update("contacts", id, map[string]string{"firstname": fmt.Sprintf("changed %d", i)}))
	}
	created, err := s.simulator.Create("deals", map[string]string{"dealname": "new"})
	must(t, err)
	r, stats := sync()
	if !regexp.MustCompile(`contacts +\d+ fetched +0 created +3 updated`).MatchString(r.stdout) ||
		!regexp.MustCompile(`deals +\d+ fetched +1 created +0 updated`).MatchString(r.stdout) {
		t.Errorf("a sync after changes of 3 contacts and 1 deal (%s):\n%s", created, r.stdout)
	}
	requireCheap(t, stats, 2)

	r, stats = sync()
	if strings.Count(r.stdout, "       0 created       0 updated") != len(portalObjects) {
		t.Errorf("a sync after no change:\n%s", r.stdout)
	}
	requireCheap(t, stats, 1)
}

// requireCheap allows so many searches per object type, and otherwise only what every pass must look at: which portal
// it is, definitions, owners.
func requireCheap(t *testing.T, stats simulator.Stats, searches int) {
	t.Helper()
	for route, n := range stats.ByRoute {
		switch kind, object, _ := strings.Cut(route, " "); kind {
		case "search":
			if n > searches {
				t.Errorf("%d searches of %s, want %d at most", n, object, searches)
			}
		case "account", "properties", "pipelines", "owners", "schemas":
			if n > 2*len(portalObjects) {
				t.Errorf("%d requests for %s", n, route)
			}
		case "associations": // which types there are, and those of what changed
			if n > 3*len(portalObjects) {
				t.Errorf("%d requests for %s", n, route)
			}
		case "batch":
			if n > 1 {
				t.Errorf("%d requests for %s", n, route)
			}
		default:
			t.Errorf("%d requests for %s", n, route)
		}
	}
	if stats.ByStatus[429] > 0 {
		t.Errorf("%d requests refused", stats.ByStatus[429])
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwoSyncsInOneDataDirectoryDoNotMeet(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	dir := t.TempDir()
	server, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(dir, "nats")})
	must(t, err)
	s.run([]string{"NATS_URL="}, "sync", "--data-dir", dir).complaint(t, exitFailed, "in use", "--data-dir", "--nats-listen", "NATS_URL=nats://127.0.0.1:4222")
	must(t, server.Close())
	s.must([]string{"NATS_URL=", "DATABASE_URL="}, "sync", "--data-dir", dir, "--objects", "deals")
}

// TestSyncFailsWhenItsSinkFails gives tables to a log that they are not from.
func TestSyncFailsWhenItsSinkFails(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.must([]string{"NATS_URL="}, "sync", "--objects", "deals", "--data-dir", t.TempDir())
	r := s.run([]string{"NATS_URL="}, "sync", "--objects", "deals", "--data-dir", t.TempDir())
	if r.code != exitFailed || !strings.Contains(r.stderr, "stream HUBSPOT was created") || !strings.Contains(r.stderr, "hubtail rebuild") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	s.must([]string{"NATS_URL="}, "sync", "--objects", "deals", "--data-dir", t.TempDir(), "--schema", "again")
}

// TestInterruptedBackfillFailsAndTheNextOneGoesOn stops a backfill in the middle.
func TestInterruptedBackfillFailsAndTheNextOneGoesOn(t *testing.T) {
	t.Parallel()
	portal := smallPortal()
	portal.Contacts, portal.Latency, portal.BurstLimit, portal.Interval = 8000, 50*time.Millisecond, 12, time.Second
	s := newStack(t, portal)
	p := s.start("backfill", "contacts")
	s.eventually(runBound, "the log begins", func() bool { return s.lastSeq() > 500 }, p)
	if code := p.stop(t); code != exitFailed || !strings.Contains(p.output.String(), "hubtail: interrupted before it was done") {
		t.Errorf("exit code %d\n%s", code, p.output.String())
	}
	read := s.records("contacts")
	if read == portal.Contacts {
		t.Fatal("it was done")
	}
	s.simulator.ResetStats()
	s.must(nil, "backfill", "contacts")
	s.requireEqual(s.connect(), []string{"contacts"})
	if again := s.simulator.Stats().Records; again > portal.Contacts-read+portal.Contacts/4 {
		t.Errorf("%d records read before the interruption, %d of %d after it", read, again, portal.Contacts)
	}
}

func TestMigrateIsIdempotent(t *testing.T) {
	t.Parallel()
	s := newStack(t, simulator.Options{})
	running := []*process{s.start("migrate"), s.start("migrate"), s.start("migrate")}
	for _, p := range running {
		<-p.done
		if code := p.cmd.ProcessState.ExitCode(); code != exitDone || !strings.Contains(p.output.String(), "schema hubspot is up to date") {
			t.Errorf("exit code %d\n%s", code, p.output.String())
		}
	}
	s.must([]string{"HUBTAIL_SCHEMA=Other crm"}, "migrate")
	for _, schema := range []string{"hubspot", "Other crm"} {
		if n := s.count("select count(*) from pg_tables where tablename = 'sync_logs' and schemaname = '" + schema + "'"); n != 1 {
			t.Errorf("no sync_logs in schema %s", schema)
		}
	}
}

// TestOldMonitoringQueriesStillRun has the queries of the scripts that this replaces, word for word.
func TestOldMonitoringQueriesStillRun(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.must(nil, "sync")
	s.simulator.DenyScope("crm.objects.deals.read", true)
	if r := s.run(nil, "sync"); r.code != exitFailed || !strings.Contains(r.stderr, "crm.objects.deals.read") {
		t.Errorf("sync without a scope: %+v", r)
	}
	conn := s.connect()
	for query, check := range map[string]func(rows []map[string]any) bool{
		`SELECT * FROM sync_logs ORDER BY sync_started_at DESC LIMIT 10;`: func(rows []map[string]any) bool {
			return len(rows) == 10 && rows[0]["status"] != nil && rows[0]["duration_seconds"] != nil && rows[0]["sync_completed_at"].(time.Time).After(rows[9]["sync_started_at"].(time.Time))
		},
		`SELECT object_type, COUNT(*), AVG(duration_seconds), SUM(records_updated), SUM(records_failed) FROM sync_logs GROUP BY object_type;`: func(rows []map[string]any) bool {
			return len(rows) == len(portalObjects) && rows[0]["count"].(int64) > 0
		},
		`SELECT * FROM sync_logs WHERE status != 'success';`: func(rows []map[string]any) bool {
			return len(rows) == 1 && rows[0]["object_type"] == "deals" && strings.Contains(rows[0]["error_message"].(string), "crm.objects.deals.read")
		},
	} {
		for path, text := range map[string]string{"hubspot": query, "public": strings.ReplaceAll(query, "FROM sync_logs", "FROM hubspot.sync_logs")} {
			if _, err := conn.Exec(context.Background(), "set search_path = "+path); err != nil {
				t.Fatal(err)
			}
			if rows := queryRows(t, conn, text); !check(rows) {
				t.Errorf("%s\n%v", text, rows)
			}
		}
	}
}

// TestSecretsAreNeverShown runs everything that succeeds and fails at debug level.
func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	portal := smallPortal()
	portal.Token = "pat-" + canary
	s := newStack(t, portal)
	s.env = []string{"HUBSPOT_ACCESS_TOKEN=pat-" + canary + "\n", "HUBSPOT_CLIENT_SECRET=" + canary + "-client", "HUBTAIL_LOG_LEVEL=debug"}
	s.database = withPassword(t, s.database)
	for _, format := range []string{"text", "json"} {
		s.env = append(s.env, "HUBTAIL_LOG_FORMAT="+format, "HUBTAIL_OBJECTS=deals,owners")
		requireNoSecret(t, s.must(nil, "sync"))
		requireNoSecret(t, s.must(nil, "status"))
		requireNoSecret(t, s.must(nil, "status", "--json"))
		requireNoSecret(t, s.must(nil, "migrate"))
		requireNoSecret(t, s.run([]string{"HUBSPOT_ACCESS_TOKEN=wrong-" + canary}, "sync"))
		requireNoSecret(t, s.run([]string{"HUBSPOT_ACCESS_TOKEN=", "HUBSPOT_CLIENT_ID=x", "HUBSPOT_REFRESH_TOKEN=" + canary}, "sync"))
		for _, service := range []string{"source", "sink", "up"} {
			p := s.start(service)
			s.eventually(runBound, service+" logs something", func() bool { return p.output.String() != "" }, p)
			p.stop(t)
			requireNoSecret(t, result{stdout: p.output.String()})
		}
	}
}

// TestSecretsOfOddAddressesAreNeverShown has addresses that nats.go accepts or takes apart at another place than a user would.
func TestSecretsOfOddAddressesAreNeverShown(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"NATS_URL=u:" + canary + "@127.0.0.1:1", "NATS_URL=" + canary + "@127.0.0.1:1", "NATS_URL=nats://u:" + canary + "/x@127.0.0.1:1",
		"NATS_URL=nats://u:" + canary + "#x@127.0.0.1:1", "NATS_URL=nats://127.0.0.1:1?token=" + canary,
	} {
		for _, command := range [][]string{{"status"}, {"tail"}, {"doctor", "--json"}} {
			r := hubtail(t, t.TempDir(), []string{address}, command...)
			requireNoSecret(t, r)
			if r.code != exitFailed && r.code != exitUnhealthy || !strings.Contains(r.stdout+r.stderr, "at nats://127.0.0.1:1") && !strings.Contains(r.stdout+r.stderr, "NATS_URL is not understood") {
				t.Errorf("%s %v: exit code %d\n%s%s", address, command, r.code, r.stdout, r.stderr)
			}
		}
	}
}

func TestWrongTokenEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	for _, command := range []string{"source", "up", "sync", "backfill"} {
		s.simulator.ResetStats()
		r := s.run([]string{"HUBSPOT_ACCESS_TOKEN=wrong"}, command)
		if r.code != exitFailed || !strings.Contains(r.stderr, "401") || !strings.Contains(strings.ToLower(r.stderr), "token") {
			t.Errorf("%s: exit code %d\n%s", command, r.code, r.stderr)
		}
		if n := s.simulator.Stats().Requests; n != 1 {
			t.Errorf("%s asked %d times", command, n)
		}
	}
	// Revoked while it runs: the source must not knock for ever.
	p := s.start("source", "--objects", "deals")
	s.eventually(runBound, "deals are read", func() bool { return s.lastSeq() > 15 }, p)
	s.simulator.RevokeToken("")
	select {
	case <-p.done:
	case <-time.After(runBound):
		t.Fatalf("it goes on with a revoked token:\n%s", p.output.String())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.output.String(), "HubSpot refuses the token") {
		t.Errorf("exit code %d\n%s", code, p.output.String())
	}
}

// TestOAuthAppsSyncToo uses a refresh token instead of a private app's.
func TestOAuthAppsSyncToo(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"HUBSPOT_ACCESS_TOKEN=", "HUBSPOT_CLIENT_ID=client-simulator", "HUBSPOT_CLIENT_SECRET=simulator-secret", "HUBSPOT_REFRESH_TOKEN=refresh-simulator"}
	s.must(nil, "sync", "--objects", "deals")
	s.requireEqual(s.connect(), []string{"deals"})
}

// TestOutputOfAClosedPipeIsNoCrash is `hubtail status | head -1`.
func TestOutputOfAClosedPipeIsNoCrash(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	must(t, err)
	must(t, read.Close())
	p, err := os.StartProcess(os.Args[0], []string{"hubtail", "--help"}, &os.ProcAttr{Env: []string{asHubtail + "=1"}, Files: []*os.File{nil, write, nil}})
	must(t, err)
	must(t, write.Close())
	state, err := p.Wait()
	must(t, err)
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Exited() && status.ExitStatus() == 2 {
		t.Errorf("it ended with %s", state)
	}
}

// TestARoleWithoutRightsIsToldWhoHelps migrates as an administrator for a role that owns nothing.
func TestARoleWithoutRightsIsToldWhoHelps(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	conn := s.connect()
	role := fmt.Sprintf("hubtail_owner_%d", os.Getpid())
	_, err := conn.Exec(context.Background(), "create role "+role+" login password '"+canary+"'")
	must(t, err)
	t.Cleanup(func() {
		_, _ = conn.Exec(context.Background(), "drop owned by "+role+" cascade")
		_, _ = conn.Exec(context.Background(), "drop role "+role)
	})
	u, err := url.Parse(s.database)
	must(t, err)
	u.User = url.UserPassword(role, canary)
	env := []string{"DATABASE_URL=" + u.String()}
	r := s.run(env, "migrate")
	r.complaint(t, exitFailed, "hubtail migrate --owner "+role, `create schema "hubspot" authorization "`+role+`"`)
	if strings.Count(r.stderr, "migrate schema hubspot") != 1 {
		t.Errorf("%s", r.stderr)
	}
	s.run(nil, "migrate", "--owner", "nobody").complaint(t, exitFailed, "nobody", "does not exist")
	if r := s.must(nil, "migrate", "--owner", role); !strings.Contains(r.stdout, "owned by "+role) {
		t.Errorf("%s", r.stdout)
	}
	s.must(env, "sync")
	s.requireEqual(conn, []string{"contacts"})
}
