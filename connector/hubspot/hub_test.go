package hubspot_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/connector/hubspot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is HubSpot's rate limiter as strictly as can be, behind a network with delays. It is a transport, so that tests run in
// the virtual time of testing/synctest.
type hub struct {
	limit          int // requests in any interval
	interval       time.Duration
	searchLimit    int
	searchInterval time.Duration
	searchOutside  bool // searches do not count in the window
	noHeaders      bool
	forward        func() time.Duration // from sent to arrived
	process        func(search bool) time.Duration
	back           func() time.Duration
	answer         func(req *http.Request, body string) (status int, header http.Header, text string) // nil means an empty page

	mu             sync.Mutex
	window         []time.Time // arrivals that count
	searches       []time.Time
	arrived        map[string]int
	times          []time.Time // all arrivals
	denied         int
	deniedSearches int
	foreign        int // requests of neighbours
}

func newHub() *hub {
	return &hub{
		limit: 100, interval: 10 * time.Second, searchLimit: 5, searchInterval: time.Second,
		forward: func() time.Duration { return 20 * time.Millisecond },
		process: func(bool) time.Duration { return 110 * time.Millisecond },
		back:    func() time.Duration { return 20 * time.Millisecond },
		arrived: make(map[string]int),
	}
}

// jittered makes the network as bad as 0-80 ms each way and HubSpot take 50-500 ms.
func (h *hub) jittered(seed uint64) *hub {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 1))
	between := func(least, most int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(least+r.IntN(most-least)) * time.Millisecond
	}
	h.forward = func() time.Duration { return between(1, 30) }
	h.back = func() time.Duration { return between(1, 80) }
	h.process = func(bool) time.Duration { return between(50, 500) }
	return h
}

func (h *hub) RoundTrip(req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	trace.GotConn(httptrace.GotConnInfo{})
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		req.Body.Close()
	}
	trace.WroteRequest(httptrace.WroteRequestInfo{})
	search := strings.HasSuffix(req.URL.Path, "/search")
	if err := pause(req, h.forward()); err != nil {
		return nil, err
	}
	status, header, text := h.arrive(req, string(body), search)
	if status != http.StatusTooManyRequests {
		if err := pause(req, h.process(search)); err != nil {
			return nil, err
		}
	}
	if err := pause(req, h.back()); err != nil {
		return nil, err
	}
	trace.GotFirstResponseByte()
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader([]byte(text))), Request: req}, nil
}

func pause(req *http.Request, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-req.Context().Done():
		return req.Context().Err()
	}
}

func (h *hub) arrive(req *http.Request, body string, search bool) (int, http.Header, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.times = append(h.times, now)
	h.arrived[req.URL.Path]++
	header := http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}
	if search {
		h.searches = recent(h.searches, now, h.searchInterval)
		if len(h.searches) >= h.searchLimit {
			h.denied++
			h.deniedSearches++
			return 429, header, `{"status":"error","message":"You have reached your secondly limit.","errorType":"RATE_LIMIT","policyName":"SECONDLY"}`
		}
		h.searches = append(h.searches, now)
	}
	if !search || !h.searchOutside {
		h.window = recent(h.window, now, h.interval)
		if len(h.window) >= h.limit {
			h.denied++
			return 429, header, `{"status":"error","message":"You have reached your ten_secondly_rolling limit.","errorType":"RATE_LIMIT","policyName":"TEN_SECONDLY_ROLLING"}`
		}
		h.window = append(h.window, now)
	}
	if !search && !h.noHeaders {
		header.Set("X-HubSpot-RateLimit-Max", strconv.Itoa(h.limit))
		header.Set("X-HubSpot-RateLimit-Remaining", strconv.Itoa(h.limit-len(h.window)))
		header.Set("X-HubSpot-RateLimit-Interval-Milliseconds", strconv.Itoa(int(h.interval/time.Millisecond)))
	}
	if h.answer == nil {
		return 200, header, `{"results":[]}`
	}
	status, more, text := h.answer(req, body)
	for name, values := range more {
		header[http.CanonicalHeaderKey(name)] = values
	}
	return status, header, text
}

// neighbour lets another client of the same token send n requests now.
func (h *hub) neighbour(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.window = recent(h.window, now, h.interval)
	for range n {
		if len(h.window) < h.limit {
			h.window = append(h.window, now)
			h.foreign++
		}
	}
}

func (h *hub) stats() (arrived, denied int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.times), h.denied
}

// recent drops what is at least one interval old.
func recent(times []time.Time, now time.Time, interval time.Duration) []time.Time {
	n := 0
	for n < len(times) && now.Sub(times[n]) >= interval {
		n++
	}
	return times[n:]
}

// client returns a client of h.
func (h *hub) client(t testing.TB, change ...func(*hubspot.Config)) *hubspot.Client {
	t.Helper()
	cfg := hubspot.Config{Token: "pat-secret", HTTPClient: &http.Client{Transport: h}, Share: 1}
	for _, f := range change {
		f(&cfg)
	}
	c, err := hubspot.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var contacts, _ = hubspot.ObjectByName("contacts")

// recordJSON is one minimal record.
func recordJSON(id int) string {
	return fmt.Sprintf(`{"id":"%d","properties":{"email":"%d@example.com","hs_object_id":"%d"},"createdAt":"2026-01-02T03:04:05.006Z","updatedAt":"2026-02-03T04:05:06.007Z","archived":false}`, id, id, id)
}

func itoa(n int) string { return strconv.Itoa(n) }
