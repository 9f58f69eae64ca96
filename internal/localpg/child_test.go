package localpg_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/localpg"
)

// childEnv makes the test binary a program that runs a cluster in the folder it
// names ("throwaway": none), until its standard input ends.
const childEnv = "LOCALPG_TEST_CHILD"

func runChild() {
	dir := os.Getenv(childEnv)
	if dir == "throwaway" {
		dir = ""
	}
	c, err := localpg.Start(context.Background(), localpg.Options{Dir: dir})
	if err != nil {
		fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
	fmt.Println("url", c.URL(""))
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := c.Stop(); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startChild runs such a program, as another user if credential says so.
func startChild(t *testing.T, dir string, credential *syscall.Credential) (cmd *osexec.Cmd, stdin io.Closer, url string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = osexec.Command(program)
	if credential != nil {
		cmd = osexec.Command(readable(t, program))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "url ")
	if !ok {
		t.Fatalf("child says %q, %v", line, err)
	}
	return cmd, in, url
}

// readable copies the test binary to where another user can run it.
func readable(t *testing.T, program string) string {
	t.Helper()
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	copied := keptDir(t)
	if err := os.WriteFile(copied, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return copied
}

// serverPid returns the process id of the server of a cluster.
func serverPid(t *testing.T, data string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone reports whether a process has ended; a zombie nobody reaps counts.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z")
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline.C:
			t.Fatalf("not within 30 s: %s", what)
		case <-tick.C:
		}
	}
}

func needProc(t *testing.T) bool {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Log("Linux only: needs /proc")
		return false
	}
	return true
}

func TestServerEndsWithItsProcessEvenByKill9(t *testing.T) {
	t.Parallel()
	if !needProc(t) {
		return
	}
	cmd, _, url := startChild(t, "throwaway", nil)
	data := query[string](t, url, "show data_directory")
	pid := serverPid(t, data)
	if gone(pid) {
		t.Fatal("the server is not there to begin with")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the server ends", func() bool { return gone(pid) })

	// What it could not remove, the next one does, a minute later at the earliest.
	dir := filepath.Dir(data)
	old := time.Now().Add(-2 * time.Minute)
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
	start(t, localpg.Options{NoSync: true})
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}

func TestKeptClusterStartsAgainAfterKill9OfEverything(t *testing.T) {
	t.Parallel()
	if !needProc(t) {
		return
	}
	dir := keptDir(t)
	cmd, _, url := startChild(t, dir, nil)
	exec(t, url, "create table kept as select 42 as n")
	pid := serverPid(t, filepath.Join(dir, "data"))
	// The server first: it has no time to shut down and leaves its lock.
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	c := start(t, localpg.Options{Dir: dir})
	if c.URL("") != url {
		t.Errorf("was %s, is %s", url, c.URL(""))
	}
	if got := query[int](t, c.URL(""), "select n from kept"); got != 42 {
		t.Errorf("row is %d", got)
	}
}

func TestKeptClusterStartsAgainWhileTheOldServerIsStopping(t *testing.T) {
	t.Parallel()
	if !needProc(t) {
		return
	}
	dir := keptDir(t)
	cmd, _, url := startChild(t, dir, nil)
	exec(t, url, "create table kept as select 42 as n")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	c := start(t, localpg.Options{Dir: dir}) // at once
	if got := query[int](t, c.URL(""), "select n from kept"); got != 42 {
		t.Errorf("row is %d", got)
	}
}

func TestOrdinaryUserNeedsNothing(t *testing.T) {
	t.Parallel()
	var nobody *syscall.Credential
	if os.Geteuid() == 0 {
		nobody = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	cmd, stdin, url := startChild(t, "throwaway", nobody)
	if got := query[string](t, url, "show is_superuser"); got != "on" {
		t.Errorf("is_superuser %s", got)
	}
	data := query[string](t, url, "show data_directory")
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); err == nil {
		t.Errorf("%s is still there", data)
	}
}

func TestRootRunsItAsSomebodyElse(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 || !needProc(t) {
		return
	}
	c := start(t, localpg.Options{NoSync: true})
	conn, err := pgx.Connect(t.Context(), c.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var data string
	if err := conn.QueryRow(t.Context(), "show data_directory").Scan(&data); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d", serverPid(t, data)))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 {
		t.Error("postgres runs as root")
	}
	parent, err := os.Stat(filepath.Dir(data))
	if err != nil {
		t.Fatal(err)
	}
	if uid := parent.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("the folder root writes to belongs to user %d, who could plant links there", uid)
	}
}
