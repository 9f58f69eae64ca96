package sink_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

// startPooler starts PgBouncer in transaction mode before a database: every transaction of a client may run on another
// server process, as behind Supabase's port 6543.
func startPooler(t *testing.T, database string) (address string) {
	t.Helper()
	if os.Getenv("PATH") != "" {
		t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	}
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		pgtest.Count(t, "pooler", "skipped (no pgbouncer on PATH)")
		t.Skip("needs PgBouncer: apt-get install pgbouncer")
	}
	pgtest.Count(t, "pooler", "ran")
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	dir, err := os.MkdirTemp("", "hubtail-pooler")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ini := fmt.Sprintf(`[databases]
* = host=%s port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
ignore_startup_parameters = extra_float_digits
`, cfg.Host, cfg.Port, cfg.User, cfg.Password, port)
	if err := os.WriteFile(filepath.Join(dir, "pgbouncer.ini"), []byte(ini), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-q", filepath.Join(dir, "pgbouncer.ini"))
	if os.Getuid() == 0 { // it refuses root
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody(t)}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	eventually(t, "pooler answers", func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address
}

func nobody(t *testing.T) *syscall.Credential {
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func TestATransactionPoolerIsNoObstacle(t *testing.T) {
	direct := pgtest.NewDatabase(t)
	cfg, err := pgx.ParseConfig(direct)
	if err != nil {
		t.Fatal(err)
	}
	pooled := (&url.URL{Scheme: "postgres", User: url.User(cfg.User), Host: startPooler(t, direct), Path: "/" + cfg.Database,
		RawQuery: "default_query_exec_mode=cache_describe&sslmode=disable"}).String()
	b := setupOn(t, pooled)
	r := &rig{bundle: b}
	r.startNATS()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	small := func(c *sink.Config) { c.BatchRows = 150 }
	r.start(small)
	r.start(small, func(c *sink.Config) { c.Pool = openPool(t, pooled) })
	var last uint64
	for i := range 4 {
		for id := range 300 {
			last = r.publish(event("contacts", int64(id), 0, props{"email": fmt.Sprint("v", i), "late": "l"}))
		}
		last = max(last, r.publish(definitions(t, "contacts", 0, "email", "string", fmt.Sprint("new", i), "string", "late", "string")))
	}
	r.applied(last)
	r.want("300", `select count(*) from hubspot.contacts where email = 'v3' and late = 'l'`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
}

func TestMigrationsWorkThroughATransactionPooler(t *testing.T) {
	direct := pgtest.NewDatabase(t)
	cfg, err := pgx.ParseConfig(direct)
	if err != nil {
		t.Fatal(err)
	}
	address := startPooler(t, direct)
	pool, err := pgxpool.New(t.Context(), fmt.Sprintf("postgres://%s@%s/%s?default_query_exec_mode=cache_describe&sslmode=disable", cfg.User, address, cfg.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for range 2 {
		if err := migrations.Apply(t.Context(), pool, schema); err != nil {
			t.Fatal(err)
		}
	}
}
