package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// TestDoctorDeliversToARunningReceiver has a receiver behind a proxy, as in real life.
func TestDoctorDeliversToARunningReceiver(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	address := freeAddr(t)
	const public = "http://127.0.0.1:1/hubspot%3Fx?y=1"
	p := s.start("webhooks", "--listen", "--webhook-addr", address, "--webhook-url", public, "--hubspot-client-secret", canary)
	s.eventually(runBound, "the receiver listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, p)
	before := s.lastSeq()
	look := func(url, secret string) examination {
		return patient(t, func(o *options) { o.webhookURL, o.webhookAddr, o.hubspotClientSecret = url, address, secret }).examine(t.Context())
	}
	// The public address leads nowhere here; the receiver itself is tried, too.
	e := look(public, canary)
	e.requireFinding(t, "webhooks", "delivery", severityFail, "127.0.0.1:1", "nothing listens there", "--webhook-url")
	e.requireFinding(t, "webhooks", "delivery", severityOK, address, "refuses what is not")
	look(public, "other-secret").requireFinding(t, "webhooks", "delivery", severityFail, address, "refuses our signature (401)", "client secrets")
	look("http://127.0.0.1:1/other", canary).requireFinding(t, "webhooks", "delivery", severityFail, address, "refuses our signature (401)", "--webhook-url")
	if hints, err := s.js.Stream(t.Context(), "HUBSPOT_HINTS"); err != nil || hints.CachedInfo().State.LastSeq != 0 || s.lastSeq() != before {
		t.Errorf("the log or the hints have changed: %v", err)
	}
}

func TestDoctorTellsReceiversFromOthers(t *testing.T) {
	t.Parallel()
	const secret = canary + "-secret"
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if status == http.StatusFound {
				w.Header().Set("Location", "https://elsewhere.example.com/")
			}
			w.WriteHeader(status)
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		words   []string
	}{
		"takes everything": {answers(http.StatusNoContent), []string{"takes deliveries that are signed wrongly"}},
		"a web site":       {answers(http.StatusOK), []string{"answers 200", "no hubtail receiver"}},
		"nothing there":    {answers(http.StatusNotFound), []string{"answers 404", "pass POST requests"}},
		"redirects":        {answers(http.StatusFound), []string{"redirects to https://elsewhere.example.com/", "set --webhook-url"}},
		"proxy alone":      {answers(http.StatusBadGateway), []string{"answers 502", "the proxy does not reach the receiver"}},
		"refuses":          {answers(http.StatusUnauthorized), []string{"401", "client secrets"}},
		"clock far away": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(401)
		}, []string{"its clock is", "timedatectl"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(test.handler)
			t.Cleanup(server.Close)
			d := patient(t, func(o *options) { o.webhookURL, o.hubspotClientSecret = server.URL+"/hubspot", secret })
			d.examine(t.Context()).requireFinding(t, "webhooks", "delivery", severityFail, test.words...)
		})
	}
	right := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		delivery := hubspot.Delivery{Method: r.Method, URL: "https://" + r.Host + "/hubspot", Body: body, Timestamp: r.Header.Get(hubspot.HeaderRequestTimestamp)}
		w.WriteHeader(http.StatusNoContent)
		if delivery.VerifyV3(secret, r.Header.Get(hubspot.HeaderSignatureV3), time.Now()) != nil {
			t.Error("signed wrongly")
		}
	}))
	right.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	right.StartTLS()
	t.Cleanup(right.Close)
	for name, test := range map[string]struct {
		set   func(*options)
		check string
		words []string
	}{
		"no secret":       {func(o *options) { o.webhookURL = "https://x.example.com/h" }, "settings", []string{"HUBSPOT_CLIENT_SECRET", "Show client secret"}},
		"no URL":          {func(o *options) { o.webhookAddr, o.hubspotClientSecret = ":8090", secret }, "settings", []string{"--webhook-url"}},
		"not whole":       {func(o *options) { o.webhookURL, o.hubspotClientSecret = "hooks.example.com/h", secret }, "settings", []string{"whole address"}},
		"not TLS":         {func(o *options) { o.webhookURL, o.hubspotClientSecret = "http://hooks.invalid/h", secret }, "settings", []string{"not https"}},
		"no such host":    {func(o *options) { o.webhookURL, o.hubspotClientSecret = "https://hooks..invalid/h", secret }, "delivery", []string{"cannot be resolved"}},
		"own certificate": {func(o *options) { o.webhookURL, o.hubspotClientSecret = right.URL+"/hubspot", secret }, "delivery", []string{"an authority that this machine does not know"}},
		"TLS where none is": {func(o *options) {
			o.webhookURL, o.hubspotClientSecret = strings.Replace(httpServer(t), "http:", "https:", 1), secret
		}, "delivery", []string{"does not speak TLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patient(t, test.set).examine(t.Context()).requireFinding(t, "webhooks", test.check, severityFail, test.words...)
		})
	}
}

func httpServer(t testing.TB) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.URL + "/hubspot"
}
