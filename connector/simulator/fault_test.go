package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// try sends a request that may break; body is what arrived of it.
func (p *portal) try(path string) (status int, body []byte, err error) {
	req, err := http.NewRequest("GET", p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := p.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const list = "/crm/v3/objects/contacts?limit=20"
	p := open(t, simulator.Options{Contacts: 100, Deals: 10})
	once := func(t *testing.T, f simulator.Fault) {
		t.Helper()
		p.ClearFaults()
		f.Count = 1
		p.Inject(f)
		t.Cleanup(func() {
			p.ClearFaults()
			p.get(list).want(t, 200)
		})
	}
	t.Run("status", func(t *testing.T) {
		once(t, simulator.Fault{Kind: simulator.FaultStatus, Status: 477, RetryAfter: 120})
		if a := p.get(list).want(t, 477); a.header.Get("Retry-After") != "120" || a.text("status") != "error" {
			t.Fatalf("%s", a.raw)
		}
	})
	t.Run("html", func(t *testing.T) {
		once(t, simulator.Fault{Kind: simulator.FaultHTML})
		if status, body, _ := p.try(list); status != 502 || !strings.HasPrefix(string(body), "<!DOCTYPE") {
			t.Fatalf("%d %s", status, body)
		}
		p.Inject(simulator.Fault{Kind: simulator.FaultHTML, Status: 200, Count: 1})
		if status, body, _ := p.try(list); status != 200 || !strings.HasPrefix(string(body), "<!DOCTYPE") {
			t.Fatalf("%d %s", status, body)
		}
	})
	t.Run("limit", func(t *testing.T) {
		once(t, simulator.Fault{Kind: simulator.FaultLimit, Policy: "DAILY", RetryAfter: 7})
		if a := p.get(list).want(t, 429); a.text("policyName") != "DAILY" || a.header.Get("Retry-After") != "7" {
			t.Fatalf("%s", a.raw)
		}
	})
	t.Run("hang", func(t *testing.T) {
		once(t, simulator.Fault{Kind: simulator.FaultHang, Delay: 30 * time.Millisecond})
		start := time.Now()
		if status, _, _ := p.try(list); status != 524 || time.Since(start) < 30*time.Millisecond {
			t.Fatalf("%d after %s", status, time.Since(start))
		}
	})
	t.Run("reset", func(t *testing.T) {
		p.ClearFaults()
		p.Inject(simulator.Fault{Kind: simulator.FaultReset})
		if _, _, err := p.try(list); err == nil {
			t.Fatal("the connection held")
		}
		p.ClearFaults()
	})
	t.Run("cut", func(t *testing.T) {
		once(t, simulator.Fault{Kind: simulator.FaultCut})
		if status, body, err := p.try(list); status != 200 || err != nil || json.Valid(body) {
			t.Fatalf("%d %v %.80s", status, err, body)
		}
	})
	t.Run("length", func(t *testing.T) {
		once(t, simulator.Fault{Kind: simulator.FaultLength})
		if _, _, err := p.try(list); err == nil {
			t.Fatal("no error for a short body")
		}
	})
	t.Run("slow", func(t *testing.T) {
		once(t, simulator.Fault{Kind: simulator.FaultSlow, Delay: 60 * time.Millisecond})
		start := time.Now()
		if status, body, err := p.try(list); status != 200 || err != nil || !json.Valid(body) || time.Since(start) < 50*time.Millisecond {
			t.Fatalf("%d %v after %s", status, err, time.Since(start))
		}
	})
	t.Run("malformed", func(t *testing.T) {
		for range 8 {
			p.Inject(simulator.Fault{Kind: simulator.FaultMalformed, Count: 1})
			status, body, err := p.try(list)
			var page struct {
				Results []json.RawMessage `json:"results"`
			}
			if status != 200 || err != nil || json.Unmarshal(body, &page) != nil || len(page.Results) != 20 {
				t.Fatalf("%d %v %.80s", status, err, body)
			}
			bad := 0
			for _, raw := range page.Results {
				var r struct {
					ID         string             `json:"id"`
					Properties map[string]*string `json:"properties"`
				}
				if json.Unmarshal(raw, &r) != nil || r.ID == "" || r.Properties == nil {
					bad++
				}
			}
			if bad != 1 {
				t.Fatalf("%d bad records", bad)
			}
		}
	})
	t.Run("paging", func(t *testing.T) {
		once(t, simulator.Fault{Kind: simulator.FaultLoop})
		if after := p.get(list + "&after=500").after(); after != "500" {
			t.Fatalf("after %s", after)
		}
		p.Inject(simulator.Fault{Kind: simulator.FaultNoPaging, Count: 1})
		if after := p.get(list).after(); after != "" {
			t.Fatalf("after %s", after)
		}
	})
	t.Run("only where and how often they should", func(t *testing.T) {
		p.Inject(simulator.Fault{Kind: simulator.FaultStatus, Endpoint: "list", Object: "deals", Count: 2})
		p.get(list).want(t, 200)
		p.search("deals", `{}`).want(t, 200)
		p.get("/crm/v3/objects/0-3").want(t, 500)
		p.get("/crm/v3/objects/deals").want(t, 500)
		p.get("/crm/v3/objects/deals").want(t, 200)
	})
	t.Run("at a rate", func(t *testing.T) {
		p.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 503, Rate: 0.3})
		failed := 0
		for range 200 {
			if p.get(list).status == 503 {
				failed++
			}
		}
		if p.ClearFaults(); failed < 30 || failed > 90 {
			t.Fatalf("%d of 200 failed at a rate of 0.3", failed)
		}
	})
}

func TestCompressedAnswers(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 100, Gzip: true})
	const list = "/crm/v3/objects/contacts?limit=100"
	if a := p.get(list).want(t, 200); len(a.ids()) != 100 || a.header.Get("Content-Length") != "" {
		t.Fatalf("%v", a.header) // the transport removes the length of what it unpacked
	}
	p.Inject(simulator.Fault{Kind: simulator.FaultCut, Count: 1})
	if _, _, err := p.try(list); err == nil {
		t.Fatal("no error for a cut compressed body")
	}
}
