package connector

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
)

// throughProxy returns a source whose answers change may change on their way.
func (b *sourceBundle) throughProxy(cfg Config, change func(*http.Response)) *Source {
	b.t.Helper()
	target, err := url.Parse(b.url)
	must(b.t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		change(r)
		return nil
	}
	server := httptest.NewServer(proxy)
	b.t.Cleanup(server.Close)
	client, err := hubspot.New(hubspot.Config{BaseURL: server.URL, Token: "pat-simulator", BurstLimit: 100_000, SearchLimit: 100_000})
	must(b.t, err)
	b.t.Cleanup(client.Close)
	cfg.Client, cfg.JetStream = client, b.js
	s, err := New(b.t.Context(), cfg)
	must(b.t, err)
	return s
}

// replaceBody makes another answer of r.
func replaceBody(r *http.Response, body string) {
	r.Body.Close()
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader([]byte(body))), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// TestALongLoadReachesBackForWhatSearchShowsLate has changes from before the load that search shows only during it, and a
// load that takes 25 minutes.
func TestALongLoadReachesBackForWhatSearchShowsLate(t *testing.T) {
	t.Parallel()
	const lag = 5 * time.Minute
	b := setupSource(t, simulator.Options{Calls: 3000, IndexLag: simulator.Lag{Min: lag, Max: lag, TailMax: lag}}, Config{Objects: []string{"calls"}})
	var once atomic.Bool
	var id string
	s := b.throughProxy(Config{Objects: []string{"calls"}}, func(r *http.Response) {
		if strings.HasSuffix(r.Request.URL.Path, "/search") && once.CompareAndSwap(false, true) {
			b.sim.Advance(25 * time.Minute)
		}
	})
	id, err := b.sim.Create("calls", map[string]string{"hs_call_title": "new"})
	must(t, err)
	for _, old := range b.sim.IDs("calls", 0, 20, 1) {
		must(t, b.sim.Update("calls", old, map[string]string{"hs_call_title": "changed"}))
	}
	b.sim.Advance(4 * time.Minute)
	for range 3 {
		_, err := s.cfg.Client.Account(t.Context())
		must(t, err)
	}
	must(t, s.Sync(t.Context()))
	if b.states("calls")[id] == nil {
		t.Errorf("%s was never found", id)
	}
	b.nothingLost("calls", b.sim.Now())
}

// TestARecordWithoutReadableIDIsReadAgain has a poll get one record garbled, once: the watermark must not pass it.
func TestARecordWithoutReadableIDIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 400, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"calls"}})
	b.sync()
	var garble atomic.Bool
	s := b.throughProxy(Config{Objects: []string{"calls"}}, func(r *http.Response) {
		if !strings.HasSuffix(r.Request.URL.Path, "/search") || !garble.CompareAndSwap(true, false) {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		replaceBody(r, strings.Replace(string(body), `"id":"`, `"id":"?`, 1))
	})
	_, err := b.sim.UpdateMany("calls", b.sim.IDs("calls", 0, 150, 1), map[string]string{"hs_call_title": "x"}, time.Time{})
	must(t, err)
	garble.Store(true)
	must(t, s.Sync(t.Context()))
	equal(t, "an answer was garbled", garble.Load(), false)
	b.nothingLost("calls", b.sim.Now())
	equal(t, "dead letters", s.followers[0].log.head.counts.Failed, 0)
}

// TestResultsThatAreCountedButMissingAreNotClaimed has search count seven changes and show none.
func TestResultsThatAreCountedButMissingAreNotClaimed(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 100, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"calls"}})
	var left, hidden atomic.Int32
	s := b.throughProxy(Config{Objects: []string{"calls"}}, func(r *http.Response) {
		if strings.HasSuffix(r.Request.URL.Path, "/search") && left.Add(-1) >= 0 {
			hidden.Add(1)
			replaceBody(r, `{"total":7,"results":[]}`)
		}
	})
	must(t, s.Sync(t.Context()))
	change := func(title string) {
		for _, id := range b.sim.IDs("calls", 0, 7, 1) {
			must(t, b.sim.Update("calls", id, map[string]string{"hs_call_title": title}))
		}
	}
	change("once")
	left.Store(1)
	must(t, s.Sync(t.Context()))
	equal(t, "answers without results", hidden.Load(), 1)
	b.nothingLost("calls", b.sim.Now())

	change("always")
	left.Store(1 << 30)
	before := s.followers[0].log.Cursor().CompleteThrough
	must(t, s.Sync(t.Context()))
	equal(t, "answers without results", hidden.Load(), 1+1+pageVain)
	equal(t, "watermark", s.followers[0].log.Cursor().CompleteThrough, before)
	left.Store(0)
	must(t, s.Sync(t.Context()))
	b.nothingLost("calls", b.sim.Now())
}

// TestAWrongDateHeaderLosesNothing has single answers say that it is next year: the watermark stays in the present, and a
// restart finds what changes.
func TestAWrongDateHeaderLosesNothing(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 100, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"calls"}})
	var answers atomic.Int32
	wrong := func(r *http.Response) {
		if answers.Add(1)%3 == 0 {
			r.Header.Set("Date", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
		}
	}
	for i := range 4 {
		s := b.throughProxy(Config{Objects: []string{"calls"}}, wrong)
		must(t, s.Sync(t.Context()))
		must(t, b.sim.Update("calls", b.sim.IDs("calls", i, 1, 1)[0], map[string]string{"hs_call_title": fmt.Sprint(i)}))
		must(t, s.Sync(t.Context()))
		if c := s.followers[0].log.Cursor(); c.CompleteThrough.After(b.sim.Now()) || c.CompleteThrough.IsZero() {
			t.Fatalf("complete through %s, now is %s", c.CompleteThrough, b.sim.Now())
		}
		b.nothingLost("calls", b.sim.Now())
	}
	if answers.Load() < 20 {
		t.Errorf("only %d answers", answers.Load())
	}
}

// TestALongPassOfUnchangedRecordsShowsLife reads two thousand changes again that the log has: the cursor is written all the
// while, every ten seconds or every poll interval, whichever is less.
func TestALongPassOfUnchangedRecordsShowsLife(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 2000, IndexLag: simulator.Lag{Off: true}},
		Config{Objects: []string{"calls"}, PollInterval: time.Nanosecond, Settle: time.Minute})
	_, err := b.sim.UpdateMany("calls", b.sim.IDs("calls", 0, 2000, 1), map[string]string{"hs_call_title": "bulk"}, time.Time{})
	must(t, err)
	b.sync()
	f := b.follower("calls")
	before := f.log.Position()
	stats, err := f.deep(t.Context())
	must(t, err)
	equal(t, "news", newsOf(stats.counts), 0)
	if stats.counts.Fetched < 2000 {
		t.Errorf("the pass read %d records", stats.counts.Fetched)
	}
	if n := f.log.Position() - before; n < 5 {
		t.Errorf("%d cursors in %d requests", n, stats.requests)
	}
}
