package main

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// restrictedNATS starts a server from deploy/nats/permissions.conf.
func restrictedNATS(t *testing.T) *server.Server {
	t.Helper()
	t.Setenv("NATS_STORE", t.TempDir())
	for _, user := range []string{"SOURCE", "SINK", "READER"} {
		t.Setenv("NATS_"+user+"_PASSWORD", "secret")
	}
	opts, err := server.ProcessConfigFile(filepath.Join("..", "..", "deploy", "nats", "permissions.conf"))
	if err != nil {
		t.Fatal(err)
	}
	opts.Port, opts.NoSigs, opts.NoLog = server.RANDOM_PORT, true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start() // returns once it listens
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s
}

// TestUsersWithNoMoreRightsThanTheyNeed runs source, sink and one-shot commands as the users of deploy/nats/permissions.conf.
func TestUsersWithNoMoreRightsThanTheyNeed(t *testing.T) {
	s := newStack(t, smallPortal())
	server := restrictedNATS(t)
	as := func(user string) string {
		u := url.URL{Scheme: "nats", User: url.UserPassword(user, "secret"), Host: server.Addr().String()}
		return u.String()
	}
	s.env = []string{"NATS_URL=" + as("source")}
	source := s.start("source")
	s.env = []string{"NATS_URL=" + as("sink")}
	sink := s.start("sink")
	conn, now := s.connect(), s.simulator.Now()
	s.eventually(runBound, "the tables are complete", func() bool { return s.completeThrough(conn, portalObjects, now) }, source, sink)
	s.requireEqual(conn, portalObjects)

	id := s.simulator.IDs("contacts", 0, 1, 1)[0]
	s.must([]string{"NATS_URL=" + as("source")}, "erase", "--yes", "contacts", id)
	s.run([]string{"NATS_URL=" + as("sink"), "HUBSPOT_ACCESS_TOKEN="}, "status")
	for _, p := range []*process{source, sink} {
		requireGraceful(t, p)
		if said := p.output.String(); said != "" {
			t.Errorf("%v was not quiet:\n%s", p.cmd.Args[1:], said)
		}
	}
	requireReaderRights(t, as("reader"))
	requireRefused(t, as("source"), "$JS.API.STREAM.DELETE.HUBSPOT", "$JS.API.STREAM.DELETE.HUBSPOT_HINTS", "else.4711", "$SYS.REQ.SERVER.PING")
	requireRefused(t, as("sink"), "hubspot.4711.contacts.1", "hubspot-hints.4711.contacts.1", "$JS.API.STREAM.DELETE.HUBSPOT", "$JS.API.STREAM.PURGE.HUBSPOT", "$KV.HUBSPOT_LEASE.4711")
	requireRefused(t, as("reader"), "hubspot.4711.contacts.1", "$JS.API.STREAM.PURGE.HUBSPOT", "$JS.API.STREAM.DELETE.HUBSPOT",
		"$JS.API.CONSUMER.DELETE.HUBSPOT.hubtail-sink", "$JS.API.CONSUMER.MSG.NEXT.HUBSPOT.hubtail-sink", "$JS.API.STREAM.MSG.GET.HUBSPOT_HINTS")
}

// requireReaderRights reads the log in both ways that readers do.
func requireReaderRights(t *testing.T, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ordered, err := js.OrderedConsumer(ctx, "HUBSPOT", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"hubspot.*.contacts.*"}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	durable, err := js.CreateOrUpdateConsumer(ctx, "HUBSPOT", jetstream.ConsumerConfig{
		Durable: "mine", FilterSubject: "hubspot.*.contacts.*", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, consumer := range map[string]jetstream.Consumer{"ordered": ordered, "durable": durable} {
		m, err := consumer.Next(jetstream.FetchMaxWait(time.Minute))
		if err != nil {
			t.Errorf("%s consumer: %v", name, err)
			continue
		}
		if err := m.DoubleAck(ctx); name == "durable" && err != nil {
			t.Errorf("acknowledge: %v", err)
		}
	}
}

// requireRefused publishes to subjects that a user must not publish to.
func requireRefused(t *testing.T, url string, subjects ...string) {
	t.Helper()
	refused := make(chan error, len(subjects))
	nc, err := nats.Connect(url, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, subject := range subjects {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s may publish to %s", nc.ConnectedUrlRedacted(), subject)
		}
	}
}
