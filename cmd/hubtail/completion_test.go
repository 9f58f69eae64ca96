package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// completions asks a real bash what it would offer for the last word.
func completions(t testing.TB, script string, words ...string) []string {
	t.Helper()
	bash := exec.Command("bash", "--norc", "-c", `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _hubtail; printf '%s\n' "${COMPREPLY[@]}"`,
		"bash", script)
	bash.Args = append(bash.Args, words...)
	out, err := bash.Output()
	if err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	return strings.Fields(string(out))
}

func completionScript(t testing.TB, shell string) (file, text string) {
	t.Helper()
	r := hubtail(t, t.TempDir(), secrets(), "completion", shell)
	if requireNoSecret(t, r); r.code != exitDone || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	file = filepath.Join(t.TempDir(), "completion."+shell)
	must(t, os.WriteFile(file, []byte(r.stdout), 0o600))
	return file, r.stdout
}

func TestBashCompletesCommandsFlagsAndObjects(t *testing.T) {
	t.Parallel()
	script, _ := completionScript(t, "bash")
	for line, want := range map[string]string{
		"hubtail doct":                                 "doctor",
		"hubtail --env":                                "--env-file",
		"hubtail --env-file x doct":                    "doctor",
		"hubtail source --poll":                        "--poll-interval",
		"hubtail source --stream doctor --poll":        "--poll-interval",
		"hubtail dead-letters red":                     "redrive",
		"hubtail backfill comp":                        "companies",
		"hubtail source --objects tick":                "tickets",
		"hubtail source --objects contacts,tick":       "contacts,tickets",
		"hubtail sync --log-format j":                  "json",
		"hubtail completion --log-level w":             "warn",
		"hubtail --env-file " + script[:len(script)-3]: script,
	} {
		if got := completions(t, script, strings.Split(line, " ")...); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	all := completions(t, script, "hubtail", "")
	for _, c := range commands() {
		if !c.Hidden && !slices.Contains(all, c.Name) {
			t.Errorf("%s is not offered", c.Name)
		}
		offered := completions(t, script, "hubtail", c.Name, "--")
		for _, f := range c.VisibleFlags() {
			if !slices.Contains(offered, option(f)) {
				t.Errorf("%s %s is not offered", c.Name, option(f))
			}
		}
	}
	// Nothing on the line is run, as it would be by the completion that comes with the library.
	trap := filepath.Join(t.TempDir(), "trap")
	completions(t, script, "hubtail", "$(touch "+trap+")", "`touch "+trap+"`", "--objects", "$(touch "+trap+"),c")
	if _, err := os.Stat(trap); err == nil {
		t.Error("a word of the line was run")
	}
}

// TestTheTabKeyCompletes presses it.
func TestTheTabKeyCompletes(t *testing.T) {
	t.Parallel()
	script, _ := completionScript(t, "bash")
	bash := exec.Command("bash", "--norc", "--noprofile", "-i")
	bash.Env = []string{"TERM=dumb", "PATH=" + os.Getenv("PATH"), "PS1=$ ", "HOME=" + t.TempDir()}
	tty, err := pty.StartWithSize(bash, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	var screen lockedBuffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			_, _ = screen.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = bash.Process.Kill(); _ = bash.Wait(); _ = tty.Close(); <-read })
	if _, err := tty.WriteString("source " + script + "\nhubtail webh\t--chec\t"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(runBound); !strings.Contains(screen.String(), "hubtail webhooks --check "); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it has completed nothing:\n%s", screen.String())
		}
	}
}

// TestZshAndFishReadTheirCompletion needs these shells for more than a look at the text.
func TestZshAndFishReadTheirCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"zsh", "fish"} {
		script, text := completionScript(t, shell)
		for _, words := range []string{"doctor", "log-level", "companies", "redrive"} {
			if !strings.Contains(text, words) {
				t.Errorf("%s: no %s", shell, words)
			}
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("no %s here to read it", shell)
			continue
		}
		if out, err := exec.Command(shell, "-n", script).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", shell, err, out)
		}
	}
	hubtail(t, t.TempDir(), nil, "completion").complaint(t, exitUsage, "bash, zsh and fish")
	hubtail(t, t.TempDir(), nil, "completion", "tcsh").complaint(t, exitUsage, `"tcsh"`)
}
