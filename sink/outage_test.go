package sink_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/internal/proxy"
	"github.com/hubtail/hubtail/sink"
)

// TestEveryFaultOfPostgresIsWaitedForAndSaid makes Postgres answer with every error that is no fault of the data. Each is
// waited for with the same batch, said in Stats, and leaves nothing behind.
func TestEveryFaultOfPostgresIsWaitedForAndSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start()
	r.applied(r.load(3, "a"))
	r.exec(`create table public.fault (code text)`)
	r.exec(`create function public.fail() returns trigger language plpgsql as $$
		declare c text;
		begin
			select code into c from public.fault;
			if c is not null then raise exception 'it fails' using errcode = c; end if;
			return null;
		end $$`)
	r.exec(`create trigger fail before insert or update on hubspot.contacts for each statement execute function public.fail()`)
	for code, what := range map[string]string{
		"57P01": "an administrator ends sessions", "57P02": "a crash", "57P03": "starting up", "57014": "statement timeout",
		"25006": "read-only", "25P03": "idle in transaction for too long", "53100": "disk full", "53200": "out of memory",
		"53300": "too many connections", "55P03": "lock timeout", "40P01": "deadlock", "40001": "serialization failure",
		"58030": "I/O error", "XX000": "internal error, as of poolers",
	} {
		r.exec(`insert into public.fault values ($1)`, code)
		last := r.load(3, code)
		eventually(t, "the sink says why it waits: "+what, func() bool { return strings.Contains(s.Stats().Error, code) })
		r.exec(`delete from public.fault`)
		r.applied(last)
		r.want("3", `select count(*) from hubspot.contacts where email = $1`, code)
		eventually(t, "all well", func() bool { return s.Stats().Error == "" })
	}
	r.want("0", `select count(*) from hubspot.dead_letters`)
}

// TestABatchThatTakesTooLongIsHalved: what runs into the statement timeout as a whole would do so for ever.
func TestABatchThatTakesTooLongIsHalved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	last := r.load(40, "a")
	r.exec(`create function public.slow() returns trigger language plpgsql as $$
		begin
			if (select count(*) from new) > 10 then raise exception 'too slow' using errcode = '57014'; end if;
			return null;
		end $$`)
	r.apply(definitions(t, "contacts", 1, "email", "string"))
	r.exec(`create trigger slow after insert on hubspot.contacts referencing new table as new for each statement execute function public.slow()`)
	r.exec(`delete from hubspot.positions`)
	r.start()
	r.applied(last)
	r.want("40", `select count(*) from hubspot.contacts where email = 'a'`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
}

// TestAFullDiskIsWaitedFor fills a disk for real, which takes the right to mount one.
func TestAFullDiskIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dir := tinyDisk(t, r.value(`select current_setting('data_directory')`))
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start()
	r.applied(r.load(3, "a"))
	space := "tiny_" + r.value(`select md5(random()::text)`)
	r.exec(`create tablespace ` + space + ` location '` + dir + `/space'`)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, err := r.pool.Exec(ctx, `alter table hubspot.contacts set tablespace pg_default`); err != nil {
			t.Error(err)
		}
		if _, err := r.pool.Exec(ctx, `drop tablespace `+space); err != nil {
			t.Error(err)
		}
	})
	r.exec(`alter table hubspot.contacts set tablespace ` + space)
	filler := dir + "/filler"
	_ = os.WriteFile(filler, make([]byte, 32<<20), 0o600) // as much as there is room for
	last := r.load(2000, strings.Repeat("x", 500))
	eventually(t, "the sink says that the disk is full", func() bool { return strings.Contains(s.Stats().Error, "53100") })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.applied(last)
	r.want("2000", `select count(*) from hubspot.contacts where length(email) = 500`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
}

// TestAFailoverToAReplicaThatLacksCommitsLosesNothing: two sinks share the work when Postgres fails over to a server that
// lacks the last commits, those that were acknowledged by the other sink, too. Connections are refused first.
func TestAFailoverToAReplicaThatLacksCommitsLosesNothing(t *testing.T) {
	t.Parallel()
	primary, replica, server, follow := newFailover(t)
	r := &rig{bundle: primary}
	r.startNATS()
	small := func(c *sink.Config) { c.Pool, c.BatchRows = follow(), 5 }
	first, second := r.start(small), r.start(small)
	r.applied(r.publish(definitions(t, "contacts", 0, "email", "string")))
	r.applied(r.load(50, "replicated"))
	copyTables(t, primary, replica)
	last := r.load(50, "lost with the primary")
	r.applied(last)
	server.Store(nil)
	primary.exec(terminateOthers)
	last = r.load(10, "after")
	eventually(t, "both sinks say that they wait", func() bool { return first.Stats().Error != "" || second.Stats().Error != "" })
	server.Store(replica.pool.Config().ConnConfig)
	r.bundle = replica
	r.applied(last)
	within(t, time.Minute, "everything", func() bool {
		return replica.value(`select concat(count(*) filter (where email = 'lost with the primary'), ' ', count(*) filter (where email = 'after')) from hubspot.contacts`) == "40 10"
	})
}

// newFailover returns two servers, which of them is the primary (nil: none), and pools that follow it.
func newFailover(t *testing.T) (primary, replica *bundle, server *atomic.Pointer[pgx.ConnConfig], follow func() *pgxpool.Pool) {
	t.Helper()
	if os.Getenv(pgtest.Env+"_15") == "" || os.Getenv(pgtest.Env) == os.Getenv(pgtest.Env+"_15") {
		t.Skip("it takes two servers, as make test has them")
	}
	primary, replica = setup(t), setupOn(t, otherServer(t))
	replica.exec(`update hubspot.installation set id = $1::uuid`, primary.value(`select id from hubspot.installation`))
	server = &atomic.Pointer[pgx.ConnConfig]{}
	server.Store(primary.pool.Config().ConnConfig)
	return primary, replica, server, func() *pgxpool.Pool {
		cfg := primary.pool.Config()
		cfg.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
			s := server.Load()
			if s == nil {
				c.Host, c.Port = "127.0.0.1", 1 // nobody is there
				return nil
			}
			c.Host, c.Port, c.User, c.Password, c.Database = s.Host, s.Port, s.User, s.Password, s.Database
			return nil
		}
		// One that was on its way to the other server when that was left is not used.
		cfg.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) {
			s := server.Load()
			return s == nil || conn.Config().Host == s.Host && conn.Config().Port == s.Port, nil
		}
		pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return pool
	}
}

const terminateOthers = `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`

// otherServer returns a database on the second server of the run.
func otherServer(t *testing.T) string {
	t.Helper()
	admin := os.Getenv(pgtest.Env + "_15")
	name := strings.ToLower("hubtail_test_replica_" + strings.ReplaceAll(time.Now().Format("150405.000000000"), ".", "_"))
	run := func(sql string) {
		conn, err := pgx.Connect(context.WithoutCancel(t.Context()), admin)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // it is over either way
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
			t.Error(err)
		}
	}
	run(`create database ` + name)
	t.Cleanup(func() { run(`drop database if exists ` + name + ` with (force)`) })
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// copyTables is replication: what the replica has of the primary at this moment.
func copyTables(t *testing.T, from, to *bundle) {
	t.Helper()
	to.apply(definitions(t, "contacts", 1, "email", "string"))
	to.exec(`delete from hubspot.positions`)
	for _, table := range []string{"contacts", "positions"} {
		rows := from.value(`select coalesce(json_agg(r), '[]') from hubspot.` + table + ` r`)
		to.exec(`insert into hubspot.`+table+` select * from json_populate_recordset(null::hubspot.`+table+`, $1::json)`, rows)
	}
}

// proxied returns the rig's database through a proxy, and a pool of it.
func (r *rig) proxied() (*proxy.Proxy, *pgxpool.Pool) {
	r.t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	p := startProxy(r.t, u.Host)
	u.Host = p.Addr()
	return p, openPool(r.t, u.String())
}

func startProxy(t testing.TB, target string) *proxy.Proxy {
	t.Helper()
	p, err := proxy.Start(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestASilentPostgresIsNoticed: connections that are alive as far as TCP knows, and on which nothing comes any more.
func TestASilentPostgresIsNoticed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, pool := r.proxied()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start(func(c *sink.Config) { c.Pool, c.AnswerTimeout = pool, 500*time.Millisecond })
	r.applied(r.load(5, "a"))
	for i := range 3 {
		p.Silence(true)
		version := fmt.Sprint("v", i)
		last := r.load(5, version)
		eventually(t, "the silence is noticed", func() bool { return s.Stats().Error != "" })
		p.Cut()
		p.Silence(false)
		r.applied(last)
		r.want("5", `select count(*) from hubspot.contacts where email = $1`, version)
	}
}

// TestCutAndSlowConnectionsToPostgresOnlyDelay cuts connections at every moment of a transaction, the one between commit and
// its answer included.
func TestCutAndSlowConnectionsToPostgresOnlyDelay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, pool := r.proxied()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start(func(c *sink.Config) { c.Pool, c.BatchRows = pool, 20 })
	p.Slow(3 * time.Millisecond)
	var last uint64
	for i := range 20 {
		last = r.load(40, fmt.Sprint("v", i))
		p.Cut()
	}
	r.applied(last)
	r.want("40", `select count(*) from hubspot.contacts where email = 'v19'`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
	eventually(t, "all well", func() bool { st := s.Stats(); return st.Error == "" && st.Lag == 0 })
}

// TestALogWithLimitsThatForgotWarnsWithTheRemedy: the sink goes on with what is left, and says that it is not all.
func TestALogWithLimitsThatForgotWarnsWithTheRemedy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	r.applied(r.load(3, "a"))
	_ = s.stop()
	if err := r.stream.DeleteConsumer(t.Context(), sink.DefaultConsumer); err != nil {
		t.Fatal(err)
	}
	limited := r.stream.CachedInfo().Config
	limited.MaxMsgs = 5
	if _, err := r.js.UpdateStream(t.Context(), limited); err != nil {
		t.Fatal(err)
	}
	last := r.load(10, "b")
	var said bytes.Buffer
	s = r.start(func(c *sink.Config) { c.Logger = slog.New(slog.NewTextHandler(&said, nil)) })
	r.applied(last)
	_ = s.stop()
	r.want("5", `select count(*) from hubspot.contacts where email = 'b'`)
	if text := said.String(); !strings.Contains(text, "the log has limits and forgot") || !strings.Contains(text, "hubtail verify --repair") {
		t.Errorf("it said %s", text)
	}
}

// TestASilentNATSIsNoticed: the connection is black-holed; the client's pings find out, and what was lost comes again.
func TestASilentNATSIsNoticed(t *testing.T) {
	t.Parallel()
	r := &rig{bundle: setup(t)}
	server, err := localnats.Start(localnats.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	p := startProxy(t, strings.TrimPrefix(server.URL(), "nats://"))
	connect := func(url string) (*nats.Conn, jetstream.JetStream) {
		nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
			nats.PingInterval(200*time.Millisecond), nats.MaxPingsOutstanding(2), nats.Timeout(500*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return nc, js
	}
	through, js := connect("nats://" + p.Addr())
	_, r.js = connect(server.URL())
	r.createStream()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	r.start(func(c *sink.Config) { c.JetStream = js })
	r.applied(r.load(20, "a"))
	for i := range 2 {
		p.Silence(true)
		version := fmt.Sprint("v", i)
		last := r.load(20, version)
		eventually(t, "the silence is noticed", func() bool { return !through.IsConnected() })
		p.Cut()
		p.Silence(false)
		within(t, time.Minute, "position", func() bool { return r.value(`select seq >= $1 from hubspot.positions`, int64(last)) == "true" })
		r.want("20", `select count(*) from hubspot.contacts where email = $1`, version)
	}
}
