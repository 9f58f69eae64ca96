package browser

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// bound is how long anything here may take on a busy machine.
const bound = 2 * time.Minute

// output is what a process wrote.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// wait returns the first group of a pattern once that was written.
func (o *output) wait(t *testing.T, pattern string) string {
	t.Helper()
	find := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(bound); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		o.mu.Lock()
		m := find.FindStringSubmatch(o.buf.String())
		o.mu.Unlock()
		if m != nil {
			return m[1]
		}
	}
	t.Fatalf("%s was not written:\n%s", pattern, o.buf.String())
	return ""
}

// hubtail starts a command of the binary that `make build` made.
func hubtail(t *testing.T, env []string, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	binary := os.Getenv("HUBTAIL_TEST_BINARY")
	if binary == "" {
		t.Fatal("HUBTAIL_TEST_BINARY names no hubtail: run `make browser-test`")
	}
	cmd, out := exec.Command(binary, args...), &output{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), out, out
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return cmd, out
}

// up starts a portal and a hubtail that follows it, and returns the address of its page. HUBTAIL_TEST_PAGE names one that
// runs already: for screenshots of one that has an hour behind it.
func up(t *testing.T) (page string, process *os.Process) {
	t.Helper()
	if page := os.Getenv("HUBTAIL_TEST_PAGE"); page != "" {
		return page, nil
	}
	database := os.Getenv("HUBTAIL_TEST_DATABASE_URL")
	if database == "" {
		t.Fatal("HUBTAIL_TEST_DATABASE_URL names no Postgres: run `make browser-test`")
	}
	_, simulator := hubtail(t, nil, "simulator", "--listen", "127.0.0.1:0", "--contacts", "300", "--deals", "60", "--companies", "40", "--tickets", "30", "--calls", "50", "--changes", "2", "--daily-quota", "100000")
	hub := simulator.wait(t, `(http://127\.0\.0\.1:\d+)`)
	cmd, out := hubtail(t, []string{"HUBTAIL_HUBSPOT_URL=" + hub, "HUBSPOT_ACCESS_TOKEN=pat-simulator", "DATABASE_URL=" + database, "HUBTAIL_LOG_LEVEL=debug"},
		"up", "--admin-addr", "127.0.0.1:0", "--schema", fmt.Sprintf("browser_%d_%d", os.Getpid(), time.Now().UnixNano()), "--poll-interval", "1s", "--settle-time", "2s")
	return "http://" + out.wait(t, `health checks and metrics" address=(\S+)`) + "/", cmd.Process
}

// screen is what somebody looks with.
type screen struct {
	name          string
	width, height int64
	phone, dark   bool
}

var screens = []screen{
	{name: "desktop", width: 1280, height: 800},
	{name: "phone", width: 390, height: 844, phone: true},
	{name: "dark", width: 1280, height: 800, dark: true},
}

// tab is a page in a browser, and what the browser had to say about it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex // guards all below
	asked    []string   // hosts
	messages []string   // of the console
}

// open opens a page in a browser of its own. As root, and without a network, Chromium needs these flags.
func open(t *testing.T, s screen, page string) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: apt-get install --no-install-recommends chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); cancel() })
	b := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.heard)
	scheme := "light"
	if s.dark {
		scheme = "dark"
	}
	var view []chromedp.EmulateViewportOption
	if s.phone {
		view = append(view, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	b.do(network.Enable(), runtime.Enable(), chromedp.EmulateViewport(s.width, s.height, view...),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.Navigate(page), chromedp.WaitVisible("#answers"))
	return b
}

func (b *tab) heard(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Scheme != "data" {
			b.asked = append(b.asked, u.Host)
		}
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, fmt.Sprint(e.Type, e.Args))
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, e.ExceptionDetails.Error())
	}
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// is waits until an expression is true. It asks again and again, since the page's policy allows no code made of text.
func (b *tab) is(what, expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(bound / 2); ; time.Sleep(50 * time.Millisecond) {
		var yes bool
		b.do(chromedp.Evaluate(expression, &yes))
		if yes {
			return
		}
		if time.Now().After(deadline) {
			var text string
			b.do(chromedp.Evaluate("document.body.innerText", &text))
			b.t.Fatalf("%s: it does not\n%s", what, text)
		}
	}
}
