package localpg_test

import (
	"context"
	"errors"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/localpg"
)

func TestKeptClusterKeepsDataAddressAndPassword(t *testing.T) {
	t.Parallel()
	dir := keptDir(t)
	c := start(t, localpg.Options{Dir: dir})
	exec(t, c.URL(""), "create table kept as select 42 as n")
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, localpg.Options{Dir: dir})
	if again.URL("") != c.URL("") {
		t.Errorf("was %s, is %s", c.URL(""), again.URL(""))
	}
	if got := query[int](t, again.URL(""), "select n from kept"); got != 42 {
		t.Errorf("row is %d", got)
	}
}

func TestKeptClusterMovesWhenItsPortIsTaken(t *testing.T) {
	t.Parallel()
	dir := keptDir(t)
	c := start(t, localpg.Options{Dir: dir, NoSync: true})
	cfg, err := pgx.ParseConfig(c.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	squatter, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(cfg.Port)})
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	go func() { // a squatter that hangs up, so that the attempt to log in ends
		for {
			conn, err := squatter.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	again := start(t, localpg.Options{Dir: dir, NoSync: true})
	if again.URL("") == c.URL("") {
		t.Error("it claims the port of somebody else")
	}
	if got := query[int](t, again.URL(""), "select 1"); got != 1 {
		t.Error("does not answer")
	}
}

func TestKeptClusterIsNeverOpenedByAnotherMajor(t *testing.T) {
	t.Parallel()
	dir := keptDir(t)
	c := start(t, localpg.Options{Dir: dir, Major: 15, NoSync: true})
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: dir, Major: 17})
	var folder *localpg.FolderError
	if !errors.As(err, &folder) || !strings.Contains(err.Error(), "15") || !strings.Contains(err.Error(), "17") {
		t.Fatalf("got %v, want both versions named", err)
	}
	if again := start(t, localpg.Options{Dir: dir, NoSync: true}); again.Major != 15 {
		t.Errorf("without a wish it runs %d, want the one of the data", again.Major)
	}
}

func TestTwoProcessesCannotRunOneFolder(t *testing.T) {
	t.Parallel()
	dir := keptDir(t)
	start(t, localpg.Options{Dir: dir, NoSync: true})
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another hubtail") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v, want the folder and the reason", err)
	}
}

func TestStaleLockIsRemoved(t *testing.T) {
	t.Parallel()
	dir := keptDir(t)
	c := start(t, localpg.Options{Dir: dir, NoSync: true})
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	lock, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	// The worst case: the process id in it is taken, by a process postgres thinks
	// could be a server. Ours is: it runs as the same user or as root.
	_, rest, _ := strings.Cut(string(lock), "\n")
	stale := "1\n" + rest
	if err := os.WriteFile(pidFile, []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, localpg.Options{Dir: dir, NoSync: true})
	if got := query[int](t, again.URL(""), "select 1"); got != 1 {
		t.Error("does not answer")
	}
}

func TestLockStaysWhileSomethingRunsInTheFolder(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/cwd"); err != nil {
		t.Log("nothing to see without /proc")
		return
	}
	dir := keptDir(t)
	c := start(t, localpg.Options{Dir: dir, NoSync: true})
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	backend := osexec.Command("sleep", "300") // stands for a backend that outlived its postmaster
	backend.Dir = filepath.Join(dir, "data")
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	if err := os.WriteFile(pidFile, []byte("999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	_, err := localpg.Start(ctx, localpg.Options{Dir: dir, NoSync: true})
	cancel()
	if err == nil || !strings.Contains(err.Error(), "still runs") {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := os.Stat(pidFile); err != nil {
		t.Errorf("lock: %v, want it untouched", err)
	}

	_ = backend.Process.Kill()
	_ = backend.Wait()
	start(t, localpg.Options{Dir: dir, NoSync: true})
}

func TestHalfMadeClusterIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := keptDir(t)
	half := filepath.Join(dir, "data.init")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, localpg.Options{Dir: dir, NoSync: true})
}

func TestLostPasswordIsSaid(t *testing.T) {
	t.Parallel()
	dir := keptDir(t)
	c := start(t, localpg.Options{Dir: dir, NoSync: true})
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "password")); err != nil {
		t.Fatal(err)
	}
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "password is missing") {
		t.Fatalf("got %v", err)
	}
}

func TestFolderPostgresCannotReachIsSaid(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root hands postgres to somebody else")
		return
	}
	closed := filepath.Join(keptDir(t), "closed")
	if err := os.MkdirAll(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: filepath.Join(closed, "postgres")})
	if err == nil || !strings.Contains(err.Error(), "cannot enter") || !strings.Contains(err.Error(), "root") {
		t.Fatalf("got %v, want the reason", err)
	}
}
