package simulator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// allNames returns the names of all properties of contacts, as a query value.
func allNames(p *portal) string {
	var names []string
	for _, r := range p.get("/crm/v3/properties/contacts").results() {
		names = append(names, r["name"].(string))
	}
	return strings.ReplaceAll(strings.Join(names, ","), " ", "%20")
}

// handle answers a request without a socket.
func handle(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer pat-simulator")
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// BenchmarkListPage is one page of 100 contacts with all of their properties. The aim is under 3 ms.
func BenchmarkListPage(b *testing.B) {
	p := open(b, simulator.Options{Contacts: 10_000, BurstLimit: 1 << 40, DailyLimit: 1 << 40})
	path := "/crm/v3/objects/contacts?limit=100&properties=" + allNames(p)
	h := p.Handler()
	b.ReportAllocs()
	for b.Loop() {
		if w := handle(h, "GET", path, ""); w.Code != 200 {
			b.Fatal(w.Body)
		} else {
			b.SetBytes(int64(w.Body.Len()))
		}
	}
}

// BenchmarkSearchPage is one page of 200 contacts by last-modified of a million.
func BenchmarkSearchPage(b *testing.B) {
	h := million(b).Handler()
	for name, body := range map[string]string{
		"modified":    `{"filterGroups":[{"filters":[{"propertyName":"lastmodifieddate","operator":"GTE","value":"1640000000000"}]}],"sorts":[{"propertyName":"lastmodifieddate","direction":"ASCENDING"}],"limit":200,"after":"5000"}`,
		"id":          `{"filterGroups":[{"filters":[{"propertyName":"hs_object_id","operator":"LT","value":"150000000000"}]}],"sorts":[{"propertyName":"hs_object_id","direction":"DESCENDING"}],"limit":200}`,
		"idInWindow":  `{"filterGroups":[{"filters":[{"propertyName":"lastmodifieddate","operator":"BETWEEN","value":"1640000000000","highValue":"1641000000000"},{"propertyName":"hs_object_id","operator":"GT","value":"5"}]}],"sorts":[{"propertyName":"hs_object_id","direction":"ASCENDING"}],"limit":200}`,
		"notModified": `{"filterGroups":[{"filters":[{"propertyName":"lastmodifieddate","operator":"GTE","value":"1860000000000"}]}],"sorts":[{"propertyName":"lastmodifieddate","direction":"ASCENDING"}],"limit":200}`,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if w := handle(h, "POST", "/crm/v3/objects/contacts/search", body); w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

func million(b *testing.B) *simulator.Simulator {
	b.Helper()
	return simulator.New(simulator.Options{Contacts: 1_000_000, Latency: -1, BurstLimit: 1 << 30, SearchLimit: 1 << 30, DailyLimit: 1 << 40})
}

// BenchmarkMillion makes a portal of a million contacts and prints what it takes.
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		s := million(b)
		took := time.Since(start)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB")
		b.ReportMetric(took.Seconds(), "s/portal")
		fmt.Fprintf(b.Output(), "1M contacts: %.2f s, %d MB\n", took.Seconds(), (after.HeapAlloc-before.HeapAlloc)>>20)
		runtime.KeepAlive(s)
	}
}
