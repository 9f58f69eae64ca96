package internal_test

import (
	"context"
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

// TestTheClusterConfigurationMakesThreeCopies starts three servers from deploy/nats/cluster.conf, on ports of their own, and
// stops the one that leads the stream.
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
		t.Fatal(err)
	}
	requireGoesOnWithoutItsLeader(t, js, stream, servers)
}

// requireGoesOnWithoutItsLeader stops the server that leads the stream: what was acknowledged is there, and more is taken.
func requireGoesOnWithoutItsLeader(t *testing.T, js jetstream.JetStream, stream jetstream.Stream, servers []*server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	leader := stream.CachedInfo().Cluster.Leader
	for _, s := range servers {
		if s.Name() == leader {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	for { // until the two others have elected one of them
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := js.Publish(once, "hubspot.1.contacts.2", []byte("{}"))
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("without %s nothing is taken: %v", leader, err)
		}
	}
	info, err := stream.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.Cluster.Leader == leader || info.State.Msgs < 2 {
		t.Errorf("%s leads, with %d messages", info.Cluster.Leader, info.State.Msgs)
	}
	if _, err := stream.GetLastMsgForSubject(ctx, "hubspot.1.contacts.1"); err != nil {
		t.Errorf("what was acknowledged before: %v", err)
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
