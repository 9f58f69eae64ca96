package hubspot_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// ServeHTTP makes hub a server, for tests over real sockets.
func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	search := strings.HasSuffix(r.URL.Path, "/search")
	status, header, text := h.arrive(r, string(body), search)
	if status != http.StatusTooManyRequests {
		_ = pause(r, h.process(search))
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// Over real sockets, with real scheduling, at ten times the speed: the quota is used without earning 429s.
func TestBudgetOverRealSockets(t *testing.T) {
	for _, outside := range []bool{false, true} {
		for _, limit := range []int{100, 190} {
			t.Run(fmt.Sprint(limit, " searches outside ", outside), func(t *testing.T) {
				// A busy machine can hold requests back for longer than a tenth of an interval; a wrong budget is denied every time.
				for try := 1; ; try++ {
					arrived, denied := spendOverSockets(t, limit, outside)
					if denied <= arrived/100 {
						return
					}
					if try == 3 {
						t.Fatalf("%d of %d were denied, as in two tries before", denied, arrived)
					}
				}
			})
		}
	}
}

// spendOverSockets spends several windows of a tenth of HubSpot's length on lists and searches.
func spendOverSockets(t *testing.T, limit int, outside bool) (arrived, denied int) {
	h := newHub()
	h.limit, h.interval, h.searchInterval, h.searchOutside = limit, time.Second, 100*time.Millisecond, outside
	h.process = func(bool) time.Duration { return 15 * time.Millisecond }
	server := httptest.NewServer(h)
	defer server.Close()
	client := h.client(t, func(cfg *hubspot.Config) {
		cfg.BaseURL, cfg.HTTPClient = server.URL, nil
		cfg.Interval, cfg.SearchInterval = h.interval, h.searchInterval
	}).At(hubspot.PriorityBackfill)
	defer client.Close()
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() { run(40, limit/20, func(_, _ int) { list(t, client) }) })
	wg.Go(func() { run(4, 25, func(_, _ int) { search(t, client) }) })
	wg.Wait()
	arrived, denied = h.stats()
	t.Logf("%v for %d requests, %d denied, %d of them searches; %s", time.Since(start), arrived, denied, h.deniedSearches, client.Usage().Search.InWindow)
	return arrived, denied
}
