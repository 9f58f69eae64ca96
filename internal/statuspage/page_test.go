package statuspage_test

import (
	"bufio"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/internal/statuspage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func pointer[T any](v T) *T { return &v }

// healthy is a source and a sink with nothing to complain of.
func healthy() *statuspage.View {
	object := func(name string, behind time.Duration) statuspage.Object {
		return statuspage.Object{Name: name, State: "live", LogThrough: now.Add(-behind), TablesThrough: now.Add(-behind), Rows: pointer(int64(1234)), EventsPerS: pointer(0.5), DeadLetters: pointer(int64(0)),
			LastRun: &statuspage.Run{Type: "incremental", Status: "success", At: now.Add(-time.Minute)}}
	}
	return &statuspage.View{
		At: now, Roles: "source and sink", Version: "hubtail test", Portal: "4711", Started: now.Add(-time.Hour),
		Objects: []statuspage.Object{object("contacts", 40*time.Second), object("deals", 14*time.Second)},
		Quota:   &statuspage.Quota{DayLimit: 1000, DayLeft: pointer(930), DayUsed: 70, Breaker: "closed", Window: &statuspage.Use{Used: 3, Limit: 100, Interval: 10 * time.Second}},
		Log:     &statuspage.Log{Stream: "HUBSPOT", Messages: 2500, Leader: "host-a", Leads: true},
		Tables:  &statuspage.Tables{Schema: "hubspot"},
		Runs:    []statuspage.Run{{Object: "deals", Type: "full", Status: "success", At: now, Seconds: 2.5, Fetched: 1234}},
		Plots:   []statuspage.Plot{{Title: "Events", Unit: "per s", Points: []statuspage.Point{{At: now.Add(-time.Minute), Value: 2}, {At: now, Value: 3}}}},
	}
}

func serve(t *testing.T, cfg statuspage.Config) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	statuspage.New(cfg).Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func show(v *statuspage.View) statuspage.Config {
	return statuspage.Config{Loopback: true, View: func(context.Context) *statuspage.View { return v }}
}

// get asks for a path under a name, "" for the server's own.
func get(t *testing.T, server *httptest.Server, method, path, host string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// words returns what a page says, without its markup.
func words(page string) string {
	_, page, _ = strings.Cut(page, "<main>")
	page, _, _ = strings.Cut(page, "</main>")
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")), " ")
}

func requireInOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Errorf("%q is missing, or not after the one before it, in:\n%s", part, text)
			return
		}
		rest = after
	}
}

func TestThePageAnswersInOrder(t *testing.T) {
	t.Parallel()
	_, page := get(t, serve(t, show(healthy())), http.MethodGet, "/", "")
	requireInOrder(t, words(page), "All is well", "deals 14 s ago", "Furthest behind: contacts, 40 s", "Backfill done", "93 % left", "930 of the account's 1,000 requests", "up to date", "contacts live", "closed")

	loading := healthy()
	loading.Objects[1].Backfill = &statuspage.Backfill{Done: 500, Total: 2000, Rate: 10}
	loading.Objects[1].TablesThrough = time.Time{}
	_, page = get(t, serve(t, show(loading)), http.MethodGet, "/", "")
	requireInOrder(t, words(page), "the first full read is under way", "deals not yet", "25 %", "500 of 2,000 records read, about 2 min left")

	bad := healthy()
	bad.Problems = []string{"contacts is stale: is the source running?"}
	bad.Tables.Behind = 12_345
	_, page = get(t, serve(t, show(bad)), http.MethodGet, "/", "")
	requireInOrder(t, words(page), "One thing needs attention", "is the source running?", "12,345 behind")

	_, page = get(t, serve(t, show(&statuspage.View{At: now, Starting: true})), http.MethodGet, "/", "")
	requireInOrder(t, words(page), "Starting", "waits for NATS")
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	t.Parallel()
	v := healthy()
	v.Tables, v.Quota, v.Unknown = nil, nil, []string{"The tables: ask the sink."}
	v.Objects[1].Rows, v.Objects[1].EventsPerS, v.Objects[1].DeadLetters = nil, nil, nil
	_, page := get(t, serve(t, show(v)), http.MethodGet, "/", "")
	text := words(page)
	requireInOrder(t, text, "HubSpot quota not known", "Tables not known", "This process has no database", "deals live", "– – ", "Not known here", "ask the sink")
	if strings.Contains(text, "0 % left") || strings.Contains(text, "up to date") {
		t.Errorf("it shows what it does not know:\n%s", text)
	}
}

func TestWhatDoesNotAnswerIsNotTakenForEmpty(t *testing.T) {
	t.Parallel()
	v := healthy()
	v.Problems, v.Tables.Silent = []string{"tables: connection refused"}, true
	for i := range v.Objects {
		v.Objects[i].TablesThrough = time.Time{}
	}
	_, page := get(t, serve(t, show(v)), http.MethodGet, "/", "")
	text := words(page)
	requireInOrder(t, text, "One thing needs attention", "deals 14 s ago", "in the log", "Backfill done", "Tables not known", "Postgres does not answer")
	if strings.Contains(text, "No dead letters") || strings.Contains(text, "No source reads") {
		t.Errorf("it shows what it does not know:\n%s", text)
	}

	v = healthy()
	v.Log = nil
	_, page = get(t, serve(t, show(v)), http.MethodGet, "/", "")
	requireInOrder(t, words(page), "Tables not known", "NATS does not answer")

	v = healthy()
	v.Log.Leader, v.Log.Leads, v.Log.Alone = "", false, true
	_, page = get(t, serve(t, show(v)), http.MethodGet, "/", "")
	requireInOrder(t, words(page), "deals 14 s ago", "No source reads HubSpot now")
}

func TestValuesAreNeverMarkup(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>`
	v := healthy()
	v.Problems, v.Portal, v.Roles = []string{evil}, evil, evil
	v.Objects[0].Name, v.Objects[0].State, v.Runs[0].Error, v.Log.Leader, v.Plots[0].Title, v.Quota.Breaker = evil, evil, evil, evil, evil, evil
	_, page := get(t, serve(t, show(v)), http.MethodGet, "/", "")
	if strings.Contains(page, "<script>") || strings.Contains(page, "<img") || strings.Count(page, "<script ") != 1 || strings.Count(page, "alert(1)") < 8 {
		t.Errorf("a value became markup:\n%s", page)
	}
}

func TestNothingComesFromElsewhere(t *testing.T) {
	t.Parallel()
	server := serve(t, show(healthy()))
	resp, page := get(t, server, http.MethodGet, "/", "")
	if found := regexp.MustCompile(`(?i)(src|href|action|url\()[="' ]*(https?:|//)|@import|style="`).FindString(page); found != "" {
		t.Errorf("%q", found)
	}
	policy := resp.Header.Get("Content-Security-Policy")
	nonce := regexp.MustCompile(`script-src 'nonce-(\w{20,})'`).FindStringSubmatch(policy)
	if nonce == nil || !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Count(page, `nonce="`+nonce[1]+`"`) != 2 {
		t.Errorf("policy %q", policy)
	}
	again, _ := get(t, server, http.MethodGet, "/", "")
	if again.Header.Get("Content-Security-Policy") == policy {
		t.Error("the nonce is always the same")
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": ""} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestAForeignNameIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		loopback bool
		names    []string
		host     string
		served   bool
	}{
		{true, nil, "127.0.0.1:8686", true}, {true, nil, "localhost:8686", true}, {true, nil, "LOCALHOST", true}, {true, nil, "[::1]:8686", true}, {true, nil, "127.8.9.1", true}, {true, nil, "hubtail.localhost:8686", true},
		{true, nil, "evil.example:8686", false}, {true, nil, "localhost.evil.example", false}, {true, nil, "127.0.0.1.evil.example", false}, {true, nil, "192.168.1.5:8686", false}, {true, nil, "evil.example.", false},
		{true, []string{"status.example"}, "status.example", true}, {true, []string{"status.example"}, "Status.Example:443", true}, {true, []string{"status.example"}, "other.example", false},
		{false, nil, "hubtail:8686", true}, {false, nil, "10.0.0.7:8686", true}, {false, []string{"hubtail"}, "hubtail:8686", true}, {false, []string{"hubtail"}, "10.0.0.7", true}, {false, []string{"hubtail"}, "evil.example", false},
	} {
		cfg := show(healthy())
		cfg.Loopback, cfg.Names, cfg.Every = test.loopback, test.names, time.Hour
		server := serve(t, cfg)
		for _, path := range []string{"/", "/events"} {
			if path == "/events" && test.served {
				continue // it has no end
			}
			resp, body := get(t, server, http.MethodGet, path, test.host)
			if served := resp.StatusCode == http.StatusOK; served != test.served || !served && (resp.StatusCode != http.StatusMisdirectedRequest || strings.Contains(body, "4711")) {
				t.Errorf("loopback %v, names %v, %s of %s: %d", test.loopback, test.names, path, test.host, resp.StatusCode)
			}
		}
	}
}

func TestOnlyReadingIsPossible(t *testing.T) {
	t.Parallel()
	server := serve(t, show(healthy()))
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		for _, path := range []string{"/", "/events"} {
			if resp, _ := get(t, server, method, path, ""); resp.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
	}
	if resp, _ := get(t, server, http.MethodGet, "/other", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("another path: %d", resp.StatusCode)
	}
}

// follow reads events until ctx ends.
func follow(ctx context.Context, t *testing.T, server *httptest.Server) (*http.Response, *bufio.Scanner) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return resp, lines
}

func TestEventsBringNewFigures(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := serve(t, statuspage.Config{Loopback: true, Every: time.Millisecond, View: func(context.Context) *statuspage.View {
		v := healthy()
		v.Tables.Behind = uint64(asked.Add(1) * 1000)
		return v
	}})
	resp, lines := follow(t.Context(), t, server)
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("type %q", kind)
	}
	for _, want := range []string{"1,000 behind", "", "2,000 behind", ""} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) || want != "" && !strings.HasPrefix(lines.Text(), `data: "`) || want == "" && lines.Text() != "" {
			t.Fatalf("want %q, got %q", want, lines.Text())
		}
	}
}

// TestAnotherSiteTakesNoPlaceOfAViewer asks as a browser does for a page of somebody else's.
func TestAnotherSiteTakesNoPlaceOfAViewer(t *testing.T) {
	t.Parallel()
	server := serve(t, show(healthy()))
	for site, want := range map[string]int{"cross-site": http.StatusForbidden, "same-site": http.StatusForbidden} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Sec-Fetch-Site", site)
		resp, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", site, resp.Status)
		}
	}
}

func TestViewersAreBoundedAndEnd(t *testing.T) {
	t.Parallel()
	cfg := show(healthy())
	cfg.Viewers, cfg.Every = 2, time.Hour
	server := serve(t, cfg)
	ctx, leave := context.WithCancel(t.Context())
	for range 2 {
		resp, lines := follow(ctx, t, server)
		defer resp.Body.Close()
		if !lines.Scan() {
			t.Fatal("no event")
		}
	}
	if resp, _ := get(t, server, http.MethodGet, "/events", ""); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a third: %d", resp.StatusCode)
	}
	leave()
	for { // a place is free as soon as the server notices
		resp, lines := follow(t.Context(), t, server)
		ok := resp.StatusCode == http.StatusOK && lines.Scan()
		server.CloseClientConnections()
		_ = resp.Body.Close()
		if ok {
			break // and the one that looked ended with its connection: goleak says so
		}
	}
}

func TestNobodyIsAskedWhileNobodyLooks(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := serve(t, statuspage.Config{Loopback: true, View: func(context.Context) *statuspage.View { asked.Add(1); return healthy() }})
	if asked.Load() != 0 {
		t.Error("asked before anybody looked")
	}
	began := time.Now()
	for range 20 {
		get(t, server, http.MethodGet, "/", "")
	}
	if n, most := asked.Load(), 1+int64(time.Since(began)/time.Second)+1; n < 1 || n > most {
		t.Errorf("asked %d times for 20 who look at the same time, at most %d is once a second", n, most)
	}
}

func TestHistoryHoldsAnHour(t *testing.T) {
	t.Parallel()
	var h statuspage.History
	const twoHours = int(2 * time.Hour / statuspage.SampleEvery)
	for i := range twoHours {
		second := math.NaN()
		if i == twoHours-1 {
			second = 7
		}
		h.Add(now.Add(time.Duration(i)*statuspage.SampleEvery), float64(i), second)
	}
	points := h.Figure(0)
	if len(points) != twoHours/2 || points[0].Value != float64(twoHours/2) || points[len(points)-1].Value != float64(twoHours-1) {
		t.Errorf("%d points, from %v to %v", len(points), points[0], points[len(points)-1])
	}
	if known := h.Figure(1); len(known) != 1 || known[0].Value != 7 || len(h.Figure(2)) != 0 {
		t.Errorf("%v", known)
	}
	plot := statuspage.Plot{Points: []statuspage.Point{{At: now.Add(-2 * time.Hour), Value: 9}, {At: now.Add(-30 * time.Minute), Value: 4}, {At: now.Add(-30*time.Minute + statuspage.SampleEvery), Value: 2}, {At: now, Value: 0}}}
	lines := plot.Lines(now)
	if len(lines) != 2 || lines[0] != "180.0,34.4 181.0,47.2" || lines[1] != "360.0,60.0" {
		t.Errorf("a gap is drawn through, or the figures are elsewhere: %q", lines)
	}
}
