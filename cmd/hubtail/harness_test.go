package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/internal/proof"
)

// asHubtail in the environment makes the test binary the hubtail command: a real process to start and to kill.
const asHubtail = "HUBTAIL_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asHubtail) != "" {
		main()
		return
	}
	if options := os.Getenv(asNode); options != "" {
		runNode(options)
		return
	}
	pgtest.Main(m)
}

// stack is a simulated HubSpot, a NATS server and a database that processes under test share.
type stack struct {
	t         testing.TB
	simulator *simulator.Simulator
	hubspot   string
	nats      string
	js        jetstream.JetStream
	database  string
	env       []string // added to every process' environment
}

func newStack(t testing.TB, portal simulator.Options) *stack {
	t.Helper()
	s := &stack{t: t, database: pgtest.NewDatabase(t)}
	s.simulator = simulator.New(portal)
	var err error
	if s.hubspot, err = s.simulator.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.simulator.Close() })
	server, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(t.TempDir(), "nats"), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	s.nats = server.URL()
	nc, err := server.Connect()
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
	return s
}

// environ is the environment of a process under test: nothing of ours leaks in.
func (s *stack) environ() []string {
	return slices.Concat(underTest(s.t), []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + s.t.TempDir(),
		"HUBTAIL_HUBSPOT_URL=" + s.hubspot,
		"HUBSPOT_ACCESS_TOKEN=" + "pat-simulator",
		"NATS_URL=" + s.nats,
		"DATABASE_URL=" + s.database,
		"HUBTAIL_POLL_INTERVAL=500ms",
		"HUBTAIL_SETTLE_TIME=2s",
		"HUBTAIL_LOG_LEVEL=warn",
		"HUBTAIL_ADMIN_ADDR=off",
	}, s.env)
}

// process is a running hubtail command.
type process struct {
	cmd    *exec.Cmd
	output lockedBuffer
	done   chan struct{}
	err    error // valid once done is closed
}

func (s *stack) start(args ...string) *process {
	s.t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	p.cmd.Dir = s.t.TempDir()
	p.cmd.Env = s.environ()
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = dieWithParent()
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	s.t.Cleanup(func() { p.kill() })
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop is what a service manager does; it returns the exit code.
func (p *process) stop(t testing.TB) int {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopBound + 5*time.Second):
		p.kill()
		t.Fatalf("%v does not stop; it wrote:\n%s", p.cmd.Args[1:], p.output.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// lockedBuffer is a buffer that a process writes while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually waits for a condition, and fails the test with what processes wrote if it does not come.
func (s *stack) eventually(within time.Duration, what string, condition func() bool, processes ...*process) {
	s.t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		why := ""
		select {
		case <-tick.C:
		case <-deadline:
			why = "it took more than " + within.String()
		}
		for _, p := range processes {
			select {
			case <-p.done:
				why = fmt.Sprintf("%v ended: %v", p.cmd.Args[1:], p.err)
			default:
			}
		}
		if why != "" {
			var output strings.Builder
			for _, p := range processes {
				output.WriteString(strings.Join(p.cmd.Args[1:], " ") + ":\n" + p.output.String())
			}
			s.t.Fatalf("%s: %s\n%s", what, why, output.String())
		}
	}
}

// lastSeq returns the stream's last sequence, 0 while there is no stream.
func (s *stack) lastSeq() uint64 {
	stream, err := s.js.Stream(context.Background(), "HUBSPOT")
	if err != nil {
		return 0
	}
	return stream.CachedInfo().State.LastSeq
}

func (s *stack) connect() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.database)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// completeThrough reports whether the tables hold everything modified before at.
func (s *stack) completeThrough(conn *pgx.Conn, objects []string, at time.Time) bool {
	var n int
	err := conn.QueryRow(context.Background(),
		"select count(*) from hubspot.cursors where object = any($1) and complete_through >= $2", objects, at).Scan(&n)
	return err == nil && n == len(objects)
}

// requireLinks fails the test unless the links between the object types equal the source's.
func (s *stack) requireLinks(conn *pgx.Conn, objects []string) {
	s.t.Helper()
	objects = slices.DeleteFunc(slices.Clone(objects), func(object string) bool { return object == "owners" })
	r, err := proof.CompareLinks(context.Background(), conn, "hubspot", s.hubspot, objects...)
	if err != nil {
		s.t.Fatal(err)
	}
	if !r.Equal() || r.Source == 0 {
		s.t.Errorf("links: %d in the source, %d missing, %d superfluous, %d different\n%s", r.Source, r.Missing, r.Extra, r.Different, strings.Join(r.Examples, "\n"))
	}
}

// requireEqual fails the test unless every table equals the source.
func (s *stack) requireEqual(conn *pgx.Conn, objects []string) {
	s.t.Helper()
	for _, object := range objects {
		truth := proof.Truth(context.Background(), s.hubspot, object)
		if object == "owners" {
			truth = proof.Owners(context.Background(), s.hubspot, "pat-simulator")
		}
		r, err := proof.Compare(context.Background(), conn, "hubspot", object, truth)
		if err != nil {
			s.t.Fatal(err)
		}
		if !r.Equal() {
			s.t.Errorf("%s: %d missing, %d superfluous, %d different\n%s", object, r.Missing, r.Extra, r.Different, strings.Join(r.Examples, "\n"))
		}
		if r.Source == 0 {
			s.t.Errorf("%s: nothing to compare", object)
		}
	}
}
