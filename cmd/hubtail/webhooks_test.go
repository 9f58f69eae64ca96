package main

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// freeAddr returns an address of this machine that nobody listens at.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// rowsOf returns a count, 0 while the table is not there yet.
func rowsOf(conn *pgx.Conn, query string) (n int) {
	if conn.QueryRow(context.Background(), query).Scan(&n) != nil {
		return 0
	}
	return n
}

// untold is a portal whose search shows no change: what arrives was told by webhooks.
func untold() simulator.Options {
	o := smallPortal()
	o.IndexLag = simulator.Lag{Min: time.Hour, Max: time.Hour, Tail: -1}
	o.ClientSecret = "secret-" + canary
	return o
}

// deliverTo makes the portal send its webhooks to an address, at once.
func (s *stack) deliverTo(addr string) string {
	url := "http://" + addr + "/hubspot"
	s.simulator.SetWebhooks(simulator.Webhooks{URL: url, Delay: -1, Jitter: -1, RetryDelay: 200 * time.Millisecond})
	return url
}

func TestAWebhookBecomesARow(t *testing.T) {
	t.Parallel()
	s := newStack(t, untold())
	addr := freeAddr(t)
	url := "http://" + addr + "/hubspot"
	s.env = []string{"HUBSPOT_CLIENT_SECRET=secret-" + canary, "HUBTAIL_WEBHOOK_URL=" + url, "HUBTAIL_ADMIN_ADDR=off"}
	running := []*process{s.start("source", "--webhook-addr", addr), s.start("sink")}
	conn := s.connect()
	s.eventually(runBound, "the load", func() bool {
		return rowsOf(conn, "select count(*) from hubspot.sync_logs where sync_type = 'full' and object_type = 'contacts'") == 1
	}, running...)
	s.deliverTo(addr)
	id := s.simulator.IDs("contacts", 0, 1, 1)[0]
	must(t, s.simulator.Update("contacts", id, map[string]string{"lastname": "Told"}))
	s.eventually(runBound, "the row", func() bool {
		return rowsOf(conn, "select count(*) from hubspot.contacts where lastname = 'Told'") == 1
	}, running...)
	for _, p := range running {
		requireGraceful(t, p)
		if strings.Contains(p.output.String(), canary) {
			t.Errorf("the secret is shown:\n%s", p.output.String())
		}
	}
}

// TestReceiversNeedNoRunningSource has a receiver take what a source reads later.
func TestReceiversNeedNoRunningSource(t *testing.T) {
	t.Parallel()
	s := newStack(t, untold())
	s.must(nil, "sync", "--objects", "contacts")
	addrs := []string{freeAddr(t), freeAddr(t)}
	s.env = []string{"HUBSPOT_CLIENT_SECRET=secret-" + canary, "HUBTAIL_ADMIN_ADDR=off", "HUBTAIL_OBJECTS=contacts"}
	var receivers []*process
	for i, addr := range addrs {
		receivers = append(receivers, s.start("webhooks", "--listen", "--webhook-addr", addr, "--webhook-url", "http://"+addr+"/hubspot"))
		s.eventually(runBound, "it listens", func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err == nil
		}, receivers...)
		s.deliverTo(addr)
		id := s.simulator.IDs("contacts", i, 1, 1)[0]
		must(t, s.simulator.Update("contacts", id, map[string]string{"lastname": "Told"}))
		s.eventually(runBound, "it is taken", func() bool { return s.simulator.Stats().Webhooks.Pending == 0 }, receivers...)
	}
	for _, p := range receivers {
		requireGraceful(t, p)
	}
	running := []*process{s.start("source"), s.start("sink")}
	conn := s.connect()
	s.eventually(runBound, "the rows", func() bool {
		return rowsOf(conn, "select count(*) from hubspot.contacts where lastname = 'Told'") == 2
	}, running...)
}

func TestWebhooksListsWhatToSubscribe(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	r := s.must(nil, "webhooks", "--objects", "contacts,calls,owners", "--webhook-url", "https://hooks.example.com/x")
	for _, want := range []string{
		"https://hooks.example.com/x", "\ncontacts (0-1)\n", "contact.privacyDeletion", "contact.propertyChange of ", "    ", "lastname, ",
		"\ncalls (0-48)\n  object.creation, object.deletion, object.merge, object.restore, object.associationChange\n",
		"an app can have 1,000",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	for _, line := range strings.Split(r.stdout, "\n") {
		if len(line) > 120 {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
	var list []connector.Subscription
	must(t, json.Unmarshal([]byte(s.must(nil, "webhooks", "--objects", "calls", "--json").stdout), &list))
	if !slices.Contains(list, connector.Subscription{Type: "object.propertyChange", Object: "calls", ObjectTypeID: "0-48", Property: "hs_call_title"}) {
		t.Errorf("%+v", list)
	}

	// Nothing to complain of before webhooks come.
	s.must(nil, "sync", "--objects", "contacts")
	if r := s.must(nil, "webhooks", "--check"); !strings.Contains(r.stdout, "contacts       no webhook, and no receiver\n") || !strings.Contains(r.stdout, "give the source --webhook-addr") {
		t.Errorf("check: %s", r.stdout)
	}
}

func TestReceiverSettingsThatAreMissingAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	token, nats := "HUBSPOT_API_KEY=pat-"+canary, "NATS_URL=nats://127.0.0.1:1"
	for _, test := range []struct{ env, args, words string }{
		{"", "source --webhook-addr 8080 --webhook-url https://x.example/h", "HUBSPOT_CLIENT_SECRET"},
		{"HUBSPOT_CLIENT_SECRET=" + canary, "source --webhook-addr 8080", "--webhook-url"},
		{"HUBSPOT_CLIENT_SECRET=" + canary, "webhooks --listen", "--webhook-addr"},
		{"", "webhooks --listen --check", "--listen --check"},
	} {
		env := append([]string{token, nats}, strings.Fields(test.env)...)
		r := hubtail(t, dir, env, strings.Fields(test.args)...)
		r.complaint(t, exitUsage, strings.Fields(test.words)...)
		requireNoSecret(t, r)
	}
}

func TestAnAddressWithoutHostIsThisMachineOnly(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "0.0.0.0:8080": "0.0.0.0:8080", "[::]:8080": "[::]:8080", "hooks.internal:80": "hooks.internal:80",
	} {
		if got := listenAddr(addr); got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
	}
}

func TestWhatWebhooksDidNotTellIsPrinted(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 3, 12, 10, 0, 0, 0, time.UTC)
	for want, w := range map[string]*schemas.Webhooks{
		"no webhook, and no receiver": nil,
		"1,200 read since 2026-03-12 10:00:00, nothing missing until 2026-03-12 11:00:00":                                        {Since: since, Hints: 1200, Judged: since.Add(time.Hour)},
		"3 read since 2026-03-12 10:00:00; too early to say what is missing, ask again in some minutes":                          {Since: since, Hints: 3},
		"no webhook came since the source started at 2026-03-12 10:00:00, and polling found no change until 2026-03-12 11:00:00": {Since: since, Judged: since.Add(time.Hour)},
		"no webhook came since the source started at 2026-03-12 10:00:00, not told of: creation 2":                               {Since: since, Missed: map[string]int64{"creation": 2}},
		"7 read since 2026-03-12 10:00:00, not told of: creation 2, propertyChange 1; changed then: zip 3, city 1": {
			Since: since, Hints: 7, Missed: map[string]int64{"propertyChange": 1, "creation": 2}, Properties: map[string]int64{"city": 1, "zip": 3},
		},
	} {
		if text := (webhooksCheck{Webhooks: w}).text(); text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

// TestTheSimulatorSendsWebhooks is README's webhook part without HubSpot: two commands.
func TestTheSimulatorSendsWebhooks(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	portal, hooks := freeAddr(t), freeAddr(t)
	url := "http://" + hooks + "/hubspot"
	s.env = []string{"HUBTAIL_HUBSPOT_URL=http://" + portal, "HUBSPOT_ACCESS_TOKEN=pat-simulator", "HUBSPOT_CLIENT_SECRET=s-" + canary, "HUBTAIL_ADMIN_ADDR=off"}
	simulated := s.start("simulator", "--listen", portal, "--contacts", "20", "--changes", "20", "--webhook-url", url, "--webhook-secret", "s-"+canary)
	s.eventually(runBound, "it listens", func() bool { return strings.Contains(simulated.output.String(), "webhooks go to "+url) }, simulated)
	source := s.start("source", "--objects", "contacts", "--webhook-addr", hooks, "--webhook-url", url)
	s.eventually(runBound, "webhooks are read", func() bool {
		return strings.Contains(s.run(nil, "webhooks", "--check").stdout, " read since ")
	}, simulated, source)
	for _, p := range []*process{source, simulated} {
		requireGraceful(t, p)
		if strings.Contains(p.output.String(), canary) {
			t.Errorf("the secret is shown:\n%s", p.output.String())
		}
	}
	s.run(nil, "simulator", "--webhook-url", "8090").complaint(t, exitUsage, "--webhook-url", "http://")
}
