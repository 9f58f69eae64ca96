package main

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/connector/simulator"
)

// runBound is how long a command that ends by itself may take under a busy test run.
const runBound = 2 * time.Minute

// noRaceSleep saves the second that a process under the race detector waits at its end for reports to be written.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

// underTest is what makes the test binary hubtail, and keeps it from saying that it measures coverage.
func underTest(t testing.TB) []string {
	env := []string{asHubtail + "=1", noRaceSleep}
	if testing.CoverMode() != "" {
		env = append(env, "GOCOVERDIR="+t.TempDir())
	}
	return env
}

// result is what a user sees of a command that ended.
type result struct {
	code           int
	stdout, stderr string
}

// hubtail runs one command line in dir, with nothing else in its environment than env.
func hubtail(t testing.TB, dir string, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	// The default address may be another process's.
	cmd.Env = slices.Concat(underTest(t), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "HUBTAIL_ADMIN_ADDR=off"}, env)
	cmd.SysProcAttr = dieWithParent()
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("hubtail %q does not end: %s%s", args, stdout.String(), stderr.String())
	}
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// run runs a command on the stack; env comes after the stack's own.
func (s *stack) run(env []string, args ...string) result {
	s.t.Helper()
	return hubtail(s.t, s.t.TempDir(), append(s.environ(), env...), args...)
}

// must fails the test unless the command succeeds.
func (s *stack) must(env []string, args ...string) result {
	s.t.Helper()
	r := s.run(env, args...)
	if r.code != exitDone {
		s.t.Fatalf("hubtail %q: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r
}

// complaint fails the test unless the command ended with the exit code and says one line on standard error, with every
// word in it; it returns the line.
func (r result) complaint(t testing.TB, code int, words ...string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if r.code != code || len(lines) != 1 || !strings.HasPrefix(r.stderr, "hubtail: ") {
		t.Errorf("exit code %d, want %d and one line that begins with \"hubtail: \":\n%s", r.code, code, r.stderr)
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("%q does not say %q", r.stderr, word)
		}
	}
	return lines[0]
}

// smallPortal is quick to read: some records of every kind, no delays, search is never late.
func smallPortal() simulator.Options {
	return simulator.Options{
		Contacts: 130, Companies: 20, Deals: 15, Tickets: 10, Calls: 30, Owners: 5,
		BurstLimit: 1000, SearchLimit: 50, Latency: -1, IndexLag: simulator.Lag{Off: true},
	}
}

var portalObjects = []string{"contacts", "companies", "deals", "tickets", "calls", "owners"}

func queryRows(t testing.TB, conn *pgx.Conn, query string) []map[string]any {
	t.Helper()
	rows, err := conn.Query(context.Background(), query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return all
}

// withPassword puts a password into a database URL; a test cluster trusts its users and asks for none.
func withPassword(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	if _, has := u.User.Password(); !has {
		u.User = url.UserPassword(u.User.Username(), canary)
	}
	return u.String()
}
