package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestStatusPagesSayWhatTheyKnowAndWhatNot looks at a source without a database, and at a sink without HubSpot.
func TestStatusPagesSayWhatTheyKnowAndWhatNot(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"HUBTAIL_ADMIN_ADDR=127.0.0.1:0", "HUBTAIL_LOG_LEVEL=debug"}
	address := func(p *process) string {
		return "http://" + s.printed(p, `health checks and metrics" address=(\S+)`)
	}
	source, sink := s.start("source"), s.start("sink")
	sourceURL, sinkURL := address(source), address(sink)
	markup := regexp.MustCompile(`(?s)<style.*?</style>|<script.*?</script>|<[^>]*>`)
	page := func(url string) string {
		_, body := ask(t, url+"/")
		return strings.Join(strings.Fields(markup.ReplaceAllString(body, " ")), " ")
	}
	var ofSource, ofSink string
	s.eventually(runBound, "both are well", func() bool {
		ofSource, ofSink = page(sourceURL), page(sinkURL)
		return strings.Contains(ofSource, "All is well") && strings.Contains(ofSink, "All is well") && strings.Contains(ofSink, "210 rows in the tables")
	}, source, sink)
	for _, test := range []struct {
		page  string
		parts []string
	}{
		{ofSource, []string{"source of portal 4711", "deals ", " ago", "is in the log", "Backfill done", "% left", "Tables not known", "This process has no database", "breaker closed", "reads HubSpot this process", "Not known here The tables"}},
		{ofSink, []string{"sink of portal 4711", "deals ", " ago", "is in the tables", "Backfill done", "210 rows in the tables", "% left", "As of ", "breaker closed", "success", "Not known here What HubSpot is asked now"}},
	} {
		rest := test.page
		for _, part := range test.parts {
			_, after, found := strings.Cut(rest, part)
			if !found {
				t.Errorf("%q is missing, or not in this order:\n%s", part, test.page)
				break
			}
			rest = after
		}
	}

	// Scripts get the same as from the command.
	for url, env := range map[string][]string{sinkURL: nil, sourceURL: {"DATABASE_URL="}} {
		command, _ := names(t, s.must(env, "status", "--json").stdout)
		var got string
		var live int
		s.eventually(runBound, "the page's status, which may be seconds old, is there, too", func() bool {
			_, body := ask(t, url+"/api/status")
			got, live = names(t, body)
			return live == len(portalObjects)
		}, source, sink)
		if got != command {
			t.Errorf("%s\nthe command has %s", got, command)
		}
	}
	for _, p := range []*process{source, sink} {
		requireGraceful(t, p)
	}
}

// names returns which fields a status and its objects have, and of how many objects it says how far they are.
func names(t *testing.T, text string) (all string, objects int) {
	t.Helper()
	var fields map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(text), &fields))
	var each []map[string]any
	must(t, json.Unmarshal(fields["objects"], &each))
	var found []string
	for _, name := range []string{"at", "log", "tables", "quota", "objects", "problems"} {
		if fields[name] != nil {
			found = append(found, name)
		}
	}
	for _, o := range each {
		for name := range o {
			if slices.Contains([]string{"object", "complete_through", "tables_through", "rows", "dead_letters"}, name) {
				found = append(found, fmt.Sprint(o["object"], ".", name))
			}
		}
		if o["complete_through"] != nil {
			objects++
		}
	}
	slices.Sort(found)
	return strings.Join(found, " "), objects
}

// TestAdminAnswersOnlyToItsOwnNames asks as a website does that had its own name point at this machine.
func TestAdminAnswersOnlyToItsOwnNames(t *testing.T) {
	t.Parallel()
	handler := newAdmin(true, []string{"status.example"}).routes()
	for _, path := range []string{"/", "/events", "/api/status", "/metrics"} {
		for host, served := range map[string]bool{"evil.example": false, "127.0.0.1:8686": true, "status.example": true} {
			if path == "/events" && served {
				continue // it has no end
			}
			if code := askHandler(t, handler, path, host); (code != http.StatusMisdirectedRequest) != served {
				t.Errorf("%s of %s: %d", path, host, code)
			}
		}
	}
	if code := askHandler(t, handler, "/healthz", "10.1.2.3"); code != http.StatusOK {
		t.Errorf("/healthz says nothing, so whoever asks may know: %d", code)
	}
}

func askHandler(t *testing.T, handler http.Handler, path, host string) int {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	req.Host = host
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, req)
	return answer.Code
}
