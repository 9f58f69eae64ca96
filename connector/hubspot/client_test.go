package hubspot_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

func TestNewChecksItsConfig(t *testing.T) {
	for name, cfg := range map[string]hubspot.Config{
		"no credentials": {},
		"both":           {Token: "x", OAuth: &hubspot.OAuth{}},
		"share":          {Token: "x", Share: 1.5},
		"url":            {Token: "x", BaseURL: "api.hubapi.com"},
		"scheme":         {Token: "x", BaseURL: "ftp://api.hubapi.com"},
	} {
		if _, err := hubspot.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := hubspot.New(hubspot.Config{Token: "x"}); err != nil {
		t.Error(err)
	}
}

func TestRequestsCarryTokenAndName(t *testing.T) {
	var got *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		_, _ = io.WriteString(w, `{"results":[]}`)
	}))
	defer server.Close()
	c, err := hubspot.New(hubspot.Config{BaseURL: server.URL + "/", Token: "pat-secret", Version: "2026-03"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.List(t.Context(), hubspot.ListRequest{Object: contacts, After: "7", Properties: []string{"email", "a&b"}, Archived: true, Limit: 500}); err != nil {
		t.Fatal(err)
	}
	if want := "/crm/objects/2026-03/contacts?limit=100&after=7&archived=true&properties=email,a%26b"; got.URL.String() != want {
		t.Errorf("asked for %s, want %s", got.URL, want)
	}
	if got.Header.Get("Authorization") != "Bearer pat-secret" || got.UserAgent() != "hubtail" {
		t.Errorf("headers are %v", got.Header)
	}
	req := hubspot.SearchRequest{Object: contacts, SortBy: "hs_object_id", Descending: true, Limit: 50, After: 200, Properties: []string{"email"}, Filters: []hubspot.Filter{
		{Property: "lastmodifieddate", Operator: "BETWEEN", Value: "1", HighValue: "2"}, {Property: "hs_object_id", Operator: "IN", Values: []string{"1", "2"}},
	}}
	if _, err := c.Search(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	want := `{"filterGroups":[{"filters":[{"propertyName":"lastmodifieddate","operator":"BETWEEN","value":"1","highValue":"2"},{"propertyName":"hs_object_id","operator":"IN","values":["1","2"]}]}],"sorts":[{"propertyName":"hs_object_id","direction":"DESCENDING"}],"properties":["email"],"limit":50,"after":"200"}`
	if body != want {
		t.Errorf("body is %s, want %s", body, want)
	}
}

func TestTokenIsNotSentToAnotherHost(t *testing.T) {
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked.Store(true) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	c, err := hubspot.New(hubspot.Config{BaseURL: server.URL, Token: "pat-secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err = c.List(t.Context(), hubspot.ListRequest{Object: contacts}); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("error is %v", err)
	}
	if leaked.Load() {
		t.Error("the redirect was followed")
	}
}

// A cursor that does not move would make a walk endless.
func TestCursorMustAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := scripted(reply{200, `{"results":[],"paging":{"next":{"after":"7"}}}`, nil})
		if _, err := h.client(t).List(t.Context(), hubspot.ListRequest{Object: contacts, After: "7"}); err == nil {
			t.Error("list goes round in circles")
		}
		if _, err := h.client(t).Search(t.Context(), hubspot.SearchRequest{Object: contacts, After: 7}); err == nil {
			t.Error("search goes round in circles")
		}
	})
}

// The clock is HubSpot's, to the precision that one-second stamps allow, and never goes back.
func TestNowFollowsHubSpotsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		ahead := 90 * time.Second
		h.answer = func(*http.Request, string) (int, http.Header, string) {
			return 200, http.Header{"Date": {time.Now().Add(ahead).UTC().Format(http.TimeFormat)}}, `{"results":[]}`
		}
		c := h.client(t)
		if d := time.Until(c.Now()); d != 0 {
			t.Errorf("before the first answer off by %v", d)
		}
		for range 20 {
			list(t, c)
			time.Sleep(370 * time.Millisecond)
		}
		if d := time.Until(c.Now()) - ahead; d.Abs() > 200*time.Millisecond {
			t.Errorf("off by %v", d)
		}
		before := c.Now()
		ahead = 89 * time.Second // one answer of a slow server
		list(t, c)
		if c.Now().Before(before) {
			t.Error("went back")
		}
		ahead = 0 // somebody set the clock
		for range 3 {
			list(t, c)
		}
		if d := time.Until(c.Now()); d.Abs() > time.Second {
			t.Errorf("after it was set, off by %v", d)
		}
	})
}

// One answer, or two, of a server whose clock is wrong move nothing, whether it is before or behind, at the start or later.
func TestAnAbsurdDateMovesNothing(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"future": 365 * 24 * time.Hour, "hour ahead": time.Hour, "past": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub()
				var ahead time.Duration
				h.answer = func(*http.Request, string) (int, http.Header, string) {
					return 200, http.Header{"Date": {time.Now().Add(ahead).UTC().Format(http.TimeFormat)}}, `{"results":[]}`
				}
				c := h.client(t)
				for i := range 12 {
					if ahead = 0; i%4 < 2 {
						ahead = wrong
					}
					list(t, c)
					late := i == 0 || i == 1 // nothing is known yet: the earlier time counts
					if d := time.Until(c.Now()); d > 2*time.Second || d < -2*time.Second && !late {
						t.Errorf("answer %d moved the clock by %v", i, d)
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// Our own clock is wrong: until that is sure, the earlier time counts.
func TestAWrongClockOfOurOwnIsNoticed(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub()
			h.answer = func(*http.Request, string) (int, http.Header, string) {
				return 200, http.Header{"Date": {time.Now().Add(ahead).UTC().Format(http.TimeFormat)}}, `{"results":[]}`
			}
			c := h.client(t)
			for i := range 3 {
				list(t, c)
				want := ahead
				if i < 2 {
					want = min(ahead, 0)
				}
				if d := time.Until(c.Now()) - want; d.Abs() > 2*time.Second {
					t.Errorf("after answer %d off by %v", i+1, d)
				}
			}
			if d := time.Until(c.Now()) - ahead; d.Abs() > time.Second {
				t.Errorf("off by %v", d)
			}
		})
	}
}

func TestUsageCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newHub().client(t)
		run(3, 2, func(_, _ int) { list(t, c) })
		search(t, c)
		u := c.Usage()
		if u.Requests["list"] != 6 || u.Requests["search"] != 1 || u.Window.Used != 7 || u.Window.Limit != 100 || u.Search.Used != 1 || u.Breaker != "closed" || u.InFlight != 0 {
			t.Errorf("usage is %+v", u)
		}
		time.Sleep(11 * time.Second)
		if u := c.Usage(); u.Window.Used != 0 || u.Search.Used != 0 {
			t.Errorf("usage is %+v", u)
		}
	})
}

func TestObjects(t *testing.T) {
	seen := make(map[string]bool)
	for _, o := range hubspot.Objects() {
		for _, name := range []string{o.Name, o.Singular, o.TypeID} {
			if got, ok := hubspot.ObjectByName(name); !ok || got.TypeID != o.TypeID {
				t.Errorf("%s is %+v", name, got)
			}
		}
		if seen[o.Name] || seen[o.TypeID] {
			t.Errorf("%s comes twice", o.Name)
		}
		seen[o.Name], seen[o.TypeID] = true, true
		if (o.Name == "contacts") != (o.ModifiedProperty == "lastmodifieddate") {
			t.Errorf("%s is modified by %s", o.Name, o.ModifiedProperty)
		}
	}
	if _, ok := hubspot.ObjectByName("butterflies"); ok {
		t.Error("butterflies are no standard objects")
	}
}

// A request learns what to read when its turn comes; one that finds nothing costs nothing.
func TestClaimDecidesWhenTheTurnHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.limit = 1
		c := h.client(t, func(cfg *hubspot.Config) { cfg.BurstLimit = 1 })
		list(t, c)
		start := time.Now()
		var claimed time.Duration
		_, err := c.List(t.Context(), hubspot.ListRequest{Object: contacts, Claim: func(r *hubspot.ListRequest) bool {
			claimed, r.After = time.Since(start), "42"
			return true
		}})
		if err != nil || claimed < 9*time.Second {
			t.Errorf("claimed after %v, %v", claimed, err)
		}
		time.Sleep(11 * time.Second)
		if _, err := c.Search(t.Context(), hubspot.SearchRequest{Object: contacts, Claim: func(*hubspot.SearchRequest) bool { return false }}); !errors.Is(err, hubspot.ErrUnclaimed) {
			t.Error(err)
		}
		start = time.Now()
		list(t, c) // the slot is still there
		if waited := time.Since(start); waited > time.Second {
			t.Errorf("waited %v", waited)
		}
		if n, _ := h.stats(); n != 3 {
			t.Errorf("%d requests", n)
		}
	})
}
