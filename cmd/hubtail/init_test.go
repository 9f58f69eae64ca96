package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/joho/godotenv"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/internal/pgtest"
)

// portalAt starts a simulated portal and returns its address.
func portalAt(t testing.TB) string {
	t.Helper()
	s := simulator.New(smallPortal())
	address, err := s.Start("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return address
}

func readSettings(t testing.TB, file string) map[string]string {
	t.Helper()
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %04o", file, info.Mode().Perm())
	}
	values, err := godotenv.Read(file)
	must(t, err)
	return values
}

// TestInitLeavesALinkThatLeadsNowhere may have a file behind it on another day.
func TestInitLeavesALinkThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Symlink("nowhere/.env", filepath.Join(dir, ".env")))
	if r := hubtail(t, dir, nil, "init"); r.code != exitUsage || !strings.Contains(r.stderr, ".env is there already") {
		t.Errorf("%+v", r)
	}
	var s settings
	s.set("NATS_URL", "nats://127.0.0.1:1")
	if err := s.write(filepath.Join(dir, ".env")); err == nil || !strings.Contains(err.Error(), "link to a file that is not there") {
		t.Errorf("error %v", err)
	}
	if target, err := os.Readlink(filepath.Join(dir, ".env")); err != nil || target != "nowhere/.env" {
		t.Errorf("the link leads to %q: %v", target, err)
	}
}

// TestInitWritesWhatFlagsAndVariablesSay has no terminal: it asks nothing.
func TestInitWritesWhatFlagsAndVariablesSay(t *testing.T) {
	t.Parallel()
	dir, hubspot := t.TempDir(), portalAt(t)
	database := withPassword(t, pgtest.NewDatabase(t))
	server, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(t.TempDir(), "nats"), Listen: "127.0.0.1:0"})
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	env := []string{"HUBSPOT_ACCESS_TOKEN=pat-simulator", "HUBTAIL_HUBSPOT_URL=" + hubspot, "DATABASE_URL=" + database, "HUBSPOT_CLIENT_SECRET=" + canary + "-it's \"$x\" `y` \\z"}
	r := hubtail(t, dir, env, "init", "--nats-url", server.URL(), "--objects", "contacts, deals", "--schema", "crm", "--role", "least",
		"--webhook-url", "https://hooks.example.com/hubspot")
	requireNoSecret(t, r)
	if r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	for _, words := range []string{"portal 4711", "crm.objects.deals.read", "create role", "schema %I authorization", "least", "crm", "hubtail migrate --owner least --print", "contact.propertyChange", "deal.creation", "hubtail doctor", "hubtail source", "hubtail sink"} {
		if !strings.Contains(r.stdout, words) {
			t.Errorf("it does not say %q:\n%s", words, r.stdout)
		}
	}
	got := readSettings(t, filepath.Join(dir, ".env"))
	for name, want := range map[string]string{
		"HUBSPOT_ACCESS_TOKEN": "pat-simulator", "DATABASE_URL": database, "NATS_URL": server.URL(), "HUBTAIL_OBJECTS": "contacts,deals",
		"HUBTAIL_SCHEMA": "crm", "HUBTAIL_WEBHOOK_URL": "https://hooks.example.com/hubspot", "HUBTAIL_WEBHOOK_ADDR": "127.0.0.1:8090",
		"HUBTAIL_HUBSPOT_URL": hubspot, "HUBSPOT_CLIENT_SECRET": canary + "-it's \"$x\" `y` \\z",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	// What it wrote is what the other commands need.
	if r := hubtail(t, dir, nil, "sync"); r.code != exitDone {
		t.Errorf("%+v", r)
	}
	hubtail(t, dir, env, "init").complaint(t, exitUsage, ".env", "--force")
}

func TestInitKeepsOtherLines(t *testing.T) {
	t.Parallel()
	dir, hubspot := t.TempDir(), portalAt(t)
	file := filepath.Join(dir, ".env")
	const before = "# our settings\nexport TELEGRAM_TOKEN='abc def'\n\nHUBSPOT_API_KEY=pat-old # of the scripts\nMULTI=\"a\nb\"\nDATABASE_URL=postgres://old\nSUPABASE_ANON_KEY=x\n"
	must(t, os.WriteFile(file, []byte(before), 0o644))
	env := []string{"HUBTAIL_HUBSPOT_URL=" + hubspot, "SUPABASE_URL=https://abc.supabase.co", "SUPABASE_DB_PASSWORD=" + canary}
	r := hubtail(t, dir, append(env, "DATABASE_URL="), "init", "--force", "--no-check", "--hubspot-token", "pat-new")
	if requireNoSecret(t, r); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	text, err := os.ReadFile(file)
	must(t, err)
	for _, line := range []string{"# our settings\nexport TELEGRAM_TOKEN='abc def'\n\n", "\nHUBSPOT_API_KEY=pat-new\n", "\nMULTI=\"a\nb\"\n", "\nSUPABASE_ANON_KEY=x\n", "\nSUPABASE_URL=https://abc.supabase.co\n"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("%q is not there:\n%s", line, text)
		}
	}
	if got := readSettings(t, file); got["DATABASE_URL"] != "" || got["HUBSPOT_ACCESS_TOKEN"] != "" {
		t.Errorf("two values for one setting:\n%s", text)
	}
	must(t, os.WriteFile(file, []byte("HUBSPOT_API_KEY='\nx"), 0o600))
	r = hubtail(t, dir, env, "--env-file", "/dev/null", "init", "--force", "--no-check", "--hubspot-token", "pat-new")
	r.complaint(t, exitUsage, "line 1", "mend it")
	if text, _ := os.ReadFile(file); string(text) != "HUBSPOT_API_KEY='\nx" {
		t.Errorf("the file was changed:\n%s", text)
	}
}

func TestInitTriesEveryAnswer(t *testing.T) {
	t.Parallel()
	hubspot := portalAt(t)
	for name, test := range map[string]struct {
		env   []string
		args  string
		code  int
		words []string
	}{
		"nothing":      {nil, "", exitUsage, []string{"HUBSPOT_ACCESS_TOKEN", "DATABASE_URL"}},
		"wrong token":  {[]string{"HUBSPOT_ACCESS_TOKEN=pat-" + canary, "HUBTAIL_HUBSPOT_URL=" + hubspot}, "", exitFailed, []string{"does not accept the token"}},
		"no NATS":      {[]string{"HUBSPOT_ACCESS_TOKEN=pat-simulator", "HUBTAIL_HUBSPOT_URL=" + hubspot}, "--nats-url nats://127.0.0.1:1", exitFailed, []string{"nothing listens there"}},
		"no database":  {[]string{"DATABASE_URL=postgres://u:" + canary + "@127.0.0.1:1/x"}, "", exitFailed, []string{"nothing listens there"}},
		"no password":  {[]string{"SUPABASE_URL=https://abc.supabase.co"}, "", exitUsage, []string{"SUPABASE_DB_PASSWORD"}},
		"no type":      {[]string{"HUBSPOT_ACCESS_TOKEN=pat-simulator", "HUBTAIL_HUBSPOT_URL=" + hubspot}, "--objects boats", exitUsage, []string{`"boats"`, "p_<name>"}},
		"plain http":   {[]string{"HUBSPOT_ACCESS_TOKEN=pat-simulator", "HUBTAIL_HUBSPOT_URL=" + hubspot}, "--webhook-url http://hooks.example.com/x", exitUsage, []string{"https"}},
		"no directory": {[]string{"HUBSPOT_ACCESS_TOKEN=x"}, "--no-check --output /nonexistent/.env", exitFailed, []string{"/nonexistent"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := hubtail(t, dir, test.env, append([]string{"init"}, strings.Fields(test.args)...)...)
			requireNoSecret(t, r)
			r.complaint(t, test.code, test.words...)
			if entries, _ := os.ReadDir(dir); len(entries) > 0 {
				t.Errorf("files were left: %v", entries)
			}
		})
	}
}

// person is somebody at a terminal.
type person struct {
	t      *testing.T
	tty    *os.File
	screen lockedBuffer
	read   chan struct{} // closed when the terminal is gone
	cmd    *exec.Cmd
}

func sitDown(t *testing.T, dir string, env []string, args ...string) *person {
	t.Helper()
	p := &person{t: t, read: make(chan struct{}), cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Dir = dir
	p.cmd.Env = slices.Concat(underTest(t), []string{"TERM=xterm", "HOME=" + dir}, env)
	var err error
	if p.tty, err = pty.StartWithSize(p.cmd, &pty.Winsize{Rows: 50, Cols: 200}); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.read)
		buf := make([]byte, 4096)
		for {
			n, err := p.tty.Read(buf)
			_, _ = p.screen.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.tty.Close(); <-p.read })
	return p
}

// answer waits until the screen ends with a question that has the words, and types.
func (p *person) answer(question, text string) {
	p.t.Helper()
	deadline := time.Now().Add(runBound)
	for {
		lines := strings.Split(strings.TrimRight(p.text(), "\n"), "\n")
		if last := lines[len(lines)-1]; strings.Contains(last, question) && strings.HasSuffix(last, ": ") {
			break
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("it does not ask for %q:\n%s", question, p.text())
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := p.tty.WriteString(text + "\r"); err != nil {
		p.t.Fatal(err)
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

func (p *person) text() string {
	return strings.ReplaceAll(escapes.ReplaceAllString(p.screen.String(), ""), "\r", "")
}

// leave waits for the end and returns the exit code.
func (p *person) leave() int {
	p.t.Helper()
	_ = p.cmd.Wait()
	<-p.read
	return p.cmd.ProcessState.ExitCode()
}

// TestInitAsksAPersonAtATerminal has a person who mistypes.
func TestInitAsksAPersonAtATerminal(t *testing.T) {
	t.Parallel()
	dir, database := t.TempDir(), withPassword(t, pgtest.NewDatabase(t))
	p := sitDown(t, dir, []string{"HUBTAIL_HUBSPOT_URL=" + portalAt(t)}, "init")
	p.answer("private app token", "pat-wrong"+canary)
	p.answer("private app token", "pat-simulator")
	p.answer("Object types [contacts,companies", "contacts,boats")
	p.answer("Object types", "contacts,tickets")
	p.answer("NATS server", "")
	p.answer("Database", "postgres://x:"+canary+"@127.0.0.1:1/x")
	p.answer("Database", database)
	p.answer("Schema of the tables [hubspot]", "")
	p.answer("webhooks call", "https://hooks.example.com/h")
	p.answer("Client secret", "secret-"+canary)
	if code := p.leave(); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, p.text())
	}
	screen := p.text()
	if strings.Contains(screen, canary) || strings.Contains(screen, "pat-simulator") {
		t.Errorf("a secret is on the screen:\n%s", screen)
	}
	for _, words := range []string{"does not accept the token", `no object type is called "boats"`, "portal 4711", "nothing listens there", "hubtail up", "ticket.creation"} {
		if !strings.Contains(screen, words) {
			t.Errorf("it does not say %q:\n%s", words, screen)
		}
	}
	got := readSettings(t, filepath.Join(dir, ".env"))
	for name, want := range map[string]string{
		"HUBSPOT_ACCESS_TOKEN": "pat-simulator", "HUBTAIL_OBJECTS": "contacts,tickets", "DATABASE_URL": database, "HUBTAIL_SCHEMA": "hubspot",
		"HUBSPOT_CLIENT_SECRET": "secret-" + canary, "HUBTAIL_WEBHOOK_URL": "https://hooks.example.com/h", "NATS_URL": "",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	// Once more: Enter keeps everything.
	before, err := os.ReadFile(filepath.Join(dir, ".env"))
	must(t, err)
	p = sitDown(t, dir, nil, "init", "--overwrite")
	for _, question := range []string{"pat-... [as it is]", "Object types [contacts,tickets]", "NATS server", "Database URL, or https://<project>.supabase.co [as it is]", "[hubspot]", "[https://hooks.example.com/h]", "Client secret of the private app (its Auth tab) [as it is]"} {
		p.answer(question, "")
	}
	if code := p.leave(); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, p.text())
	}
	if after, _ := os.ReadFile(filepath.Join(dir, ".env")); !bytes.Equal(before, after) {
		t.Errorf("the file was\n%s\nand is\n%s", before, after)
	}
}

func TestInitCanBeLeftWithoutATrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := sitDown(t, dir, nil, "init")
	p.answer("private app token", "\x03")
	if code := p.leave(); code != exitFailed || !strings.Contains(p.text(), "interrupted") {
		t.Errorf("exit code %d\n%s", code, p.text())
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("files were left: %v", entries)
	}
}
