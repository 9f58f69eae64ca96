package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/localnats"
)

// requireGraceful stops a service and checks that it calls that a success, says nothing about it and is quick.
func requireGraceful(t *testing.T, p *process) {
	t.Helper()
	before, began := p.output.String(), time.Now()
	if code := p.stop(t); code != exitDone {
		t.Errorf("%v: exit code %d\n%s", p.cmd.Args[1:], code, p.output.String())
	}
	if took := time.Since(began); took > stopBound {
		t.Errorf("%v: stopped after %s", p.cmd.Args[1:], took)
	}
	if said := strings.TrimPrefix(p.output.String(), before); strings.Contains(said, "hubtail: ") || strings.Contains(said, "level=ERROR") {
		t.Errorf("%v: %s", p.cmd.Args[1:], said)
	}
}

// printed waits until a service has printed something that matches, and returns the first group.
func (s *stack) printed(p *process, pattern string) string {
	s.t.Helper()
	var match []string
	s.eventually(runBound, "it prints "+pattern, func() bool {
		match = regexp.MustCompile(pattern).FindStringSubmatch(p.output.String())
		return match != nil
	}, p)
	return match[1]
}

// TestUpFollowsAPortalByItself is the small installation: one process, embedded NATS, one database.
func TestUpFollowsAPortalByItself(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"NATS_URL=", "HUBTAIL_DATA_DIR=" + t.TempDir()}
	conn := s.connect()
	s.env = append(s.env, "HUBTAIL_NATS_LISTEN=0.0.0.0:0", "HUBTAIL_NATS_USER=crm", "HUBTAIL_NATS_PASSWORD="+canary, "HUBTAIL_LOG_LEVEL=info")
	complete := func(p *process) {
		t.Helper()
		now := s.simulator.Now()
		s.eventually(runBound, "the tables are complete", func() bool { return s.completeThrough(conn, portalObjects[:5], now) }, p)
		s.requireEqual(conn, portalObjects)
	}
	p := s.start("up")
	complete(p)
	for _, id := range s.simulator.IDs("contacts", 0, 20, 1) {
		must(t, s.simulator.Update("contacts", id, map[string]string{"lastname": "changed"}))
	}
	complete(p)
	port := s.printed(p, `server listens" url=nats://0\.0\.0\.0:(\d+)`)
	if strings.Contains(p.output.String(), canary) {
		t.Errorf("the password is shown:\n%s", p.output.String())
	}
	if r := s.must([]string{"NATS_URL=nats://crm:" + canary + "@127.0.0.1:" + port}, "status"); !strings.Contains(r.stdout, "log     stream HUBSPOT") {
		t.Errorf("others do not see the log:\n%s", r.stdout)
	}
	if r := s.run([]string{"NATS_URL=nats://127.0.0.1:" + port}, "status"); r.code != exitUnhealthy || !strings.Contains(r.stdout, "! log: ") {
		t.Errorf("anyone may read: %s", r.stdout)
	}
	requireGraceful(t, p)

	// Started again, it goes on: nothing is read whole a second time.
	_, err := s.simulator.CreateMany("calls", 7)
	must(t, err)
	s.simulator.ResetStats()
	p = s.start("up")
	complete(p)
	requireGraceful(t, p)
	if n := s.simulator.Stats().ByRoute["list contacts"]; n != 0 {
		t.Errorf("contacts were listed again, in %d pages", n)
	}
}

// TestHealthyServicesAreQuiet polls a lot, with changes, at the usual log level.
func TestHealthyServicesAreQuiet(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"HUBTAIL_LOG_LEVEL=info"}
	source, sink := s.start("source"), s.start("sink")
	s.eventually(runBound, "some polls", func() bool { return s.simulator.Stats().ByRoute["search contacts"] > 6 }, source, sink)
	for range 2 {
		polls := s.simulator.Stats().ByRoute["search deals"]
		_, err := s.simulator.CreateMany("deals", 5)
		must(t, err)
		s.eventually(runBound, "more polls", func() bool { return s.simulator.Stats().ByRoute["search deals"] > polls+1 }, source, sink)
	}
	s.eventually(runBound, "the deals are in the tables", func() bool { return s.count("select count(*) from hubspot.deals") == 25 }, source, sink)
	for _, p := range []*process{source, sink} {
		requireGraceful(t, p)
		lines := strings.Split(strings.TrimSpace(p.output.String()), "\n")
		// At most three lines per object type, of its full read, its links and its verification, and a few about all of them.
		if len(lines) > 3*5+4 || !strings.Contains(lines[0], "level=INFO") || strings.Contains(p.output.String(), "level=WARN") {
			t.Errorf("%v wrote %d lines:\n%s", p.cmd.Args[1:], len(lines), p.output.String())
		}
	}
}

// TestServicesStopInTheMiddleOfALoad stops source and sink while they have much to do.
func TestServicesStopInTheMiddleOfALoad(t *testing.T) {
	t.Parallel()
	portal := smallPortal()
	portal.Contacts, portal.Latency, portal.BurstLimit, portal.Interval = 5000, 100*time.Millisecond, 20, time.Second
	s := newStack(t, portal)
	source, sink := s.start("source"), s.start("sink")
	s.eventually(runBound, "the load is under way", func() bool { return s.lastSeq() > 1000 }, source, sink)
	requireGraceful(t, source)
	requireGraceful(t, sink)
	if s.records("contacts") == portal.Contacts {
		t.Error("the load was over")
	}
}

func TestNATSAndSimulatorCommandsServeAndStop(t *testing.T) {
	t.Parallel()
	s := newStack(t, simulator.Options{})
	server := s.start("nats", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir())
	hub := s.start("simulator", "--listen", "127.0.0.1:0", "--token", "pat-mine", "--contacts", "40", "--deals", "0", "--calls", "0",
		"--companies", "0", "--tickets", "0", "--changes", "50", "--index-lag", "1ms")
	s.nats, s.hubspot = s.printed(server, `NATS listens on (nats://\S+)`), s.printed(hub, `simulated HubSpot on (http://\S+)`)
	s.env = []string{"HUBSPOT_ACCESS_TOKEN=pat-mine"}
	r := s.must(nil, "sync", "--objects", "contacts")
	if !regexp.MustCompile(`contacts +\d{2,} fetched`).MatchString(r.stdout) {
		t.Errorf("%s", r.stdout)
	}
	requireGraceful(t, hub)
	requireGraceful(t, server)
	for _, args := range [][]string{{"nats", "--listen", "nonsense"}, {"simulator", "--listen", "nonsense"}} {
		s.run(nil, args...).complaint(t, exitFailed, "listen")
	}
}

// TestServicesWaitForNATSAndPostgres starts everything in the wrong order, as a machine does after a power cut.
func TestServicesWaitForNATSAndPostgres(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"HUBTAIL_OBJECTS=deals"}
	natsAddress, pgAddress := freeAddress(t), freeAddress(t)
	s.nats = "nats://" + natsAddress
	u, err := url.Parse(s.database)
	must(t, err)
	database := u.Host
	u.Host = pgAddress
	s.database = u.String()
	source, sink, up := s.start("source"), s.start("sink", "--admin-addr", "127.0.0.1:0", "--log-level", "debug"), s.start("up")
	for _, p := range []*process{source, sink, up} {
		s.eventually(runBound, "it says that it waits", func() bool { return strings.Contains(p.output.String(), "nats does not answer yet") }, p)
	}
	requireGraceful(t, up)
	admin := "http://" + s.printed(sink, `health checks and metrics" address=(\S+)`)
	if code, body := ask(t, admin+"/healthz"); code != http.StatusOK {
		t.Errorf("a service that waits does not live: %d %s", code, body)
	}
	for _, path := range []string{"/readyz", "/api/status"} {
		if code, body := ask(t, admin+path); code != http.StatusServiceUnavailable || !strings.Contains(body, "starting: nats does not answer yet: connect to nats at ") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if _, body := ask(t, admin+"/"); !strings.Contains(body, "nats does not answer yet") {
		t.Errorf("the page does not say what is waited for: %s", body)
	}
	server, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(t.TempDir(), "nats"), Listen: natsAddress})
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	s.eventually(runBound, "the sink says that it waits", func() bool { return strings.Contains(sink.output.String(), "postgres does not answer yet") }, sink)
	forward(t, pgAddress, database)
	conn := s.connect()
	s.eventually(runBound, "the deals are there", func() bool {
		return s.completeThrough(conn, []string{"deals"}, time.Now().Add(-time.Minute))
	}, source, sink)
	s.requireEqual(conn, []string{"deals"})
	requireGraceful(t, source)
	requireGraceful(t, sink)
	if n := strings.Count(sink.output.String(), "does not answer yet"); n > 4 {
		t.Errorf("it said so %d times", n)
	}
}

// TestServicesDoNotWaitForWhatSaysNo has a password that is wrong; that will not get better.
func TestServicesDoNotWaitForWhatSaysNo(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	u, err := url.Parse(s.database)
	must(t, err)
	u.Path = "/no_such_database"
	r := s.run([]string{"DATABASE_URL=" + u.String()}, "sink")
	if r.code != exitFailed || !strings.Contains(r.stderr, "no_such_database") {
		t.Errorf("%+v", r)
	}
	secured, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(t.TempDir(), "nats"), Listen: "127.0.0.1:0", Token: "right"})
	must(t, err)
	t.Cleanup(func() { _ = secured.Close() })
	address := strings.TrimPrefix(secured.URL(), "nats://")
	r = s.run([]string{"NATS_URL=nats://" + canary + "@" + address}, "source")
	if requireNoSecret(t, r); r.code != exitFailed || !strings.Contains(strings.ToLower(r.stderr), "authorization") {
		t.Errorf("%+v", r)
	}
	s.must([]string{"NATS_URL=nats://right@" + address}, "sync", "--objects", "deals")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// forward passes connections on until the test ends.
func forward(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	must(t, err)
	var open sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		open.Wait()
	})
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { pass(ctx, in, to) })
		}
	})
}

func pass(ctx context.Context, in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	defer context.AfterFunc(ctx, func() { _, _ = in.Close(), out.Close() })()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = way[0].Close(), way[1].Close()
		})
	}
	both.Wait()
}

// TestAnyNATSClientSeesEventsAsSpecified subscribes as `nats sub 'hubspot.*.contacts.>'` does, before anything is there.
func TestAnyNATSClientSeesEventsAsSpecified(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	server := s.start("nats", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir())
	s.nats = s.printed(server, `NATS listens on (nats://\S+)`)
	nc, err := nats.Connect(s.nats)
	must(t, err)
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync("hubspot.*.contacts.>")
	must(t, err)
	must(t, nc.Flush())
	source := s.start("source", "--objects", "contacts,deals")
	truth := map[string]simulator.TruthRecord{}
	for r := range s.simulator.Truth("contacts") {
		truth[r.ID] = r
	}
	schema := compileSchema(t, "event")
	next := func() (*nats.Msg, eventBody) {
		t.Helper()
		m, err := sub.NextMsg(runBound)
		if err != nil {
			t.Fatalf("%v\n%s", err, source.output.String())
		}
		return m, requireEvent(t, schema, m)
	}
	for range len(truth) {
		m, e := next()
		want, ok := truth[e.ID]
		if !ok || m.Subject != "hubspot.4711.contacts."+e.ID || e.Op != "snapshot" || e.PreviousSeq != 0 || len(e.Properties) != len(want.Properties) {
			t.Errorf("%s: %s with %d properties after %d, want a snapshot with %d", m.Subject, e.Op, len(e.Properties), e.PreviousSeq, len(want.Properties))
		}
		if m.Header.Get("hubtail-origin") != "backfill" {
			t.Errorf("origin %q", m.Header.Get("hubtail-origin"))
		}
		delete(truth, e.ID)
	}
	id := s.simulator.IDs("contacts", 0, 1, 1)[0]
	must(t, s.simulator.Update("contacts", id, map[string]string{"firstname": "Ada", "lastname": ""}))
	m, e := next()
	if e.ID != id || e.Op != "updated" || m.Header.Get("hubtail-origin") != "poll" || e.Properties["firstname"] != "Ada" || e.PreviousSeq == 0 ||
		!strings.Contains(fmt.Sprint(e.Changed), "firstname") || e.Previous["firstname"] == "Ada" {
		t.Errorf("an update: %+v %v", e, m.Header)
	}
	if _, there := e.Properties["lastname"]; there {
		t.Error("a cleared property has a value")
	}
	created, err := s.simulator.Create("contacts", map[string]string{"firstname": "Neu 🙂"})
	must(t, err)
	if _, e := next(); e.ID != created || e.Op != "created" || e.Properties["firstname"] != "Neu 🙂" {
		t.Errorf("a creation: %+v", e)
	}
	requireGraceful(t, source)
	requireGraceful(t, server)
	if pending, _, err := sub.Pending(); err != nil || pending != 0 {
		t.Errorf("%d more events, %v", pending, err)
	}
}
