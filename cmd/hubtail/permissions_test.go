package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
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
	requireRefused(t, as("source"), nil, "$JS.API.STREAM.DELETE.HUBSPOT", "$JS.API.STREAM.DELETE.HUBSPOT_HINTS", "else.4711", "$SYS.REQ.SERVER.PING")
	requireRefused(t, as("sink"), nil, "hubspot.4711.contacts.1", "hubspot-hints.4711.contacts.1", "$JS.API.STREAM.DELETE.HUBSPOT", "$JS.API.STREAM.PURGE.HUBSPOT", "$KV.HUBSPOT_LEASE.4711")
	requireRefused(t, as("reader"), nil, "hubspot.4711.contacts.1", "$JS.API.STREAM.PURGE.HUBSPOT", "$JS.API.STREAM.DELETE.HUBSPOT",
		"$JS.API.CONSUMER.DELETE.HUBSPOT.hubtail-sink", "$JS.API.CONSUMER.MSG.NEXT.HUBSPOT.hubtail-sink", "$JS.API.STREAM.MSG.GET.HUBSPOT_HINTS")
}

// requireReaderRights reads the log in both ways that readers do.
func requireReaderRights(t *testing.T, url string, login ...nats.Option) {
	t.Helper()
	nc, err := nats.Connect(url, login...)
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
func requireRefused(t *testing.T, url string, login []nats.Option, subjects ...string) {
	t.Helper()
	refused := make(chan error, len(subjects))
	tell := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	nc, err := nats.Connect(url, append(login, tell)...)
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

// TestCredentialsOfAReaderAreWhatTheDocumentationSays makes the user that docs/consumers.md has nsc make.
func TestCredentialsOfAReaderAreWhatTheDocumentationSays(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "consumers.md"))
	if err != nil {
		t.Fatal(err)
	}
	list := func(flag string) []string {
		m := regexp.MustCompile(flag + ` '([^']+)'`).FindSubmatch(doc)
		if m == nil {
			t.Fatalf("no %s in docs/consumers.md", flag)
		}
		return strings.Split(string(m[1]), ",")
	}
	operator, account, user := newKey(t, nkeys.CreateOperator), newKey(t, nkeys.CreateAccount), newKey(t, nkeys.CreateUser)
	system := newKey(t, nkeys.CreateAccount) // NATS rule: JetStream needs one where accounts are signed
	accountClaims := jwt.NewAccountClaims(public(t, account))
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	resolver := &server.MemAccResolver{}
	for _, claims := range []*jwt.AccountClaims{accountClaims, jwt.NewAccountClaims(public(t, system))} {
		if err := resolver.Store(claims.Subject, signed(t, claims, operator)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		TrustedOperators: []*jwt.OperatorClaims{jwt.NewOperatorClaims(public(t, operator))}, AccountResolver: resolver, SystemAccount: public(t, system),
	})
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

	login := func(permissions jwt.Permissions) string {
		claims := jwt.NewUserClaims(public(t, user))
		claims.Permissions = permissions
		seed, err := user.Seed()
		if err != nil {
			t.Fatal(err)
		}
		creds, err := jwt.FormatUserConfig(signed(t, claims, account), seed)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "user.creds")
		if err := os.WriteFile(file, creds, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	writeLog(t, s.ClientURL(), nats.UserCredentials(login(jwt.Permissions{})))
	reader := nats.UserCredentials(login(jwt.Permissions{
		Pub: jwt.Permission{Allow: list("--allow-pub"), Deny: list("--deny-pub")}, Sub: jwt.Permission{Allow: list("--allow-sub")},
	}))
	requireReaderRights(t, s.ClientURL(), reader)
	requireRefused(t, s.ClientURL(), []nats.Option{reader}, "hubspot.4711.contacts.1", "$JS.API.STREAM.PURGE.HUBSPOT", "$JS.API.CONSUMER.DELETE.HUBSPOT.hubtail-sink")
}

func newKey(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	key, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(t *testing.T, key nkeys.KeyPair) string {
	t.Helper()
	text, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func signed(t *testing.T, claims jwt.Claims, by nkeys.KeyPair) string {
	t.Helper()
	text, err := claims.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// writeLog makes the stream, with one event.
func writeLog(t *testing.T, url string, login nats.Option) {
	t.Helper()
	nc, err := nats.Connect(url, login)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "HUBSPOT", Subjects: []string{"hubspot.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "hubspot.4711.contacts.1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
}
