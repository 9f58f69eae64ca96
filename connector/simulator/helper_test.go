package simulator_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/connector/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// portal is a simulator behind a real listener, and a caller of it.
type portal struct {
	*simulator.Simulator
	t     testing.TB
	url   string
	token string
	http  *http.Client
}

// open starts a simulator that answers at once, with limits out of the way unless the options set them.
func open(t testing.TB, o simulator.Options) *portal {
	t.Helper()
	if o.Latency == 0 && o.Latencies == (simulator.Latencies{}) {
		o.Latency = -1
	}
	if o.BurstLimit == 0 {
		o.BurstLimit = 1_000_000
	}
	if o.SearchLimit == 0 {
		o.SearchLimit = 1_000_000
	}
	if o.DailyLimit == 0 {
		o.DailyLimit = 1_000_000
	}
	s := simulator.New(o)
	server := httptest.NewServer(s.Handler())
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	token := o.Token
	if token == "" {
		token = "pat-simulator"
	}
	return &portal{Simulator: s, t: t, url: server.URL, token: token, http: &http.Client{Transport: transport}}
}

// answer is a response with its decoded body.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (p *portal) do(method, path, body string) answer {
	p.t.Helper()
	req, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return p.send(req)
}

func (p *portal) send(req *http.Request) answer {
	p.t.Helper()
	res, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: raw}
	if len(raw) > 0 && strings.Contains(res.Header.Get("Content-Type"), "json") {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&a.body); err != nil {
			p.t.Fatalf("body is not JSON: %v: %.200s", err, raw)
		}
	}
	return a
}

func (p *portal) get(path string) answer { p.t.Helper(); return p.do("GET", path, "") }

func (p *portal) post(path string, body any) answer {
	p.t.Helper()
	text, ok := body.(string)
	if !ok {
		raw, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		text = string(raw)
	}
	return p.do("POST", path, text)
}

func (p *portal) search(object, body string) answer {
	p.t.Helper()
	return p.post("/crm/v3/objects/"+object+"/search", body)
}

// want fails unless the answer has the status.
func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %.500s", a.status, status, a.raw)
	}
	return a
}

func (a answer) results() []map[string]any {
	list, _ := a.body["results"].([]any)
	out := make([]map[string]any, len(list))
	for i := range list {
		out[i], _ = list[i].(map[string]any)
	}
	return out
}

func (a answer) ids() []string {
	var ids []string
	for _, r := range a.results() {
		id, _ := r["id"].(string)
		ids = append(ids, id)
	}
	return ids
}

// after returns the next cursor, "" on the last page.
func (a answer) after() string {
	paging, _ := a.body["paging"].(map[string]any)
	next, _ := paging["next"].(map[string]any)
	after, _ := next["after"].(string)
	return after
}

func (a answer) text(key string) string { s, _ := a.body[key].(string); return s }

func (a answer) total() int {
	n, _ := a.body["total"].(json.Number)
	i, _ := strconv.Atoi(n.String())
	return i
}

func properties(r map[string]any) map[string]any {
	m, _ := r["properties"].(map[string]any)
	return m
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// manual is a clock that tests move.
type manual struct{ now time.Time }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func (m *manual) Now() time.Time { return m.now }
