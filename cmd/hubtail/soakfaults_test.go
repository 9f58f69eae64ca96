package main

import (
	"context"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/internal/localpg"
	"github.com/hubtail/hubtail/internal/proxy"
)

// soak is a stack whose every part can be broken: servers of its own, proxies before them, one source and two sinks.
type soak struct {
	*stack
	random  *rand.Rand
	running map[string]*process
	history []string
	ended   int // processes that ended by themselves

	pgDir     string
	cluster   *localpg.Cluster
	direct    string // the database without the proxy
	natsDir   string
	natsAddr  string
	server    *localnats.Server
	pg, queue *proxy.Proxy
}

func newSoak(t testing.TB, random *rand.Rand) *soak {
	t.Helper()
	s := &soak{stack: &stack{t: t}, random: random, running: map[string]*process{}}
	s.simulator = simulator.New(simulator.Options{
		Contacts: 2000, Companies: 200, Deals: 300, Tickets: 150, Calls: 500, Owners: 5,
		BurstLimit: 190, Interval: time.Second, SearchLimit: 5, SearchInterval: 100 * time.Millisecond,
		Latency: 30 * time.Millisecond, IndexLag: simulator.Lag{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond, Tail: -1},
		LiveMix: simulator.LiveMix{Update: 75, Create: 15, Bulk: 1, Archive: 3, Restore: 1},
	})
	var err error
	if s.hubspot, err = s.simulator.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.simulator.Close() })
	s.startParts()
	for _, name := range []string{"source", "sink1", "sink2"} {
		s.running[name] = s.stack.start(strings.TrimRight(name, "0123456789"))
	}
	return s
}

// startParts starts Postgres and NATS, and a proxy before each.
func (s *soak) startParts() {
	t := s.t
	t.Helper()
	parent, err := os.MkdirTemp("/tmp", "hubtail-soak-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o755); err != nil { // Postgres runs as another user
		t.Fatal(err)
	}
	s.pgDir = filepath.Join(parent, "postgres")
	s.startPostgres()
	t.Cleanup(func() { _ = s.cluster.Stop() })
	if err := s.cluster.CreateDatabase(context.Background(), "soak"); err != nil {
		t.Fatal(err)
	}
	s.direct = s.cluster.URL("soak")
	address, err := url.Parse(s.direct)
	if err != nil {
		t.Fatal(err)
	}
	s.pg = s.proxy(address.Host)
	address.Host = s.pg.Addr()
	s.database = address.String()

	s.natsDir, s.natsAddr = filepath.Join(t.TempDir(), "nats"), "127.0.0.1:0"
	s.startNATS()
	t.Cleanup(func() { _ = s.server.Close() })
	s.queue = s.proxy(s.natsAddr)
	s.nats = "nats://" + s.queue.Addr()
	nc, err := nats.Connect(s.server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if s.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	// A source that is killed leads for this long yet.
	bucket := jetstream.KeyValueConfig{Bucket: connector.LeaseBucket("HUBSPOT"), TTL: 2 * time.Second}
	if _, err := s.js.CreateKeyValue(context.Background(), bucket); err != nil {
		t.Fatal(err)
	}
}

func (s *soak) proxy(target string) *proxy.Proxy {
	p, err := proxy.Start(target)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.Close() })
	return p
}

func (s *soak) startPostgres() {
	s.t.Helper()
	var err error
	for range 3 { // after a kill the old processes may take a moment to go
		if s.cluster, err = localpg.Start(context.Background(), localpg.Options{Dir: s.pgDir, NoSync: true}); err == nil {
			return
		}
		time.Sleep(time.Second)
	}
	s.t.Fatal(err)
}

func (s *soak) startNATS() {
	s.t.Helper()
	var err error
	if s.server, err = localnats.Start(localnats.Options{StoreDir: s.natsDir, Listen: s.natsAddr}); err != nil {
		s.t.Fatal(err)
	}
	s.natsAddr = strings.TrimPrefix(s.server.URL(), "nats://")
}

// killPostgres is kill -9 of the server's main process; the others notice and end.
func (s *soak) killPostgres() {
	text, err := os.ReadFile(filepath.Join(s.pgDir, "data", "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	_ = s.cluster.Stop() // it is gone; this waits until all of it is
}

// admin runs SQL on the database, past the proxy; an answer is not expected of it.
func (s *soak) admin(sql string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.direct)
	if err != nil {
		return
	}
	defer conn.Close(ctx) //nolint:errcheck // it is over either way
	_, _ = conn.Exec(ctx, sql)
}

// fault is something that breaks; begin returns how it is made good.
type fault struct {
	name  string
	begin func() (heal func())
}

const terminateOthers = `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`

func (s *soak) faults() []fault {
	kill := func(names ...string) func() func() {
		return func() func() {
			for _, name := range names {
				s.running[name].kill()
			}
			return func() {
				for _, name := range names {
					s.running[name] = s.stack.start(strings.TrimRight(name, "0123456789"))
				}
			}
		}
	}
	freeze := func(name string) func() func() {
		return func() func() {
			p := s.running[name].cmd.Process
			_ = p.Signal(syscall.SIGSTOP)
			return func() { _ = p.Signal(syscall.SIGCONT) }
		}
	}
	network := func(p *proxy.Proxy, do func(*proxy.Proxy)) func() func() {
		return func() func() {
			do(p)
			return func() {
				if s.random.IntN(2) == 0 {
					p.Cut() // what was under way is lost, and only one end may know
				}
				p.Heal()
			}
		}
	}
	silent := func(p *proxy.Proxy) { p.Silence(true) }
	slow := func(p *proxy.Proxy) { p.Slow(time.Duration(s.random.IntN(200)) * time.Millisecond) }
	refuse := func(p *proxy.Proxy) { p.Refuse(true); p.Cut() }
	cut := func(p *proxy.Proxy) { p.Cut() }
	return []fault{
		{"kill source", kill("source")},
		{"kill a sink", kill("sink1")},
		{"kill both sinks", kill("sink1", "sink2")},
		{"kill source and a sink", kill("source", "sink2")},
		{"freeze source", freeze("source")},
		{"freeze a sink", freeze("sink1")},
		{"restart postgres", func() func() { _ = s.cluster.Stop(); return s.startPostgres }},
		{"crash postgres", func() func() { s.killPostgres(); return s.startPostgres }},
		{"end sessions", func() func() { s.admin(terminateOthers); return func() {} }},
		{"read-only postgres", func() func() {
			s.admin(`alter database soak set default_transaction_read_only = on`)
			s.admin(terminateOthers)
			return func() {
				s.admin(`begin read write; alter database soak reset default_transaction_read_only; commit`)
				s.admin(terminateOthers)
			}
		}},
		{"restart nats", func() func() { _ = s.server.Close(); return s.startNATS }},
		{"cut postgres", network(s.pg, cut)},
		{"refuse postgres", network(s.pg, refuse)},
		{"silent postgres", network(s.pg, silent)},
		{"slow postgres", network(s.pg, slow)},
		{"cut nats", network(s.queue, cut)},
		{"refuse nats", network(s.queue, refuse)},
		{"silent nats", network(s.queue, silent)},
		{"slow nats", network(s.queue, slow)},
	}
}
