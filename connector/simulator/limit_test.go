package simulator_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

const owners = "/crm/v3/owners"

func TestBurstLimitIsARollingWindow(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{BurstLimit: 10, Now: clock.Now})
	for i := range 10 {
		if a := p.get(owners).want(t, 200); a.header.Get("X-HubSpot-RateLimit-Remaining") != string(rune('9'-i)) {
			t.Fatalf("request %d: remaining %s", i, a.header.Get("X-HubSpot-RateLimit-Remaining"))
		}
		clock.now = clock.now.Add(500 * time.Millisecond)
	}
	a := p.get(owners).want(t, 429)
	if a.text("policyName") != "TEN_SECONDLY_ROLLING" || a.text("errorType") != "RATE_LIMIT" || a.text("message") != "You have reached your ten_secondly_rolling limit." || a.text("groupName") == "" {
		t.Fatalf("%s", a.raw)
	}
	if a.header.Get("Retry-After") != "" {
		t.Fatal("Retry-After without being asked for")
	}
	clock.now = at("2026-11-01T12:00:00Z").Add(9999 * time.Millisecond)
	p.get(owners).want(t, 429)
	clock.now = at("2026-11-01T12:00:00Z").Add(10 * time.Second)
	p.get(owners).want(t, 200) // the first one left the window, only that one
	p.get(owners).want(t, 429)
	clock.now = clock.now.Add(500 * time.Millisecond)
	p.get(owners).want(t, 200)
	p.get(owners).want(t, 429)
	if s := p.Stats(); s.Limited["TEN_SECONDLY_ROLLING"] != 4 || s.Burst[0].Peak != 10 || s.Burst[0].Refused != 4 {
		t.Fatalf("%+v", s)
	}
}

func TestRateLimitHeaders(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1, BurstLimit: 190, DailyLimit: 625_000})
	h := p.get(owners).header
	for name, want := range map[string]string{
		"Daily": "625000", "Daily-Remaining": "624999", "Interval-Milliseconds": "10000", "Max": "190", "Remaining": "189", "Secondly": "19", "Secondly-Remaining": "19",
	} {
		if got := h.Get("X-HubSpot-RateLimit-" + name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if h.Get("X-HubSpot-Correlation-Id") == "" {
		t.Error("no correlation id")
	}
	for name := range p.search("contacts", `{}`).header {
		if len(name) > 18 && http.CanonicalHeaderKey(name)[:18] == "X-Hubspot-Ratelimi" {
			t.Errorf("search has %s", name)
		}
	}
}

func TestSearchLimitIsPerAccount(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{SearchLimit: 5, Tokens: []string{"second"}, Now: clock.Now})
	for i := range 5 {
		p.token = []string{"pat-simulator", "second"}[i%2]
		p.search("contacts", `{}`).want(t, 200)
	}
	a := p.search("deals", `{}`).want(t, 429)
	if a.text("policyName") != "SECONDLY" || a.text("message") != "You have reached your secondly limit." {
		t.Fatalf("%s", a.raw)
	}
	clock.now = clock.now.Add(time.Second)
	p.search("contacts", `{}`).want(t, 200)
	p.get("/crm/v3/objects/contacts").want(t, 200)
}

func TestSearchCountsInTheBurstOnlyIfAsked(t *testing.T) {
	t.Parallel()
	for _, counted := range []bool{false, true} {
		clock := &manual{at("2026-11-01T12:00:00Z")}
		p := open(t, simulator.Options{BurstLimit: 3, SearchInBurst: counted, Now: clock.Now})
		for range 3 {
			p.search("contacts", `{}`).want(t, 200)
		}
		want := 200
		if counted {
			want = 429
		}
		p.get(owners).want(t, want)
		p.search("contacts", `{}`).want(t, want)
	}
}

func TestBurstIsPerAppDailyIsShared(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{BurstLimit: 2, DailyLimit: 5, Tokens: []string{"second"}, Now: clock.Now})
	p.get(owners).want(t, 200)
	p.get(owners).want(t, 200)
	p.get(owners).want(t, 429)
	p.token = "second"
	p.get(owners).want(t, 200)
	p.get(owners).want(t, 200)
	clock.now = clock.now.Add(time.Minute)
	p.get(owners).want(t, 200)
	if a := p.get(owners).want(t, 429); a.text("policyName") != "DAILY" || a.text("message") != "You have reached your daily limit." {
		t.Fatalf("%s", a.raw)
	}
	p.search("contacts", `{}`).want(t, 429)
}

func TestDailyQuotaStartsAtTheAccountsMidnight(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T14:59:00Z")} // 23:59 in Tokyo
	p := open(t, simulator.Options{DailyLimit: 1, TimeZone: "Asia/Tokyo", RetryAfter: true, Now: clock.Now})
	p.get(owners).want(t, 200)
	if a := p.get(owners).want(t, 429); a.header.Get("Retry-After") != "60" {
		t.Fatalf("Retry-After %q", a.header.Get("Retry-After"))
	}
	clock.now = clock.now.Add(59 * time.Second)
	p.get(owners).want(t, 429)
	clock.now = clock.now.Add(time.Second)
	p.get(owners).want(t, 200)
}

func TestLimitKnobs(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{BurstLimit: 1, SearchLimit: 1, Interval: time.Second, SearchInterval: 100 * time.Millisecond, RetryAfter: true, NoPolicyName: true, Now: clock.Now})
	p.search("contacts", `{}`).want(t, 200)
	if a := p.search("contacts", `{}`).want(t, 429); a.text("policyName") != "" || a.header.Get("Retry-After") != "1" {
		t.Fatalf("%s %v", a.raw, a.header)
	}
	clock.now = clock.now.Add(100 * time.Millisecond)
	p.search("contacts", `{}`).want(t, 200)
	if got := p.get(owners).want(t, 200).header.Get("X-HubSpot-RateLimit-Interval-Milliseconds"); got != "1000" {
		t.Fatalf("interval %s", got)
	}
	clock.now = clock.now.Add(time.Second)
	p.Spend("", 1, 1, 0)
	p.get(owners).want(t, 429)
	p.search("contacts", `{}`).want(t, 429)
}

func TestLatencyComesAfterAdmission(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{BurstLimit: 1, Latency: 50 * time.Millisecond})
	start := time.Now()
	p.get(owners).want(t, 200)
	if d := time.Since(start); d < 50*time.Millisecond {
		t.Fatalf("answered after %s", d)
	}
	start = time.Now()
	p.get(owners).want(t, 429)
	if d := time.Since(start); d > 45*time.Millisecond {
		t.Fatalf("refused after %s", d)
	}
}
