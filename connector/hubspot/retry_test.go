package hubspot_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// reply is one answer of a script.
type reply struct {
	status int
	body   string
	header http.Header
}

var emptyPage = reply{status: 200, body: `{"results":[]}`}

// scripted answers with the replies in turn, the last one for ever.
func scripted(replies ...reply) *hub {
	h := newHub()
	h.limit, h.searchLimit = 1000, 1000
	n := 0
	h.answer = func(*http.Request, string) (int, http.Header, string) {
		r := replies[min(n, len(replies)-1)]
		n++
		return r.status, r.header, r.body
	}
	return h
}

const (
	secondly    = `{"status":"error","message":"You have reached your secondly limit.","errorType":"RATE_LIMIT","correlationId":"6828d000-3d2f-4701-8d90-b21e53b0d005","policyName":"SECONDLY","requestId":"x"}`
	noPolicy    = `{"status":"error","message":"You have reached your secondly limit.","errorType":"RATE_LIMIT"}`
	tenSecondly = `{"status":"error","message":"You have reached your ten_secondly_rolling limit.","errorType":"RATE_LIMIT","policyName":"TEN_SECONDLY_ROLLING"}`
	dailyLimit  = `{"status":"error","message":"You have reached your daily limit.","errorType":"RATE_LIMIT","policyName":"DAILY"}`
	forbidden   = `{"status":"error","message":"One or more of the following scopes are required.","correlationId":"c-1","context":{"requiredGranularScopes":["crm.objects.contacts.read"]},"category":"MISSING_SCOPES"}`
	forbidden2  = `{"status":"error","message":"This app hasn't been granted all required scopes to make this call.","category":"MISSING_SCOPES","errors":[{"message":"x","context":{"requiredScopes":["tickets"]}}]}`
	quoting     = `{"status":"error","message":"This oauth-token (pat-secret) does not have proper permissions!"}`
	unknownType = `{"status":"error","message":"Unable to infer object type from: butterflies","correlationId":"x"}`
	unauthed    = `{"status":"error","message":"Authentication credentials not found.","correlationId":"c-2","category":"INVALID_AUTHENTICATION"}`
)

func after(seconds string) http.Header { return http.Header{"Retry-After": {seconds}} }

// What HubSpot asks to repeat is repeated, not earlier and not much later than it asks.
func TestRetryFollowsTheErrorTable(t *testing.T) {
	for name, c := range map[string]struct {
		replies     []reply
		search      bool
		least, most time.Duration
	}{
		"429 secondly":               {[]reply{{429, secondly, nil}}, true, time.Second, 2 * time.Second},
		"429 secondly twice":         {[]reply{{429, secondly, nil}, {429, secondly, nil}}, true, 3 * time.Second, 5 * time.Second},
		"429 without policy":         {[]reply{{429, noPolicy, nil}}, true, time.Second, 2 * time.Second},
		"429 ten secondly":           {[]reply{{429, tenSecondly, nil}}, false, 10 * time.Second, 12 * time.Second},
		"429 with Retry-After":       {[]reply{{429, tenSecondly, after("3")}}, false, 3 * time.Second, 4 * time.Second},
		"429 html":                   {[]reply{{429, "<html>", nil}}, false, 10 * time.Second, 12 * time.Second},
		"423":                        {[]reply{{423, `{}`, nil}}, false, 2 * time.Second, 3 * time.Second},
		"477":                        {[]reply{{477, `{}`, after("36000")}}, false, 10 * time.Hour, 10*time.Hour + time.Minute},
		"500":                        {[]reply{{500, `oops`, nil}}, false, 100 * time.Millisecond, time.Second},
		"500 five times":             {[]reply{{500, ``, nil}, {500, ``, nil}, {500, ``, nil}, {500, ``, nil}, {500, ``, nil}}, false, 3 * time.Second, 10 * time.Second},
		"502":                        {[]reply{{502, `<html>`, nil}}, false, time.Second, 4 * time.Second},
		"503 with Retry-After":       {[]reply{{503, ``, after("7")}}, false, 7 * time.Second, 9 * time.Second},
		"504":                        {[]reply{{504, ``, nil}}, false, time.Second, 4 * time.Second},
		"521":                        {[]reply{{521, ``, nil}}, false, time.Second, 4 * time.Second},
		"524":                        {[]reply{{524, ``, nil}}, false, time.Second, 4 * time.Second},
		"200 with a page of HTML":    {[]reply{{200, "<html>Just a moment</html>", nil}}, false, 100 * time.Millisecond, 2 * time.Second},
		"200 with half an answer":    {[]reply{{200, `{"results":[{"id":"1"`, nil}}, false, 100 * time.Millisecond, 2 * time.Second},
		"200 with another object":    {[]reply{{200, `{"status":"ok"}`, nil}}, false, 100 * time.Millisecond, 2 * time.Second},
		"all kinds after each other": {[]reply{{500, ``, nil}, {429, tenSecondly, nil}, {502, ``, nil}, {423, ``, nil}}, false, 13 * time.Second, 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := scripted(append(c.replies, emptyPage)...)
				client := h.client(t)
				start := time.Now()
				if c.search {
					search(t, client)
				} else {
					list(t, client)
				}
				if took := time.Since(start) - 150*time.Millisecond; took < c.least || took > c.most {
					t.Errorf("waited %v, want %v to %v", took, c.least, c.most)
				}
				if u := client.Usage(); u.Retries != int64(len(c.replies)) || u.Failures != 0 {
					t.Errorf("usage is %+v", u)
				}
			})
		})
	}
}

// What no repetition helps is returned at once, with what to do about it.
func TestFinalErrorsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		reply reply
		is    error
		says  []string
	}{
		"400":               {reply{400, `{"status":"error","message":"bad filter","category":"VALIDATION_ERROR"}`, nil}, hubspot.ErrInvalid, []string{"list contacts", "400 VALIDATION_ERROR: bad filter"}},
		"unknown type":      {reply{400, unknownType, nil}, hubspot.ErrNotFound, []string{"butterflies"}},
		"401":               {reply{401, unauthed, nil}, hubspot.ErrUnauthorized, []string{"check the token", "c-2"}},
		"403":               {reply{403, forbidden, nil}, hubspot.ErrForbidden, []string{"MISSING_SCOPES", "crm.objects.contacts.read", "grant"}},
		"403 other wording": {reply{403, forbidden2, nil}, hubspot.ErrForbidden, []string{"tickets"}},
		"403 quoting token": {reply{403, quoting, nil}, hubspot.ErrForbidden, []string{"[token]"}},
		"403 html":          {reply{403, `<html>`, nil}, hubspot.ErrForbidden, []string{"403: Forbidden"}},
		"404":               {reply{404, `{"status":"error","message":"resource not found"}`, nil}, hubspot.ErrNotFound, []string{"resource not found"}},
		"522":               {reply{522, ``, nil}, hubspot.ErrUnavailable, []string{"support"}},
		"525":               {reply{525, ``, nil}, hubspot.ErrUnavailable, []string{"support"}},
		"530":               {reply{530, ``, nil}, hubspot.ErrUnauthorized, []string{"token"}},
		"redirect":          {reply{302, ``, http.Header{"Location": {"https://elsewhere.example/"}}}, nil, []string{"base URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := scripted(c.reply)
				client := h.client(t)
				_, err := client.List(t.Context(), hubspot.ListRequest{Object: contacts})
				var e *hubspot.Error
				if err == nil || !errors.As(err, &e) || c.is != nil && !errors.Is(err, c.is) {
					t.Fatalf("error is %v", err)
				}
				for _, text := range c.says {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("%q does not say %q", err, text)
					}
				}
				if strings.Contains(err.Error(), "pat-secret") {
					t.Errorf("%q shows the token", err)
				}
				if n, _ := h.stats(); n != 1 {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}

// A failure that lasts is reported after some minutes, not after seconds and not never.
func TestRetryGivesUpInTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		reply reply
		is    error
		times int
	}{
		"500":  {reply{500, `{"message":"oops"}`, nil}, hubspot.ErrUnavailable, 10},
		"429":  {reply{429, tenSecondly, nil}, hubspot.ErrRateLimited, 10},
		"423":  {reply{423, ``, nil}, hubspot.ErrUnavailable, 10},
		"html": {reply{200, `<html>`, nil}, hubspot.ErrMalformed, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := scripted(c.reply)
				client := h.client(t)
				start := time.Now()
				_, err := client.List(t.Context(), hubspot.ListRequest{Object: contacts})
				if !errors.Is(err, c.is) {
					t.Fatalf("error is %v", err)
				}
				if n, _ := h.stats(); n != c.times {
					t.Errorf("asked %d times", n)
				}
				if took := time.Since(start); took > 10*time.Minute || c.times > 3 && took < 30*time.Second {
					t.Errorf("gave up after %v", took)
				}
				if client.Usage().Failures != 1 {
					t.Errorf("usage is %+v", client.Usage())
				}
			})
		})
	}
}

func TestAnAttemptHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		slow := true
		h.process = func(bool) time.Duration {
			if slow {
				slow = false
				return time.Hour
			}
			return 0
		}
		client := h.client(t)
		start := time.Now()
		list(t, client)
		if took := time.Since(start); took < time.Minute || took > 62*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestRetryEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := scripted(reply{500, ``, nil})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		_, err := h.client(t).List(ctx, hubspot.ListRequest{Object: contacts})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// While HubSpot is down next to nothing is sent; soon after it is back, everything goes on, and no caller saw an error.
func TestBreakerPausesAndRecoversByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		down := false
		h.answer = func(*http.Request, string) (int, http.Header, string) {
			if down {
				return 503, nil, ""
			}
			return 200, nil, `{"results":[]}`
		}
		client := h.client(t)
		list(t, client)
		h.mu.Lock()
		down = true
		h.mu.Unlock()
		var ends []time.Time
		done := make(chan time.Time, 20)
		for range 20 {
			go func() {
				list(t, client)
				done <- time.Now()
			}()
		}
		time.Sleep(20 * time.Second)
		if s := client.Usage().Breaker; s == "closed" {
			t.Errorf("breaker is %s", s)
		}
		before, _ := h.stats()
		time.Sleep(time.Minute)
		if n, _ := h.stats(); n-before > 8 {
			t.Errorf("%d requests in a minute of outage", n-before)
		}
		back := time.Now()
		h.mu.Lock()
		down = false
		h.mu.Unlock()
		for range 20 {
			ends = append(ends, <-done)
		}
		if last := ends[len(ends)-1]; last.Sub(back) > 50*time.Second {
			t.Errorf("back to work after %v", last.Sub(back))
		}
		if s := client.Usage().Breaker; s != "closed" {
			t.Errorf("breaker is %s", s)
		}
	})
}

// 4xx are the caller's, not HubSpot's, illness.
func TestBreakerIgnoresRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := scripted(reply{404, `{}`, nil}).client(t)
		for range 50 {
			if _, err := client.List(t.Context(), hubspot.ListRequest{Object: contacts}); !errors.Is(err, hubspot.ErrNotFound) {
				t.Fatal(err)
			}
		}
		if s := client.Usage().Breaker; s != "closed" {
			t.Errorf("breaker is %s", s)
		}
	})
}

// A probe whose caller leaves does not wedge the breaker.
func TestBreakerSurvivesACancelledProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		down := true
		h.answer = func(*http.Request, string) (int, http.Header, string) {
			if down {
				return 500, nil, ""
			}
			return 200, nil, `{"results":[]}`
		}
		client := h.client(t)
		_, _ = client.List(t.Context(), hubspot.ListRequest{Object: contacts}) // ten failures
		h.mu.Lock()
		down = false
		h.process = func(bool) time.Duration { return 30 * time.Second }
		h.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		go func() { _, _ = client.List(ctx, hubspot.ListRequest{Object: contacts}) }()
		time.Sleep(12 * time.Second) // the probe is under way
		start := time.Now()
		list(t, client)
		if waited := time.Since(start); waited > 40*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestDailyLimitParksUntilMidnightOfTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub() // the bubble begins at 2000-01-01 00:00 UTC, 19:00 in New York
		exhausted := false
		h.answer = func(r *http.Request, _ string) (int, http.Header, string) {
			switch {
			case strings.HasPrefix(r.URL.Path, "/account-info/"):
				return 200, nil, `{"portalId":123,"timeZone":"No/Such","utcOffset":"-05:00","utcOffsetMilliseconds":-18000000}`
			case exhausted:
				return 429, nil, dailyLimit
			}
			return 200, nil, `{"results":[]}`
		}
		client := h.client(t)
		if a, err := client.Account(t.Context()); err != nil || a.PortalID != 123 {
			t.Fatalf("%+v, %v", a, err)
		}
		h.mu.Lock()
		exhausted = true
		h.mu.Unlock()
		start := time.Now()
		go func() {
			time.Sleep(5*time.Hour - time.Minute)
			u := client.Usage()
			if u.ParkedFor == "" || u.ParkedUntil.Sub(start).Round(time.Minute) != 5*time.Hour {
				t.Errorf("usage is %+v", u)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := client.List(ctx, hubspot.ListRequest{Object: contacts}); !errors.Is(err, hubspot.ErrDailyLimit) {
				t.Errorf("error while parked is %v", err)
			}
			h.mu.Lock()
			exhausted = false
			h.mu.Unlock()
		}()
		list(t, client)
		if took := time.Since(start).Round(time.Minute); took != 5*time.Hour {
			t.Errorf("went on after %v, midnight is in 5 h", took)
		}
		if n, _ := h.stats(); n != 3 { // account, one denial, one success
			t.Errorf("%d requests", n)
		}
	})
}

// A share of the daily quota is left for other apps, and the last tenth of ours for changes.
func TestDailyShareIsLeftForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		remaining := 1000
		h.answer = func(*http.Request, string) (int, http.Header, string) {
			remaining--
			return 200, http.Header{
				"X-Hubspot-Ratelimit-Daily": {"1000"}, "X-Hubspot-Ratelimit-Daily-Remaining": {itoa(remaining)},
			}, `{"results":[]}`
		}
		client := h.client(t, func(cfg *hubspot.Config) { cfg.Share = 0.8 })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		for ctx.Err() == nil {
			_, _ = client.At(hubspot.PriorityBackfill).List(ctx, hubspot.ListRequest{Object: contacts})
		}
		h.mu.Lock()
		if remaining < 279 || remaining > 281 { // 200 for others, 80 for changes
			t.Errorf("backfill left %d", remaining)
		}
		h.mu.Unlock()
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		for ctx.Err() == nil {
			_, _ = client.At(hubspot.PriorityIncremental).List(ctx, hubspot.ListRequest{Object: contacts})
		}
		h.mu.Lock()
		if remaining < 199 || remaining > 201 {
			t.Errorf("changes left %d", remaining)
		}
		h.mu.Unlock()
		if u := client.Usage(); u.Daily.Limit != 1000 || u.Daily.Allowed != 800 || u.ParkedFor == "" {
			t.Errorf("usage is %+v", u)
		}
	})
}
