package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/internal/proxy"
)

// throughProxy returns an address that leads to the same server through a proxy.
func throughProxy(t *testing.T, address string) (*proxy.Proxy, string) {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	p, err := proxy.Start(u.Host)
	must(t, err)
	t.Cleanup(func() { _ = p.Close() })
	u.Host = p.Addr()
	return p, u.String()
}

// TestWhatHangsIsSaidAndBlamedAlone silences NATS and then Postgres, which stay connected: when the page is needed most, it
// must answer.
func TestWhatHangsIsSaidAndBlamedAlone(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"HUBTAIL_ADMIN_ADDR=127.0.0.1:0", "HUBTAIL_LOG_LEVEL=debug"}
	database, databaseURL := throughProxy(t, s.database)
	log, natsURL := throughProxy(t, s.nats)
	s.env = append(s.env, "DATABASE_URL="+databaseURL, "NATS_URL="+natsURL)
	sink := s.start("sink")
	addr := "http://" + s.printed(sink, `health checks and metrics" address=(\S+)`)
	ready := func() bool {
		code, _ := ask(t, addr+"/readyz")
		return code == http.StatusOK
	}
	s.eventually(runBound, "it is ready", ready, sink)

	log.Silence(true)
	if code, body := ask(t, addr+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "nats: ") || strings.Contains(body, "database: ") {
		t.Errorf("NATS hangs: %d %s", code, body)
	}
	log.Silence(false)
	s.eventually(runBound, "it is ready again", ready, sink)

	database.Silence(true)
	if code, body := ask(t, addr+"/readyz"); code != http.StatusServiceUnavailable || strings.Contains(body, "nats: ") || !strings.Contains(body, "database: ") {
		t.Errorf("Postgres hangs: %d %s", code, body)
	}
	for _, path := range []string{"/api/status", "/"} { // an answer that takes longer than the listener lets it is empty
		s.eventually(runBound, path+" says so", func() bool {
			code, body := ask(t, addr+path)
			return code == http.StatusOK && strings.Contains(body, "tables: ")
		}, sink)
	}
	database.Cut()
	database.Silence(false)
	s.eventually(runBound, "it is ready once more", ready, sink)
	requireGraceful(t, sink)
}

// TestAStatusUnderWayHoldsUpNobody has a look at the log and the tables hang, while somebody asks.
func TestAStatusUnderWayHoldsUpNobody(t *testing.T) {
	t.Parallel()
	m := newMonitor(nil, watched{}, 0)
	last := &status{}
	m.latest.Store(last)
	m.reading.Lock()
	defer m.reading.Unlock()
	if got := m.read(t.Context(), 0); got != last {
		t.Errorf("%v", got)
	}
}
