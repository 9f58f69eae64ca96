package internal_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestTheClusterConfigurationMakesThreeCopies starts three servers from deploy/nats/cluster.conf, on ports of their own.
func TestTheClusterConfigurationMakesThreeCopies(t *testing.T) {
	t.Setenv("NATS_PASSWORD", "for-clients")
	t.Setenv("NATS_ROUTE_PASSWORD", "for-routes")
	ports := freePorts(t, 3)
	routes := make([]string, len(ports))
	for i, port := range ports {
		routes[i] = fmt.Sprintf("nats-route://route:for-routes@127.0.0.1:%d", port)
	}
	t.Setenv("NATS_ROUTES", "["+strings.Join(routes, ", ")+"]")

	servers := make([]*server.Server, len(ports))
	for i, port := range ports {
		t.Setenv("NATS_NAME", fmt.Sprintf("n%d", i+1))
		t.Setenv("NATS_STORE", t.TempDir())
		opts, err := server.ProcessConfigFile(filepath.Join("..", "deploy", "nats", "cluster.conf"))
		if err != nil {
			t.Fatal(err)
		}
		opts.Host, opts.Port, opts.HTTPPort = "127.0.0.1", server.RANDOM_PORT, 0
		opts.Cluster.Host, opts.Cluster.Port = "127.0.0.1", port
		opts.NoSigs, opts.NoLog = true, true
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		go s.Start() // returns once it listens; WaitForShutdown below waits for all it started
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		servers[i] = s
	}
	for _, s := range servers {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a server does not start")
		}
	}

	if nc, err := nats.Connect(servers[0].ClientURL()); err == nil {
		nc.Close()
		t.Error("a client without a password was let in")
	}
	nc, err := nats.Connect(servers[0].ClientURL(), nats.UserInfo("hubtail", "for-clients"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.MaxPayload() != 8<<20 {
		t.Errorf("messages have at most %d bytes", nc.MaxPayload())
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var stream jetstream.Stream
	for deadline := time.Now().Add(time.Minute); ; { // until the three have elected a leader
		stream, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "HUBSPOT", Subjects: []string{"hubspot.>"}, Replicas: 3, AllowAtomicPublish: true})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if n := len(stream.CachedInfo().Cluster.Replicas); n != 2 {
		t.Errorf("%d copies beside the leader's, want 2", n)
	}
	if _, err := js.Publish(t.Context(), "hubspot.1.contacts.1", []byte("{}")); err != nil {
		t.Error(err)
	}
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
