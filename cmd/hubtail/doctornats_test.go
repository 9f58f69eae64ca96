package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/internal/jetlog"
)

// natsWith starts a server with a configuration, as an operator writes it, and returns its address.
func natsWith(t testing.TB, config string) (address string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "nats.conf")
	config = "listen: 127.0.0.1:-1\n" + strings.ReplaceAll(config, "STORE", filepath.Join(dir, "store"))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("NATS does not start")
	}
	return s.ClientURL()
}

func asUser(address, user string) string { return strings.Replace(address, "://", "://"+user+":x@", 1) }

func jetStreamAt(t testing.TB, address string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(address)
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

// usersConfig has users with the rights that the parts need, and others with one of them taken away.
const usersConfig = `
jetstream { store_dir: "STORE" }
max_payload: 8MB
accounts {
  CRM {
    jetstream: enabled
    users: [
      { user: admin, password: x }
      { user: source, password: x, permissions: {
          publish: { allow: ["hubspot.>", "hubspot-hints.>", "$KV.HUBSPOT_LEASE.>", "$JS.API.>", "$JS.ACK.HUBSPOT_HINTS.>"] }, subscribe: { allow: ["_INBOX.>"] } } }
      { user: sink, password: x, permissions: {
          publish: { allow: ["$JS.API.INFO", "$JS.API.STREAM.INFO.HUBSPOT", "$JS.API.DIRECT.GET.HUBSPOT", "$JS.API.CONSUMER.*.HUBSPOT.>", "$JS.API.CONSUMER.MSG.NEXT.HUBSPOT.>", "$JS.ACK.HUBSPOT.>"] }, subscribe: { allow: ["_INBOX.>"] } } }
      { user: reader, password: x, permissions: { publish: { allow: ["$JS.API.STREAM.INFO.HUBSPOT", "$JS.API.DIRECT.GET.HUBSPOT"] }, subscribe: { allow: ["_INBOX.>"] } } }
      { user: nolease, password: x, permissions: { publish: { deny: ["$KV.>"] } } }
      { user: nopurge, password: x, permissions: { publish: { deny: ["$JS.API.STREAM.PURGE.>"] } } }
      { user: nohints, password: x, permissions: { publish: { deny: ["hubspot-hints.>"] } } }
      { user: noack, password: x, permissions: { publish: { deny: ["$JS.ACK.>"] } } }
      { user: noapi, password: x, permissions: { publish: { deny: ["$JS.API.>"] } } }
      { user: noinbox, password: x, permissions: { subscribe: { deny: ["_INBOX.>"] } } }
    ]
  }
  OFF { users: [ { user: "off", password: x } ] }
  SMALL { jetstream: { max_streams: 2, max_consumers: 3, max_file: 1MB, max_mem: 1MB }, users: [ { user: small, password: x } ] }
}`

// TestDoctorTriesWhatAUserMayDo connects as users of a real server.
func TestDoctorTriesWhatAUserMayDo(t *testing.T) {
	t.Parallel()
	address := natsWith(t, usersConfig)
	js := jetStreamAt(t, asUser(address, "admin"))
	stream, err := jetlog.Ensure(t.Context(), js, jetlog.StreamConfig("HUBSPOT", 1))
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := js.Conn().SubscribeSync(">")
	must(t, err)
	must(t, js.Conn().Flush())
	source := func(o *options) { o.hubspotToken, o.hubspotURL, o.portal = "pat-x", "http://127.0.0.1:1", "4711" }
	sink := func(o *options) { o.databaseURL = "postgres://u@127.0.0.1:1/x" }
	both := func(o *options) { source(o); sink(o) }
	tests := []struct {
		user     string
		set      func(*options)
		check    string
		severity severity
		words    []string
	}{
		{"source", source, "permissions", severityOK, []string{"a source needs"}},
		{"sink", sink, "permissions", severityOK, []string{"a sink needs"}},
		{"admin", both, "permissions", severityOK, []string{"source and sink need"}},
		{"reader", func(*options) {}, "permissions", severityOK, []string{"reading the log"}},
		{"sink", source, "permissions", severityFail, []string{"hubspot.4711.contacts.1", "so that a source logs what it reads"}},
		{"source", sink, "permissions", severityFail, []string{"$JS.ACK.HUBSPOT.hubtail-sink", "sink reads"}},
		{"reader", sink, "permissions", severityFail, []string{"$JS.API.CONSUMER.INFO.HUBSPOT.hubtail-sink"}},
		{"nolease", source, "permissions", severityFail, []string{"$KV.HUBSPOT_LEASE.4711", "one source leads"}},
		{"nopurge", source, "permissions", severityFail, []string{"$JS.API.STREAM.PURGE.HUBSPOT", "privacy deletion"}},
		{"nohints", source, "permissions", severityFail, []string{"hubspot-hints.4711.contacts.1", "webhooks are stored"}},
		{"noack", sink, "permissions", severityFail, []string{"$JS.ACK.HUBSPOT.hubtail-sink", "sink reads"}},
		{"noapi", sink, "permissions", severityFail, []string{"$JS.API.STREAM.INFO.HUBSPOT"}},
		{"noinbox", sink, "permissions", severityFail, []string{"_INBOX.>", "subscribe"}},
		{"off", sink, "jetstream", severityFail, []string{"not enabled for this account"}},
		{"small", both, "jetstream", severityFail, []string{"may have 2 streams", "needs 3 more"}},
		{"small", both, "jetstream", severityFail, []string{"may have 3 consumers"}},
	}
	for _, test := range tests {
		t.Run(test.user+" "+test.words[0], func(t *testing.T) {
			d := patient(t, func(o *options) { o.natsURL = asUser(address, test.user); test.set(o) })
			e := d.examine(t.Context())
			e.requireFinding(t, "nats", test.check, test.severity, test.words...)
		})
	}
	// Nobody heard of it, and nothing was stored.
	for {
		m, err := watcher.NextMsg(50 * time.Millisecond)
		if err != nil {
			break
		}
		if strings.HasPrefix(m.Subject, "hubspot") || strings.HasPrefix(m.Subject, "$KV") {
			t.Errorf("somebody got %s %q", m.Subject, m.Data)
		}
	}
	info, err := stream.Info(t.Context())
	if err != nil || info.State.LastSeq != 0 || info.State.Consumers != 0 {
		t.Errorf("the stream has changed: %+v %v", info, err)
	}
	for name := range js.StreamNames(t.Context()).Name() {
		if name != "HUBSPOT" {
			t.Errorf("a stream was made: %s", name)
		}
	}
}

// TestDoctorAgreesWithTheUsersThatAreShipped has the server of deploy/nats/permissions.conf.
func TestDoctorAgreesWithTheUsersThatAreShipped(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/nats/permissions.conf")
	must(t, err)
	config := strings.NewReplacer("listen: 127.0.0.1:4222", "", "$NATS_STORE", `"STORE"`, "$NATS_SOURCE_PASSWORD", "x", "$NATS_SINK_PASSWORD", "x", "$NATS_READER_PASSWORD", "x").Replace(string(text))
	address := natsWith(t, config)
	_, err = jetlog.Ensure(t.Context(), jetStreamAt(t, asUser(address, "source")), jetlog.StreamConfig("HUBSPOT", 1))
	must(t, err)
	source := func(o *options) { o.hubspotToken, o.hubspotURL, o.portal = "pat-x", "http://127.0.0.1:1", "4711" }
	sink := func(o *options) { o.databaseURL = "postgres://u@127.0.0.1:1/x" }
	for user, set := range map[string]func(*options){"source": source, "sink": sink, "reader": func(*options) {}} {
		e := patient(t, func(o *options) { o.natsURL = asUser(address, user); set(o) }).examine(t.Context())
		e.requireHealthy(t, "nats")
	}
	e := patient(t, func(o *options) { o.natsURL = asUser(address, "reader"); sink(o) }).examine(t.Context())
	e.requireFinding(t, "nats", "permissions", severityFail, "$JS.ACK.HUBSPOT.hubtail-sink")
}

func TestDoctorTellsWhyNATSCannotBeReached(t *testing.T) {
	t.Parallel()
	plain := natsWith(t, "")
	users := natsWith(t, usersConfig)
	for name, test := range map[string]struct {
		set   func(*options)
		check string
		words []string
	}{
		"nobody there":   {func(o *options) { o.natsURL = "nats://127.0.0.1:1" }, "connection", []string{"nothing listens there", "NATS_URL"}},
		"wrong password": {func(o *options) { o.natsURL = strings.Replace(users, "://", "://admin:wrong@", 1) }, "connection", []string{"are not those of the server"}},
		"no user":        {func(o *options) { o.natsURL = users }, "connection", []string{"are not those of the server"}},
		"no creds file":  {func(o *options) { o.natsURL, o.natsCreds = plain, "/nonexistent/x.creds" }, "connection", []string{"/nonexistent/x.creds"}},
		"no such name":   {func(o *options) { o.natsURL = "nats://nats..invalid:4222" }, "connection", []string{"cannot be resolved"}},
		"wants TLS":      {func(o *options) { o.natsURL = strings.Replace(plain, "nats:", "tls:", 1) }, "connection", []string{"has no TLS"}},
		"too old":        {func(o *options) { o.natsURL = oldNATS(t) }, "connection", []string{"2.11.4", "upgrade the NATS server to 2.12.0"}},
		"no JetStream":   {func(o *options) { o.natsURL = plain }, "jetstream", []string{"the server has no JetStream", "--jetstream"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := patient(t, test.set)
			d.examine(t.Context()).requireFinding(t, "nats", test.check, severityFail, test.words...)
		})
	}
	d := patient(t, func(o *options) { o.natsURL = plain })
	d.examine(t.Context()).requireFinding(t, "nats", "message size", severityWarn, "1.0 MiB", "max_payload: 8MB")
}

// oldNATS speaks just enough of the protocol to be connected to, once.
func oldNATS(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "INFO {\"server_id\":\"x\",\"version\":\"2.11.4\",\"max_payload\":1048576,\"headers\":true}\r\n")
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), "PING") {
					fmt.Fprint(conn, "PONG\r\n")
				}
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "nats://" + l.Addr().String()
}

// TestDoctorFindsDriftOfTheStream changes one setting at a time.
func TestDoctorFindsDriftOfTheStream(t *testing.T) {
	t.Parallel()
	address := natsWith(t, "max_payload: 8MB\njetstream { store_dir: \"STORE\" }")
	js := jetStreamAt(t, address)
	tests := []struct {
		words    string
		severity severity
		drift    func(*jetstream.StreamConfig)
	}{
		{"as hubtail makes it", severityOK, func(*jetstream.StreamConfig) {}},
		{"drops records unchanged for 1h0m0s --max-age 0", severityFail, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"drops the oldest records above 1000000 bytes", severityFail, func(c *jetstream.StreamConfig) { c.MaxBytes = 1_000_000 }},
		{"drops the oldest records above 10 messages", severityFail, func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }},
		{"refuses new events of a record", severityFail, func(c *jetstream.StreamConfig) {
			c.Discard, c.DiscardNewPerSubject, c.MaxMsgs = jetstream.DiscardNew, true, 5
		}},
		{"keeps 3 events per record, not 16", severityWarn, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 3 }},
		{"AllowAtomicPublish is off", severityWarn, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }},
		{"AllowDirect is off", severityWarn, func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		{"kept in memory", severityFail, func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		{"its subjects are", severityFail, func(c *jetstream.StreamConfig) { c.Subjects = []string{"hubspot.4711.>"} }},
		{"the stream's own limit: 0 KiB of 0 KiB used", severityFail, func(c *jetstream.StreamConfig) { c.Discard, c.MaxBytes = jetstream.DiscardNew, 99 }},
		{"messages may have 1000 bytes only", severityWarn, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }},
	}
	// With its last stream the server removes the directory of all, in its own time: one stays.
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "STAYS", Subjects: []string{"stays"}})
	must(t, err)
	for i, test := range tests {
		t.Run(test.words, func(t *testing.T) {
			name := fmt.Sprintf("HUBSPOT_%d", i)
			cfg := jetlog.StreamConfig(name, 1)
			test.drift(&cfg)
			if _, err := js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			defer func() { must(t, js.DeleteStream(context.WithoutCancel(t.Context()), name)) }()
			if cfg.MaxBytes == 99 {
				_, err := js.Publish(t.Context(), "hubspot.1.contacts.1", []byte("x"))
				must(t, err)
			}
			d := patient(t, func(o *options) { o.natsURL, o.stream = address, name })
			e := d.examine(t.Context())
			words := []string{test.words}
			if what, fix, ok := strings.Cut(test.words, " --"); ok {
				words = []string{what, "--" + fix}
			}
			e.requireFinding(t, "log", "settings", test.severity, words...)
			e.requireFinding(t, "log", "clock", severityOK, "agrees")
		})
	}
	f := findings{check: &check{part: "log", name: "size"}}
	judgeRecords(&f, 1_200_000)
	if f.list[0].Severity != severityWarn || !strings.Contains(f.list[0].What, "1,200,000") {
		t.Errorf("%+v", f.list)
	}
}

// TestDoctorSaysWhoReads has leases and consumers of parts that run and do not.
func TestDoctorSaysWhoReads(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	source := s.start("source", "--objects", "contacts")
	sink := s.start("sink")
	look := func() examination {
		return patient(t, func(o *options) { o.natsURL, o.databaseURL, o.portal = s.nats, s.database, "4711" }).examine(t.Context())
	}
	var e examination
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last look: %+v", e.Findings)
		}
	})
	s.eventually(runBound, "source and sink are seen", func() bool {
		e = look()
		all := slices.Concat(e.found("tables", "sink"), e.found("tables", "position"), e.found("log", "source"))
		return len(all) == 3 && !slices.ContainsFunc(all, func(f finding) bool { return f.Severity != severityOK })
	}, source, sink)
	e.requireFinding(t, "log", "source", severityOK, "reads portal 4711 (follow)")
	e.requireFinding(t, "tables", "position", severityOK, "applied through")
	e.requireFinding(t, "tables", "sink", severityOK, "a sink reads consumer hubtail-sink")
	sink.stop(t)
	source.stop(t)
	s.eventually(runBound, "that nobody reads is seen", func() bool {
		e = look()
		all := slices.Concat(e.found("tables", "sink"), e.found("log", "source"))
		return len(all) == 2 && !slices.ContainsFunc(all, func(f finding) bool { return f.Severity != severityWarn })
	})
	e.requireFinding(t, "log", "source", severityWarn, "no source reads portal 4711", "hubtail source")
	e.requireFinding(t, "tables", "sink", severityWarn, "no sink reads", "hubtail sink")

	conn := s.connect()
	exec := func(sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		must(t, err)
	}
	exec(`update hubspot.installation set id = gen_random_uuid()`)
	look().requireFinding(t, "tables", "sink", severityFail, "feeds other tables", "--consumer")
	exec(`update hubspot.positions set seq = seq + 1000000`)
	look().requireFinding(t, "tables", "position", severityFail, "restored from an older backup", "hubtail rebuild")
	exec(`update hubspot.positions set stream_created = now() - interval '1 day'`)
	look().requireFinding(t, "tables", "position", severityFail, "another stream", "hubtail rebuild")
	exec(`update hubspot.positions set portal = '12'`)
	look().requireFinding(t, "tables", "position", severityFail, "tables are of portal 12", "--schema")
	if _, err := connector.ReadLeader(t.Context(), s.js, "HUBSPOT", "4711"); err != nil {
		t.Error(err)
	}
}
