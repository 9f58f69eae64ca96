package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/internal/pgtest"
)

// demoRun is a demo of a small portal, with a temporary folder of its own.
type demoRun struct {
	*process
	t    *testing.T
	s    *stack // for its helpers; the demo has parts of its own
	temp string
}

func startDemo(t *testing.T, env []string, args ...string) *demoRun {
	t.Helper()
	// Not t.TempDir: the account that Postgres runs as must be let through.
	temp, err := os.MkdirTemp("", "hubtail-test-")
	must(t, err)
	must(t, os.Chmod(temp, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	s := &stack{t: t}
	s.env = append([]string{"TMPDIR=" + temp, "NATS_URL=", "DATABASE_URL=", "HUBSPOT_ACCESS_TOKEN=", "HUBTAIL_HUBSPOT_URL=", "HUBTAIL_LOG_LEVEL="}, env...)
	size := []string{"demo", "--contacts", "300", "--companies", "40", "--deals", "30", "--tickets", "20", "--calls", "60"}
	return &demoRun{s.start(append(size, args...)...), t, s, temp}
}

// printed returns the first group of what the demo prints once it does.
func (d *demoRun) printed(pattern string) string {
	d.t.Helper()
	return d.s.printed(d.process, pattern)
}

// end waits for the demo to end by itself, and checks its exit code and that nothing is left of it.
func (d *demoRun) end(code int) string {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(2 * runBound):
		d.t.Fatalf("it does not end:\n%s", d.output.String())
	}
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		d.t.Errorf("exit code %d, want %d\n%s", got, code, d.output.String())
	}
	left, err := os.ReadDir(d.temp)
	if err != nil || len(left) > 0 {
		d.t.Errorf("left behind: %v %v", left, err)
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, command := range commands {
		if text, _ := os.ReadFile(command); strings.Contains(string(text), d.temp) {
			d.t.Errorf("still running: %q", text)
		}
	}
	return d.output.String()
}

// TestDemoEndsWithAVerdict runs the demo where there is no terminal, on a server of the user's.
func TestDemoEndsWithAVerdict(t *testing.T) {
	t.Parallel()
	server := withPassword(t, pgtest.NewDatabase(t))
	d := startDemo(t, []string{"DATABASE_URL=" + server}, "--for", "2s", "--changes", "20")
	if first := strings.SplitN(d.printed(`^(.*\n)`), "\n", 2)[0]; !regexp.MustCompile(`DATABASE_URL.*database of its own, hubtail_demo_\d+, and drops it`).MatchString(first) {
		t.Errorf("the first line is %q", first)
	}
	d.printed(`psql '(postgres[^']*hubtail_demo_\d+[^']*)'`)
	watchNATS(t, d.printed(`NATS +(nats://\S+)`))
	output := d.end(exitDone)
	for _, want := range []string{
		`HubSpot +http://127\.0\.0\.1:\d+ \(simulated\)`, `nats -s nats://\S+ sub 'hubspot\.\*\.contacts\.>'`, `DATABASE_URL`,
		`contacts \d+/300`, `\d{3} records read, logged and committed`, `0 of them refused \(429\)`, `Live: `, `rows changed; from HubSpot to the row`,
		`contacts +3\d\d records +3\d\d rows .* equal`, `owners .* equal`, `deals pipelines .* equal`, `VERDICT: the tables equal the source\.`,
	} {
		if !regexp.MustCompile(want).MatchString(output) {
			t.Errorf("it does not print %s", want)
		}
	}
	if t.Failed() {
		t.Log(output)
	}
	if strings.Contains(output, "everything is private") {
		t.Error("it calls the user's server private")
	}
	if strings.Contains(output, canary) || strings.Contains(output, "\x1b[") {
		t.Errorf("a password, or a terminal's codes, in\n%s", output)
	}
	conn, err := pgx.Connect(context.Background(), server)
	must(t, err)
	defer conn.Close(context.Background())
	var databases int
	must(t, conn.QueryRow(context.Background(), "select count(*) from pg_database where datname = $1", fmt.Sprintf("hubtail_demo_%d", d.cmd.Process.Pid)).Scan(&databases))
	if databases != 0 {
		t.Error("its database is still there")
	}
}

// watchNATS sees an event as the user does who follows the hint on the screen.
func watchNATS(t *testing.T, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	sub, err := nc.SubscribeSync("hubspot.*.contacts.>")
	must(t, err)
	m, err := sub.NextMsg(runBound)
	must(t, err)
	requireEvent(t, compileSchema(t, "event"), m)
}

// TestDemoFindsASabotagedTable changes values behind its back, through the address on the screen.
func TestDemoFindsASabotagedTable(t *testing.T) {
	t.Parallel()
	d := startDemo(t, nil, "--for", "1s")
	database := d.printed(`psql '([^']+)'`)
	d.printed(`(Live: )`)
	conn, err := pgx.Connect(context.Background(), database)
	must(t, err)
	_, err = conn.Exec(context.Background(), "update hubspot.companies set name = 'sabotage' where id in (select id from hubspot.companies order by id limit 20)")
	must(t, err)
	must(t, conn.Close(context.Background()))
	output := d.end(exitFailed)
	for _, want := range []string{`companies .* DIFFERENT: 0 missing, 0 superfluous, \d+ with a wrong value`, `name is "sabotage"`,
		`VERDICT: the tables DIFFER from the source`, `hubtail: the tables differ from the source`} {
		if !regexp.MustCompile(want).MatchString(output) {
			t.Errorf("it does not say %s:\n%s", want, output)
		}
	}
}

// TestInterruptedDemoFailsAndLeavesNothing presses Ctrl-C at several moments.
func TestInterruptedDemoFailsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for moment, pattern := range map[string]string{
		"starting": `(everything is private)`, "loading": `(psql )`, "live": `(Live: )`,
	} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			d := startDemo(t, nil, "--for", "30s")
			d.printed(pattern)
			if err := d.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			if output := d.end(exitFailed); strings.Contains(output, "VERDICT") || !strings.Contains(output, "interrupted before") {
				t.Errorf("%s", output)
			}
		})
	}
}

// TestDemoKeepsItsDataWhereItIsTold looks at the folder afterwards; a second demo would not know its log.
func TestDemoKeepsItsDataWhereItIsTold(t *testing.T) {
	t.Parallel()
	kept, err := os.MkdirTemp("", "hubtail-test-kept-")
	must(t, err)
	must(t, os.Chmod(kept, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(kept) })
	dir := filepath.Join(kept, "data")
	d := startDemo(t, nil, "--for", "30s", "--data-dir", dir)
	d.printed(`(Live: )`)
	must(t, d.cmd.Process.Signal(os.Interrupt))
	d.end(exitFailed)
	for _, part := range []string{"nats/jetstream", "postgres"} {
		if entries, err := os.ReadDir(filepath.Join(dir, part)); err != nil || len(entries) == 0 {
			t.Errorf("%s is not kept: %v", part, err)
		}
	}
	startDemo(t, nil, "--data-dir", dir).end(exitUsage)
}

// TestDemoWithoutTheUsersServerStartsItsOwn has a role that may not create a database, and a server that is down.
func TestDemoWithoutTheUsersServerStartsItsOwn(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	conn, err := pgx.Connect(context.Background(), database)
	must(t, err)
	defer conn.Close(context.Background())
	role := fmt.Sprintf("hubtail_demo_reader_%d", os.Getpid())
	_, err = conn.Exec(context.Background(), "create role "+role+" login password '"+canary+"'")
	must(t, err)
	defer func() { _, _ = conn.Exec(context.Background(), "drop role "+role) }()
	u, err := url.Parse(database)
	must(t, err)
	u.User = url.UserPassword(role, canary)
	for name, given := range map[string]string{"no right": u.String(), "down": "postgres://user:" + canary + "@127.0.0.1:1/x"} {
		t.Run(name, func(t *testing.T) {
			d := startDemo(t, []string{"DATABASE_URL=" + given}, "--for", "1s")
			output := d.end(exitDone)
			if !regexp.MustCompile(`that does not work \(.+\): it starts a private server`).MatchString(output) || strings.Contains(output, canary) {
				t.Errorf("%s", output)
			}
		})
	}
}

// TestDemoWhoseOutputIsClosedLeavesNothing is `hubtail demo | head -1`.
func TestDemoWhoseOutputIsClosedLeavesNothing(t *testing.T) {
	t.Parallel()
	temp, err := os.MkdirTemp("", "hubtail-test-")
	must(t, err)
	must(t, os.Chmod(temp, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	s := &stack{t: t, env: []string{"TMPDIR=" + temp, "DATABASE_URL=", "HUBTAIL_LOG_LEVEL="}}
	reader, writer, err := os.Pipe()
	must(t, err)
	var stderr lockedBuffer
	cmd := exec.Command(os.Args[0], "demo", "--contacts", "300", "--for", "30s")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = t.TempDir(), s.environ(), writer, &stderr, dieWithParent()
	must(t, cmd.Start())
	must(t, writer.Close())
	_, err = bufio.NewReader(reader).ReadString('\n')
	must(t, err)
	must(t, reader.Close())
	d := &demoRun{&process{cmd: cmd, done: make(chan struct{})}, t, s, temp}
	go func() { d.err = cmd.Wait(); close(d.done) }()
	t.Cleanup(d.kill)
	d.end(exitFailed)
	if !strings.Contains(stderr.String(), "nobody reads the output") {
		t.Errorf("%s", stderr.String())
	}
}
