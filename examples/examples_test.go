// Package examples_test runs every example against a real NATS server with a log in it.
package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/schemas"
)

// languages are how an example of a name is started, and why not.
var languages = map[string]func(t *testing.T, name string, args ...string) *exec.Cmd{
	"go": func(t *testing.T, name string, args ...string) *exec.Cmd {
		binary := filepath.Join(t.TempDir(), name)
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./go/"+name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return exec.Command(binary, args...)
	},
	"typescript": func(t *testing.T, name string, args ...string) *exec.Cmd {
		tsx := filepath.Join("typescript", "node_modules", "tsx", "dist", "cli.mjs")
		if !exists(tsx) {
			skip(t, "(cd examples/typescript && npm ci)")
		}
		return exec.Command("node", append([]string{tsx, "typescript/" + name + ".ts"}, args...)...)
	},
	"python": func(t *testing.T, name string, args ...string) *exec.Cmd {
		if err := exec.Command("python3", "-c", "import nats").Run(); err != nil {
			skip(t, "pip install -r examples/python/requirements.txt")
		}
		return exec.Command("python3", append([]string{"-u", "python/" + name + ".py"}, args...)...)
	},
}

// skip leaves a language out whose NATS client is not installed, and has it counted.
func skip(t *testing.T, install string) {
	pgtest.Count(t, "examples", "skipped (not installed: "+install+")")
	t.Skip("not installed: " + install)
}

// inEveryLanguage runs a test for the example in each language.
func inEveryLanguage(t *testing.T, name string, test func(t *testing.T, l *log, start func(args ...string) *program)) {
	t.Parallel()
	for language, command := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			test(t, l, func(args ...string) *program { return l.start(command(t, name, args...)) })
		})
	}
}

// TestLifecycleTellsOfStagesThatChange: no news are records that a full read sees first, and other changes.
func TestLifecycleTellsOfStagesThatChange(t *testing.T) {
	inEveryLanguage(t, "lifecycle", func(t *testing.T, l *log, start func(...string) *program) {
		p := start()
		p.wait("waiting for changes")
		l.append("contacts", "1", schemas.OpSnapshot, map[string]string{"lifecyclestage": "lead"})
		l.append("contacts", "1", schemas.OpUpdated, map[string]string{"lifecyclestage": "lead", "email": "a@example.com"})
		l.append("contacts", "1", schemas.OpUpdated, map[string]string{"lifecyclestage": "customer"})
		p.wait(`contact 1: lifecycle stage "lead" -> "customer"`)
		p.stop()
		l.append("contacts", "1", schemas.OpUpdated, map[string]string{"lifecyclestage": "evangelist"})
		p = start() // what came while it was away is not lost
		p.wait(`contact 1: lifecycle stage "customer" -> "evangelist"`)
		if n := strings.Count(p.stop(), "contact 1"); n != 1 {
			t.Errorf("%d changes, want 1", n)
		}
	})
}

func TestMirrorStartsFromTheStateAndFollows(t *testing.T) {
	inEveryLanguage(t, "mirror", func(t *testing.T, l *log, start func(...string) *program) {
		for _, id := range []string{"1", "2", "3"} {
			l.append("deals", id, schemas.OpSnapshot, map[string]string{"dealname": "Deal " + id})
			l.append("deals", id, schemas.OpUpdated, map[string]string{"dealname": "Deal " + id, "amount": "5"})
		}
		l.append("deals", "3", schemas.OpArchived, map[string]string{"dealname": "Deal 3"})
		p := start()
		p.wait("the state is complete: 2 deals")
		l.append("deals", "4", schemas.OpCreated, map[string]string{"dealname": "Deal 4"})
		p.wait("deal 4 created; 3 deals")
		l.append("deals", "1", schemas.OpArchived, map[string]string{"dealname": "Deal 1"})
		p.wait("deal 1 archived; 2 deals")
		p.stop()
	})
}

func TestWorkerTriesAgainUntilTheOtherSideTakesIt(t *testing.T) {
	inEveryLanguage(t, "worker", func(t *testing.T, l *log, start func(...string) *program) {
		var r receiver
		r.refuse = 1
		slack := httptest.NewServer(&r)
		defer slack.Close()
		p := start(slack.URL)
		p.wait("waiting for changes")
		l.append("companies", "7", schemas.OpCreated, map[string]string{"name": "Acme"})
		waitFor(t, "the company arrives", func() bool { return r.taken(`"name":"Acme"`) == 1 })
		if keys := r.ids(); len(keys) != 2 || keys[0] != keys[1] || !strings.HasPrefix(keys[0], "companies:7:") {
			t.Errorf("idempotency keys %q", keys)
		}
		p.stop()
	})
}

func TestClosedWonTellsOfEachDealOnce(t *testing.T) {
	inEveryLanguage(t, "closedwon", func(t *testing.T, l *log, start func(...string) *program) {
		var r receiver
		slack := httptest.NewServer(&r)
		defer slack.Close()
		l.env = append(l.env, "SLACK_WEBHOOK_URL="+slack.URL)
		p := start()
		p.wait("waiting for deals")
		l.append("deals", "9", schemas.OpCreated, map[string]string{"dealname": "<!channel> & co", "dealstage": "closedwon"})
		p.wait("Won: &lt;!channel&gt; &amp; co (no amount)")
		won := map[string]string{"dealname": "Big one", "amount": "900", "dealstage": "closedwon"}
		l.append("deals", "1", schemas.OpSnapshot, won)
		l.append("deals", "2", schemas.OpCreated, map[string]string{"dealname": "Big one", "dealstage": "qualified"})
		l.append("deals", "2", schemas.OpUpdated, won)
		l.append("deals", "2", schemas.OpUpdated, map[string]string{"dealname": "Bigger", "amount": "900", "dealstage": "closedwon"})
		l.append("deals", "3", schemas.OpCreated, map[string]string{"dealname": "Last", "dealstage": "closedwon"})
		p.wait("Won: Last (no amount)")
		waitFor(t, "Slack is told", func() bool { return r.taken("Won: Last (no amount)") == 1 })
		if n := r.taken("Won: Big one (900)"); n != 1 || r.taken("Won: ") != 3 {
			t.Errorf("told %q", r.all())
		}
		p.stop()
	})
}

// TestExamplesFitTheirLanguage is a compiler's view, of the examples that run without one: types with those of the client
// library, Python's syntax even where its client is not installed.
func TestExamplesFitTheirLanguage(t *testing.T) {
	t.Parallel()
	check := func(command ...string) {
		t.Helper()
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", command, err, out)
		}
	}
	if files, err := filepath.Glob("python/*.py"); err != nil || len(files) < 4 {
		t.Errorf("%v, %v", files, err)
	} else if _, err := exec.LookPath("python3"); err == nil {
		check(append([]string{"python3", "-c", "import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]"}, files...)...)
	}
	if tsc := filepath.Join("typescript", "node_modules", "typescript", "lib", "tsc.js"); !exists(tsc) {
		skip(t, "(cd examples/typescript && npm ci)")
	} else {
		check("node", tsc, "--noEmit", "-p", "typescript")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// log is a log that a test writes.
type log struct {
	t    *testing.T
	js   jetstream.JetStream
	env  []string
	last map[string]*schemas.Event
	seqs map[string]uint64
}

// newLog is a log on a server with deploy/nats/permissions.conf: the examples are the user reader, the test is the source.
func newLog(t *testing.T) *log {
	file := filepath.Join(t.TempDir(), "nats.conf")
	conf, err := os.ReadFile(filepath.Join("..", "deploy", "nats", "permissions.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range [][2]string{{"$NATS_STORE", t.TempDir()}, {"$NATS_SOURCE_PASSWORD", "s"}, {"$NATS_SINK_PASSWORD", "k"}, {"$NATS_READER_PASSWORD", "r"}} {
		conf = bytes.ReplaceAll(conf, []byte(variable[0]), []byte(strconv.Quote(variable[1])))
	}
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
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
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("source", "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "HUBSPOT", Subjects: []string{"hubspot.>"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	reader := "NATS_URL=nats://reader:r@" + s.Addr().String()
	return &log{t: t, js: js, env: append(os.Environ(), reader), last: map[string]*schemas.Event{}, seqs: map[string]uint64{}}
}

// append adds an event with the record's new state.
func (l *log) append(object, id string, op schemas.Op, values map[string]string) {
	l.t.Helper()
	key := object + "." + id
	e := &schemas.Event{
		Portal: "4711", Object: object, ObjectTypeID: "0-1", ID: id, Op: op, Origin: schemas.OriginPoll,
		UpdatedAt: time.Now().UTC().Truncate(time.Millisecond), Properties: schemas.MakeProperties(values), PreviousSeq: l.seqs[key],
		Archived: op == schemas.OpArchived,
	}
	if before := l.last[key]; before != nil {
		e.Changed, e.Previous = schemas.Diff(before.Properties, e.Properties)
	}
	m := e.Encode()
	ack, err := l.js.PublishMsg(l.t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if err != nil {
		l.t.Fatal(err)
	}
	l.last[key], l.seqs[key] = e, ack.Sequence
}

// program is an example that runs.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}

	mu     sync.Mutex // guards output
	output strings.Builder
}

func (l *log) start(cmd *exec.Cmd) *program {
	l.t.Helper()
	p := &program{t: l.t, cmd: cmd, done: make(chan struct{})}
	cmd.Env = l.env
	reader, writer, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	writer.Close()
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.output, lines.Text())
			p.mu.Unlock()
		}
		_, _ = io.Copy(io.Discard, reader)
		reader.Close()
	}()
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
		_ = cmd.Wait()
	})
	return p
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func (p *program) wait(line string) {
	p.t.Helper()
	waitFor(p.t, line, func() bool { return strings.Contains(p.text(), line) }, p.text)
}

// stop interrupts the program, as Ctrl-C does, and returns what it said.
func (p *program) stop() string {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.t.Fatalf("does not stop:\n%s", p.text())
	}
	return p.text()
}

func waitFor(t *testing.T, what string, condition func() bool, saying ...func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			said := ""
			for _, s := range saying {
				said += "\n" + s()
			}
			t.Fatalf("not within a minute: %s%s", what, said)
		}
	}
}

// receiver stands for another system: it refuses some requests first.
type receiver struct {
	mu     sync.Mutex // guards all below
	refuse int
	keys   []string
	bodies []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, request.Header.Get("Idempotency-Key"))
	if r.refuse > 0 {
		r.refuse--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var any json.RawMessage
	if json.Unmarshal(body, &any) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.bodies = append(r.bodies, string(body))
}

// taken returns how many of the bodies taken have the text.
func (r *receiver) taken(text string) (n int) {
	for _, body := range r.all() {
		if strings.Contains(body, text) {
			n++
		}
	}
	return n
}

func (r *receiver) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.bodies)
}

func (r *receiver) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.keys)
}
