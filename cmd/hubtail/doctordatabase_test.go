package main

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
)

// ward is a database whose hubtail tables are there, and how to break it.
type ward struct {
	t     testing.TB
	url   string
	admin *pgxpool.Pool
}

func newWard(t testing.TB) *ward {
	t.Helper()
	w := &ward{t: t, url: pgtest.NewDatabase(t)}
	var err error
	if w.admin, err = pgxpool.New(t.Context(), w.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.admin.Close)
	return w
}

func (w *ward) exec(sql string) {
	w.t.Helper()
	if _, err := w.admin.Exec(context.WithoutCancel(w.t.Context()), sql); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// role makes a role without rights that may log in, and returns its name and the address to do so.
func (w *ward) role() (name, address string) {
	w.t.Helper()
	if err := w.admin.QueryRow(w.t.Context(), `select 'hubtail_' || md5(random()::text)`).Scan(&name); err != nil {
		w.t.Fatal(err)
	}
	w.exec(`create role ` + name + ` login password 'least' nosuperuser`)
	w.t.Cleanup(func() {
		w.exec(`drop owned by ` + name + ` cascade`)
		w.exec(`drop role ` + name)
	})
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	u.User = url.UserPassword(name, "least")
	return name, u.String()
}

func (w *ward) look(address string) examination {
	w.t.Helper()
	d := patient(w.t, func(o *options) { o.databaseURL = address })
	defer d.close()
	return d.examine(w.t.Context())
}

func TestDoctorOfADatabaseWithTheLeastRole(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	role, address := w.role()
	w.exec(`create schema hubspot authorization ` + role)
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	must(t, migrations.Apply(t.Context(), pool, "hubspot"))
	e := w.look(address)
	e.requireHealthy(t, "database")
	e.requireFinding(t, "database", "pooler", severityOK, "direct")
	e.requireFinding(t, "database", "rights", severityOK, role+" owns schema hubspot")
	e.requireFinding(t, "database", "schema", severityOK, "as this program wants it")
	e.requireFinding(t, "database", "closed", severityOK, "row level security is on for all")
	e.requireFinding(t, "tables", "position", severityNone, "no sink has applied")
	if strings.Contains(e.found("database", "connection")[0].What, "least") {
		t.Error("the password is shown")
	}
}

func TestDoctorFindsWhatIsWrongWithTheDatabase(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		break_   func(w *ward) (address string)
		check    string
		severity severity
		words    []string
	}{
		"superuser":  {func(w *ward) string { return w.url }, "rights", severityWarn, []string{"superuser", "--owner ROLE"}},
		"no tables":  {func(w *ward) string { return w.url }, "schema", severityNone, []string{"hubtail migrate"}},
		"no schema":  {func(w *ward) string { _, address := w.role(); return address }, "rights", severityFail, []string{"may not create it", "hubtail migrate --owner"}},
		"not owner":  {func(w *ward) string { w.migrate(); _, address := w.role(); return address }, "rights", severityFail, []string{"belongs to", "--owner hubtail_"}},
		"not reader": {func(w *ward) string { w.migrate(); _, address := w.role(); return address }, "schema", severityFail, []string{"may not read"}},
		"foreign table": {func(w *ward) string {
			w.migrate()
			role, address := w.role()
			w.exec(`alter schema hubspot owner to ` + role)
			return address
		}, "rights", severityFail, []string{"tables of others", "cursors"}},
		"older schema": {func(w *ward) string {
			w.migrate()
			w.exec(`delete from hubspot.schema_migrations where version > 1`)
			return w.url
		}, "schema", severityWarn, []string{"not applied yet", "0002_", "hubtail migrate"}},
		"newer schema": {func(w *ward) string {
			w.migrate()
			w.exec(`insert into hubspot.schema_migrations values (9999, 'x', 'x')`)
			return w.url
		}, "schema", severityFail, []string{"version 9999", "upgrade this hubtail"}},
		"changed schema": {func(w *ward) string {
			w.migrate()
			w.exec(`update hubspot.schema_migrations set sha256 = 'x' where version = 1`)
			return w.url
		}, "schema", severityFail, []string{"other content", "0001_"}},
		"open table": {func(w *ward) string {
			w.migrate()
			w.exec(`alter table hubspot.links disable row level security; grant select on hubspot.links to anon`)
			return w.url
		}, "closed", severityFail, []string{"hubspot.links (anon)", "enable row level security"}},
		"open column": {func(w *ward) string {
			w.migrate()
			w.exec(`alter table hubspot.links disable row level security; grant select (from_id) on hubspot.links to anon`)
			return w.url
		}, "closed", severityFail, []string{"hubspot.links (anon)"}},
		"open view": {func(w *ward) string {
			w.migrate()
			w.exec(`create view hubspot.one as select * from hubspot.links; create view public.two as select * from hubspot.one; grant select on public.two to anon`)
			w.exec(`create view public.three with (security_invoker = on) as select * from hubspot.links; grant select on public.three to anon`)
			return w.url
		}, "closed", severityFail, []string{"owner's rights: public.two (anon", "alter view public.two set (security_invoker = on)"}},
		"open policy": {func(w *ward) string {
			w.migrate()
			w.exec(`create policy all_of_them on hubspot.links for select to anon using (true); grant select on hubspot.links to anon`)
			return w.url
		}, "closed", severityWarn, []string{"hubspot.links (anon)", "hubtail expose"}},
		"unsecured table": {func(w *ward) string { w.migrate(); w.exec(`create table hubspot.mine (id int)`); return w.url },
			"closed", severityWarn, []string{"hubspot.mine", "alter table hubspot.mine enable row level security"}},
		"read only": {func(w *ward) string {
			w.exec(`do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$`)
			return w.url
		}, "version", severityFail, []string{"default_transaction_read_only", "full disk"}},
		"short statements": {func(w *ward) string { return withParameter(w.url, "statement_timeout=5000") }, "limits", severityWarn, []string{"statement_timeout is 5s", "alter role"}},
		"few connections": {func(w *ward) string {
			role, address := w.role()
			w.exec(`alter role ` + role + ` connection limit 5`)
			return address
		}, "limits", severityWarn, []string{"this role", "of 5 connections"}},
		"no connection": {func(w *ward) string {
			role, address := w.role()
			w.exec(`alter role ` + role + ` connection limit 0`)
			return address
		}, "connection", severityFail, []string{"all connections are taken"}},
		"no database": {func(w *ward) string {
			u, _ := url.Parse(w.url)
			u.Path = "/nosuch"
			return u.String()
		}, "connection", severityFail, []string{"does not exist"}},
		"no server": {func(*ward) string { return "postgres://u:p4ssw0rd@127.0.0.1:1/x" }, "connection", severityFail, []string{"nothing listens there", "DATABASE_URL"}},
		"no name":   {func(*ward) string { return "postgres://u:p4ssw0rd@db.abc.supabase.co..invalid/x" }, "connection", severityFail, []string{"cannot be resolved", "session pooler"}},
		"no URL":    {func(*ward) string { return "postgres://u:p4%zz@127.0.0.1/x" }, "connection", severityFail, []string{"%23"}},
		"no TLS":    {func(w *ward) string { return strings.ReplaceAll(w.url, "sslmode=disable", "sslmode=require") }, "connection", severityFail, []string{"sslmode=disable"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			w.look(test.break_(w)).requireFinding(t, "database", test.check, test.severity, test.words...)
		})
	}
}

func (w *ward) migrate() {
	w.t.Helper()
	must(w.t, migrations.Apply(w.t.Context(), w.admin, "hubspot"))
}

// TestDoctorTellsATransactionPooler has PgBouncer in both modes before a database.
func TestDoctorTellsATransactionPooler(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		pgtest.Count(t, "pooler", "skipped (no pgbouncer)")
		t.Skip("needs PgBouncer: apt-get install pgbouncer")
	}
	pgtest.Count(t, "pooler", "ran")
	w := newWard(t)
	for mode, want := range map[string]struct {
		severity severity
		words    []string
		more     string
	}{
		"session":     {severityOK, []string{"session mode"}, ""},
		"transaction": {severityWarn, []string{"transaction mode", "default_query_exec_mode=cache_describe"}, ""},
		"statements":  {severityOK, []string{"transaction mode", "no named statements"}, "default_query_exec_mode=cache_describe"},
	} {
		t.Run(mode, func(t *testing.T) {
			address := startBouncer(t, program, w.url, strings.Replace(mode, "statements", "transaction", 1))
			if want.more != "" {
				address = withParameter(address, want.more)
			}
			w.look(address).requireFinding(t, "database", "pooler", want.severity, want.words...)
		})
	}
}

func TestDoctorJudgesConnectionsSizeAndClocks(t *testing.T) {
	t.Parallel()
	one := func(judge func(*findings)) severity {
		f := findings{check: &check{part: "database", name: "limits"}}
		judge(&f)
		if len(f.list) == 0 {
			return severityOK
		}
		return f.list[0].Severity
	}
	for used, want := range map[int]severity{100: severityFail, 97: severityWarn, 10: severityOK} {
		if got := one(func(f *findings) { judgeConnections(f, "the server", used, 100, "x") }); got != want {
			t.Errorf("%d of 100 connections: %s", used, got)
		}
	}
	for skew, want := range map[time.Duration]severity{0: severityOK, 4 * time.Second: severityOK, -time.Minute: severityWarn, time.Hour: severityWarn} {
		if got := one(func(f *findings) { judgeClock(f, "Postgres", skew, "x") }); got != want {
			t.Errorf("%s: %s", skew, got)
		}
	}
	for used, want := range map[uint64]severity{990: severityFail, 850: severityWarn, 100: severityOK} {
		if got := one(func(f *findings) { judgeSpace(f, "storage", used, 1000, "x") }); got != want {
			t.Errorf("%d of 1000 bytes: %s", used, got)
		}
	}
}

// startBouncer starts PgBouncer before a database and returns the address to reach it by.
func startBouncer(t testing.TB, program, database, mode string) (address string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	listen := freeAddr(t)
	host, port, _ := strings.Cut(listen, ":")
	dir, err := os.MkdirTemp("", "hubtail-bouncer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	ini := "[databases]\n* = host=" + cfg.Host + " port=" + strconv.Itoa(int(cfg.Port)) + " user=" + cfg.User + " password=" + cfg.Password +
		"\n[pgbouncer]\nlisten_addr = " + host + "\nlisten_port = " + port + "\nunix_socket_dir =\nauth_type = any\npool_mode = " + mode +
		"\nignore_startup_parameters = extra_float_digits\n"
	must(t, os.WriteFile(dir+"/pgbouncer.ini", []byte(ini), 0o644))
	cmd := exec.Command(program, "-q", dir+"/pgbouncer.ini")
	if os.Getuid() == 0 { // it refuses root
		cmd.SysProcAttr = asNobody(t)
	}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	u := url.URL{Scheme: "postgres", User: url.User(cfg.User), Host: listen, Path: "/" + cfg.Database, RawQuery: "sslmode=disable"}
	deadline := time.Now().Add(runBound)
	for {
		conn, err := pgx.Connect(t.Context(), u.String())
		if err == nil {
			_ = conn.Close(t.Context())
			return u.String()
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func asNobody(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
