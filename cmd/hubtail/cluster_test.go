package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/internal/pgtest"
)

// asNode in the environment makes the test binary a NATS server of a cluster: one to kill. It holds its options.
const asNode = "HUBTAIL_TEST_AS_NATS"

// node are the options of a server of the cluster, as they travel.
type node struct {
	Name            string
	Client, Cluster int // ports
	Dir             string
	Routes          []string
	Advertise       string // "" is where it listens
}

// runNode is a server until it is killed.
func runNode(options string) {
	var n node
	if err := json.Unmarshal([]byte(options), &n); err != nil {
		panic(err)
	}
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, NoLog: true, NoSigs: true, MaxPayload: localnats.MaxPayload,
		JetStream: true, StoreDir: n.Dir, Routes: server.RoutesFromStr(strings.Join(n.Routes, ",")),
		Cluster: server.ClusterOpts{Name: "hubtail", Host: "127.0.0.1", Port: n.Cluster, Advertise: n.Advertise},
	}
	s, err := server.NewServer(o)
	if err != nil {
		panic(err)
	}
	s.Start()
	s.WaitForShutdown()
}

// natsCluster is three NATS servers, processes of their own, that keep each stream three times.
type natsCluster struct {
	t     *testing.T
	nodes []node
	cmds  []*exec.Cmd
}

func startCluster(t *testing.T) *natsCluster { return startClusterOver(t, nil) }

// startClusterOver starts a cluster whose servers reach each other over what link returns for each address.
func startClusterOver(t *testing.T, link func(from, to int, address string) string) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, cmds: make([]*exec.Cmd, 3)}
	ports := freePorts(t, 6)
	for i := range c.cmds {
		n := node{Name: fmt.Sprintf("n%d", i), Client: ports[i], Cluster: ports[3+i], Dir: t.TempDir()}
		for to, port := range ports[3:] {
			address := fmt.Sprintf("127.0.0.1:%d", port)
			if link != nil && to != i {
				address = link(i, to, address)
				n.Advertise = "127.0.0.1:1" // nobody is there: what servers tell each other leads around no proxy
			}
			n.Routes = append(n.Routes, "nats://"+address)
		}
		c.nodes = append(c.nodes, n)
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.cmds {
			c.kill(i)
		}
	})
	return c
}

func (c *natsCluster) start(i int) {
	c.t.Helper()
	options, err := json.Marshal(c.nodes[i])
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{asNode + "=" + string(options), noRaceSleep, "HOME=" + c.nodes[i].Dir}
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.cmds[i] = cmd
}

// kill is kill -9.
func (c *natsCluster) kill(i int) {
	_ = c.cmds[i].Process.Kill()
	_ = c.cmds[i].Wait()
}

func (c *natsCluster) urls() string {
	urls := make([]string, len(c.nodes))
	for i := range c.nodes {
		urls[i] = c.url(i)
	}
	return strings.Join(urls, ",")
}

func (c *natsCluster) url(i int) string { return fmt.Sprintf("nats://127.0.0.1:%d", c.nodes[i].Client) }

// index finds a server by name, -1 if there is none.
func (c *natsCluster) index(name string) int {
	for i, n := range c.nodes {
		if n.Name == name {
			return i
		}
	}
	return -1
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // all are free again at the end
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// newClusterStack is a stack on a cluster, once that has a leader. The test itself is connected to urls.
func newClusterStack(t *testing.T, urls string) *stack {
	t.Helper()
	s := &stack{t: t, database: pgtest.NewDatabase(t), nats: urls, env: []string{"HUBTAIL_REPLICAS=3"}}
	s.simulator = simulator.New(simulator.Options{
		Contacts: 600, Companies: 60, Deals: 60, Tickets: 60, Calls: 100, Owners: 5,
		BurstLimit: 190, Interval: time.Second, SearchLimit: 5, SearchInterval: 100 * time.Millisecond,
		Latency: 30 * time.Millisecond, IndexLag: simulator.Lag{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond, Tail: -1},
	})
	var err error
	if s.hubspot, err = s.simulator.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.simulator.Close() })
	s.js = connectCluster(t, urls)
	bucket := jetstream.KeyValueConfig{Bucket: connector.LeaseBucket("HUBSPOT"), TTL: 5 * time.Second, Replicas: 3}
	s.eventually(time.Minute, "the cluster has a leader", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := s.js.CreateOrUpdateKeyValue(ctx, bucket)
		return err == nil
	})
	return s
}

func connectCluster(t *testing.T, urls string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.IgnoreDiscoveredServers())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestLeadersOfAClusterGoAndNothingIsLost kills -9, while the source appends and the sink applies, the server that leads
// the log or the one that leads its consumer, at random and time and again. Appends must stay guarded across leaders, and in
// the end log and tables equal the source.
func TestLeadersOfAClusterGoAndNothingIsLost(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	objects := []string{"contacts", "companies", "deals", "tickets", "calls"}
	c := startCluster(t)
	s := newClusterStack(t, c.urls())
	source, sink := s.start("source"), s.start("sink")
	s.eventually(2*time.Minute, "the log begins", func() bool { return s.lastSeq() > 0 }, source, sink)
	live, stopLive := context.WithCancel(context.Background())
	defer stopLive()
	go s.simulator.Live(live, 20)
	for range 4 {
		until := s.lastSeq() + 1 + random.Uint64N(60)
		s.eventually(2*time.Minute, "the log grows", func() bool { return s.lastSeq() >= until }, source, sink)
		victim := c.index(leaderOf(s.js, random.IntN(2) == 0))
		if victim < 0 {
			victim = random.IntN(3)
		}
		c.kill(victim)
		// Two of three go on.
		until = s.lastSeq() + 1
		s.eventually(2*time.Minute, "the log grows without the leader", func() bool { return s.lastSeq() > until }, source, sink)
		c.start(victim)
	}
	stopLive()
	conn := s.connect()
	changed := s.simulator.Now()
	s.eventually(3*time.Minute, "the tables are complete", func() bool { return s.completeThrough(conn, objects, changed) }, source, sink)
	s.eventually(2*time.Minute, "the log is kept three times", func() bool { // a server that just came back may not answer yet
		info, err := s.js.Stream(context.Background(), "HUBSPOT")
		return err == nil && info.CachedInfo().Config.Replicas == 3
	}, source, sink)
	s.requireEqual(conn, append(objects, "owners"))
	requireNoEventTwice(t, s.js)
}

// leaderOf returns which server leads the log, or the sink's consumer; "" if nobody knows.
func leaderOf(js jetstream.JetStream, ofConsumer bool) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if ofConsumer {
		if c, err := js.Consumer(ctx, "HUBSPOT", "hubtail-sink"); err == nil && c.CachedInfo().Cluster != nil {
			return c.CachedInfo().Cluster.Leader
		}
	}
	if stream, err := js.Stream(ctx, "HUBSPOT"); err == nil && stream.CachedInfo().Cluster != nil {
		return stream.CachedInfo().Cluster.Leader
	}
	return ""
}
