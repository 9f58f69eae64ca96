package localpg_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/internal/localpg"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		runChild()
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, opts localpg.Options) *localpg.Cluster {
	t.Helper()
	c, err := localpg.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// keptDir is a folder for a kept cluster that the account postgres runs as can
// reach: t.TempDir is closed to others.
func keptDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("/tmp", "hubtail-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(parent, "postgres")
}

func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func exec(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestEachMajorStarts(t *testing.T) {
	t.Parallel()
	for _, major := range []int{17, 15} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			c := start(t, localpg.Options{Major: major, NoSync: true})
			if got := query[int](t, c.URL(""), "select current_setting('server_version_num')::int / 10000"); got != major || c.Major != major {
				t.Errorf("runs %d, says %d, want %d", got, c.Major, major)
			}
			if c.Source == "" {
				t.Error("does not say where it comes from")
			}
			if got := query[string](t, c.URL(""), "select current_setting('server_encoding') || ' ' || current_setting('timezone')"); got != "UTF8 UTC" {
				t.Errorf("encoding and time zone: %s", got)
			}
		})
	}
}

func TestNamedDatabaseIsUsedAndLeftAlone(t *testing.T) {
	t.Parallel()
	theirs := start(t, localpg.Options{NoSync: true})
	c, err := localpg.Start(t.Context(), localpg.Options{DatabaseURL: theirs.URL("")})
	if err != nil {
		t.Fatal(err)
	}
	if c.Source != "DATABASE_URL" || c.Major != theirs.Major {
		t.Errorf("got %q, %d", c.Source, c.Major)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, theirs.URL(""), "select 1"); got != 1 {
		t.Error("stopped the user's database")
	}

	_, err = localpg.Start(t.Context(), localpg.Options{DatabaseURL: theirs.URL(""), Major: 99})
	if err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("other version: got %v, want a refusal", err)
	}
}

func TestNamedDatabaseIsNeverReplaced(t *testing.T) {
	t.Parallel()
	c, err := localpg.Start(t.Context(), localpg.Options{DatabaseURL: "postgres://user:pa55@127.0.0.1:1/db?connect_timeout=2"})
	if err == nil {
		_ = c.Stop()
		t.Fatalf("started %s instead", c.Source)
	}
	if !strings.Contains(err.Error(), "DATABASE_URL") || strings.Contains(err.Error(), "pa55") {
		t.Errorf("error %q should name DATABASE_URL and no password", err)
	}
}

func TestCreateDatabaseTwice(t *testing.T) {
	t.Parallel()
	c := start(t, localpg.Options{NoSync: true})
	for range 2 {
		if err := c.CreateDatabase(t.Context(), `odd "name'`); err != nil {
			t.Fatal(err)
		}
	}
	if got := query[string](t, c.URL(`odd "name'`), "select current_database()"); got != `odd "name'` {
		t.Errorf("connected to %s", got)
	}
}

func TestWithDatabase(t *testing.T) {
	for _, tt := range []struct{ dsn, database, want string }{
		{"postgres://u:p@h:5432/a?sslmode=require", "b", "postgres://u:p@h:5432/b?sslmode=require"},
		{"postgres://u:p@h:5432/a", "", "postgres://u:p@h:5432/a"},
		{"postgres://h", "b", "postgres://h/b"},
		{"host=h dbname=a", "b", "host=h dbname=a dbname='b'"},
		{"host=h", `it's`, `host=h dbname='it\'s'`},
	} {
		if got := localpg.WithDatabase(tt.dsn, tt.database); got != tt.want {
			t.Errorf("%s with %s: got %s, want %s", tt.dsn, tt.database, got, tt.want)
		}
	}
	cfg, err := pgx.ParseConfig(localpg.WithDatabase("host=h dbname=a", `it's`))
	if err != nil || cfg.Database != "it's" {
		t.Errorf("the driver reads %v, %v", cfg, err)
	}
}

func TestReachableByPasswordOnly(t *testing.T) {
	t.Parallel()
	dir := keptDir(t)
	c := start(t, localpg.Options{Dir: dir, NoSync: true})
	cfg, err := pgx.ParseConfig(c.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = "guessed"
	if conn, err := pgx.ConnectConfig(t.Context(), cfg); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password opens it")
	}
	if got := query[int](t, c.URL(""), "select count(*) from pg_hba_file_rules where auth_method <> 'scram-sha-256'"); got != 0 {
		t.Errorf("%d ways in without a password", got)
	}
	if got := query[string](t, c.URL(""), "select current_setting('listen_addresses') || current_setting('unix_socket_directories')"); got != "127.0.0.1" {
		t.Errorf("listens on %s", got)
	}
	for name, want := range map[string]os.FileMode{"data": 0o700, "password": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", name, got, want)
		}
	}
}

func TestStopLeavesNothingOfAThrowaway(t *testing.T) {
	t.Parallel()
	c, err := localpg.Start(t.Context(), localpg.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	data := query[string](t, c.URL(""), "show data_directory")
	conn, err := pgx.Connect(t.Context(), c.URL("")) // a client that stays does not hold it up
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for range 2 {
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(data)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want it gone", filepath.Dir(data), err)
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort(conn.Config().Host, strconv.Itoa(int(conn.Config().Port)))); err == nil {
		conn.Close()
		t.Error("something still listens on its port")
	}
}

func TestForeignEnvironmentDoesNotLeakIn(t *testing.T) {
	for name, value := range map[string]string{"LC_ALL": "xx_XX", "PGDATA": "/nonexistent", "PGPORT": "1", "PGHOST": "/nonexistent"} {
		t.Setenv(name, value)
	}
	start(t, localpg.Options{NoSync: true})
}

func TestClientSettingTheServerRefusesIsSaidAtOnce(t *testing.T) {
	t.Setenv("PGOPTIONS", "-c nonsense=1") // pgx sends it, as psql would
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := localpg.Start(ctx, localpg.Options{NoSync: true})
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "nonsense") {
		t.Fatalf("got %v, want what the server says", err)
	}
}

func TestSupabaseRolesBehaveAsInAProject(t *testing.T) {
	t.Parallel()
	c := start(t, localpg.Options{NoSync: true})
	if err := c.CreateDatabase(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	url := c.URL("app")
	exec(t, url, `create table secret (id int); insert into secret values (1); alter table secret enable row level security`)
	for role, want := range map[string]int{"anon": 0, "authenticated": 0, "service_role": 1} {
		if got := query[int](t, url+"&options=-c%20role%3D"+role, "select count(*) from secret"); got != want {
			t.Errorf("%s sees %d rows, want %d", role, got, want)
		}
	}
	if got := query[int](t, url, "select count(*) from pg_publication where pubname = 'supabase_realtime'"); got != 1 {
		t.Error("no publication supabase_realtime")
	}
	for range 2 {
		if err := localpg.EnsureSupabaseRoles(t.Context(), url); err != nil {
			t.Error(err)
		}
	}
	if err := localpg.AddSupabaseRoles(t.Context(), url); err != nil {
		t.Error(err)
	}
}

func TestOneErrorNamesAllFourWays(t *testing.T) {
	t.Parallel()
	unreachable := httptest.NewServer(nil)
	unreachable.Close()
	_, err := localpg.Start(t.Context(), localpg.Options{
		Env: env(map[string]string{"PG_BIN": "off", "HUBTAIL_PG_MIRROR": unreachable.URL, "HUBTAIL_CACHE_DIR": cache(t)}),
		Container: func(context.Context, int) (string, func() error, error) {
			return "", nil, errors.New("engine sleeps")
		},
	})
	if !errors.Is(err, localpg.ErrNone) {
		t.Fatalf("got %v, want ErrNone", err)
	}
	for _, part := range []string{"DATABASE_URL", "apt-get install postgresql", "HUBTAIL_PG_MIRROR", "connection refused", "Docker", "engine sleeps"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
}

func TestDownloadCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	_, err := localpg.Start(t.Context(), localpg.Options{
		Env: env(map[string]string{"PG_BIN": "off", "HUBTAIL_PG_MIRROR": "off", "HUBTAIL_CACHE_DIR": cache(t)}),
	})
	if !errors.Is(err, localpg.ErrNone) || !strings.Contains(err.Error(), "HUBTAIL_PG_MIRROR=off") {
		t.Fatalf("got %v", err)
	}
}

func TestCorruptedDownloadIsRefused(t *testing.T) {
	t.Parallel()
	asked := 0
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write([]byte("not what was pinned"))
	}))
	defer mirror.Close()
	dir := cache(t)
	_, err := localpg.Start(t.Context(), localpg.Options{
		Env: env(map[string]string{"PG_BIN": "off", "HUBTAIL_PG_MIRROR": mirror.URL, "HUBTAIL_CACHE_DIR": dir}),
	})
	if err == nil || !strings.Contains(err.Error(), "SHA-512") {
		t.Fatalf("got %v, want a refusal", err)
	}
	if asked != 1 {
		t.Errorf("asked %d times; the wrong archive stays wrong", asked)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "postgres-*-*[0-9]")) // lock files end in .lock
	if len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestContainerIsTheLastResort(t *testing.T) {
	t.Parallel()
	other := start(t, localpg.Options{NoSync: true})
	stopped := false
	c, err := localpg.Start(t.Context(), localpg.Options{
		Env: env(map[string]string{"PG_BIN": "off", "HUBTAIL_PG_MIRROR": "off", "HUBTAIL_CACHE_DIR": cache(t)}),
		Container: func(context.Context, int) (string, func() error, error) {
			return other.URL(""), func() error { stopped = true; return nil }, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Source != "container" {
		t.Errorf("source %q", c.Source)
	}
	if err := c.Stop(); err != nil || !stopped {
		t.Errorf("stop: %v, container stopped: %v", err, stopped)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // within initdb
	defer cancel()
	c, err := localpg.Start(ctx, localpg.Options{NoSync: true})
	if err == nil {
		_ = c.Stop()
		t.Fatal("started in 100 ms")
	}
	if errors.Is(err, localpg.ErrNone) {
		t.Errorf("blames the machine: %v", err)
	}
}

// cache is an empty cache folder that the account postgres runs as can reach.
func cache(t *testing.T) string { return keptDir(t) }
