package connector

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// childEnv makes the test binary a source process: it is the NATS server's address. With childHubSpotEnv, HubSpot's
// address, it is a whole source, else an append in a loop.
const (
	childEnv        = "HUBTAIL_TEST_CHILD_NATS"
	childHubSpotEnv = "HUBTAIL_TEST_CHILD_HUBSPOT"
)

const crashPage = 50 // records a page

// runChild works until it is killed.
func runChild() int {
	err := func() error {
		nc, err := nats.Connect(os.Getenv(childEnv))
		if err != nil {
			return err
		}
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		if url := os.Getenv(childHubSpotEnv); url != "" {
			return runChildSource(js, url)
		}
		return runChildAppend(js)
	}()
	if err == nil {
		return 0 // told to stop
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	return 1
}

// runChildAppend appends page after page, from where the cursor in the log stands, and says so on stdout.
func runChildAppend(js jetstream.JetStream) error {
	ctx := context.Background()
	l := &objectLog{
		js: js, stream: jetlog.DefaultStream, portal: "7", object: contacts, instance: fmt.Sprint("child ", os.Getpid()),
		now: time.Now, timeout: publishTimeout, logger: slog.New(slog.DiscardHandler), token: make(chan struct{}, 1),
	}
	if _, err := l.Reload(ctx); err != nil {
		return err
	}
	for {
		n := pageNumber(l.Cursor())
		if _, err := l.Append(ctx, polled(records(n*crashPage, crashPage, day)...), moveTo(pageTime(n+1))); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// crashConfig makes a source busy.
var crashConfig = Config{
	Objects: []string{"calls", "contacts"}, PollInterval: 20 * time.Millisecond, Settle: 100 * time.Millisecond,
}

func runChildSource(js jetstream.JetStream, url string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client, err := hubspot.New(hubspot.Config{BaseURL: url, Token: "pat-simulator", BurstLimit: 100_000, SearchLimit: 100_000})
	if err != nil {
		return err
	}
	cfg := crashConfig
	cfg.Client, cfg.JetStream, cfg.Logger = client, js, slog.New(slog.NewTextHandler(os.Stdout, nil))
	s, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func pageTime(n int) time.Time { return day.Add(time.Duration(n) * time.Second) }

func pageNumber(c schemas.Cursor) int {
	if c.PolledTo.IsZero() {
		return 0
	}
	return int(c.PolledTo.Sub(day) / time.Second)
}

func TestKillNineLeavesNoPartialPageAndNoDuplicate(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	t.Logf("seed %d", seed)
	for range 20 {
		lines, kill := startChild(t, b)
		// Let it append some pages, then kill it at a random moment of the next.
		for range 1 + rnd.IntN(3) {
			lines.Scan()
		}
		time.Sleep(time.Duration(rnd.IntN(8000)) * time.Microsecond) // the moment of the crash, not a wait for anything
		kill()

		pages, n := b.pagesAndEvents()
		if n != pages*crashPage {
			t.Fatalf("the cursor says %d pages, the log has %d events", pages, n)
		}
	}
	b.noDuplicates()
	for i, e := range b.events("") {
		equal(t, "record", e.ID, fmt.Sprint(i))
	}
}

// pagesAndEvents reads the cursor and the events as of one moment: the server may still work off what a process sent before
// it was killed.
func (b *logBundle) pagesAndEvents() (pages, events int) {
	b.t.Helper()
	for {
		pages = pageNumber(b.open("judge").Cursor())
		events = len(b.events(""))
		if pageNumber(b.open("judge").Cursor()) == pages {
			return pages, events
		}
	}
}

// startChild starts a source process; kill is kill -9.
func startChild(t *testing.T, b *logBundle, env ...string) (lines *bufio.Scanner, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), childEnv+"="+b.server.URL()), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return bufio.NewScanner(out), func() {
		must(t, cmd.Process.Kill())
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // killed
	}
}

func TestKillNineOfASourceDuringLoadAndChangesLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 6000, Contacts: 1500, IndexLag: simulator.Lag{Min: time.Millisecond, Max: 50 * time.Millisecond, Tail: -1}}, crashConfig)
	b.leaseTTL(time.Second)
	ids := b.sim.IDs("calls", 0, 6000, 1)
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	t.Logf("seed %d", seed)
	for i := range 12 {
		lines, kill := startChild(t, b.logBundle, childHubSpotEnv+"="+b.url)
		for lines.Scan() && !strings.Contains(lines.Text(), "msg=leading") {
		}
		for j := range 20 {
			must(t, b.sim.Update("calls", ids[rnd.IntN(len(ids))], map[string]string{"hs_call_title": fmt.Sprint(i, j)}))
		}
		_, err := b.sim.CreateMany("contacts", 5)
		must(t, err)
		time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond) // the moment of the crash
		kill()
	}
	stop := b.run(b.source)
	end := b.sim.Now()
	eventually(t, "watermarks past the last change", func() bool {
		status := b.source.Status()
		return status[0].CompleteThrough.After(end) && status[1].CompleteThrough.After(end)
	})
	must(t, stop())
	for _, object := range []string{"calls", "contacts"} {
		b.nothingLost(object, end.Add(time.Hour))
		b.noDuplicatesOf(object)
		full := 0
		for _, run := range b.runs(object) {
			if run.SyncType == "full" {
				full++
			}
		}
		equal(t, "full runs of "+object, full, 1)
	}
}

// faultyConn loses the server's answer to the next batch: it swallows what comes after the commit was sent, and breaks.
type faultyConn struct {
	net.Conn
	faults *faults
	sent   atomic.Bool
}

type faults struct{ armed, lost atomic.Int32 }

func (f *faults) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return &faultyConn{Conn: conn, faults: f}, err
}

func (c *faultyConn) Write(p []byte) (int, error) {
	if f := c.faults; strings.Contains(string(p), "Nats-Batch-Commit") || strings.Contains(string(p), "Nats-Expected-Last-Subject-Sequence") {
		if f.armed.Load() > 0 && strings.Contains(string(p), "Nats-Batch-Commit") {
			f.armed.Add(-1)
			c.sent.Store(true)
		}
	}
	return c.Conn.Write(p)
}

func (c *faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.sent.Load() && strings.Contains(string(p[:n]), `"stream"`) {
		c.faults.lost.Add(1)
		c.Conn.Close()
		return 0, errors.New("connection broken before the answer")
	}
	return n, err
}

func TestLostAcknowledgementDoublesNothing(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	f := &faults{}
	nc, err := nats.Connect(b.server.URL(), nats.SetCustomDialer(f), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	must(t, err)
	defer nc.Close()
	l := openTestLog(t, jetStream(t, nc), "ours")
	l.timeout = 300 * time.Millisecond
	for n := range 5 {
		f.armed.Store(1)
		counts := mustAppend(t, l, polled(records(n*10, 10, day)...), moveTo(pageTime(n+1)))
		equal(t, "counts", counts, schemas.Counts{Fetched: 10, Created: 10})
	}
	equal(t, "answers lost", f.lost.Load(), 5)
	equal(t, "events", len(b.events("")), 50)

	// Also of a part of a page, which has no cursor to tell by.
	f.armed.Store(1)
	counts := mustAppend(t, l, polled(records(1000, 1500, day)...), moveTo(pageTime(7)))
	equal(t, "created", counts.Created, 1500)
	equal(t, "answers lost", f.lost.Load(), 6)
	equal(t, "events", len(b.events("")), 1550)
	b.noDuplicates()
}

func TestAppendWaitsWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	g := &gate{target: strings.TrimPrefix(b.server.URL(), "nats://")}
	nc, err := nats.Connect("127.0.0.1:1", nats.SetCustomDialer(g), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	must(t, err)
	defer nc.Close()
	l := openTestLog(t, jetStream(t, nc), "ours")
	l.timeout = 200 * time.Millisecond
	for n := range 3 {
		g.shut(true)
		done := make(chan error, 1)
		go func() {
			_, err := l.Append(t.Context(), polled(records(n*10, 10, day)...), moveTo(pageTime(n+1)))
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("appended without a server: %v", err)
		case <-time.After(500 * time.Millisecond): // the outage
		}
		g.shut(false)
		must(t, <-done)
	}
	equal(t, "events", len(b.events("")), 30)
	b.noDuplicates()
}

// gate is a dialer whose connections can be cut and refused.
type gate struct {
	target string
	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

func (g *gate) Dial(_, _ string) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errors.New("gate is shut")
	}
	conn, err := net.Dial("tcp", g.target)
	g.conns = append(g.conns, conn)
	return conn, err
}

func (g *gate) shut(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
	if closed {
		for _, c := range g.conns {
			c.Close()
		}
		g.conns = nil
	}
}
