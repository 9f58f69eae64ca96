package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// patient is a configuration for a doctor to look at, without anything of the environment.
func patient(t testing.TB, set func(*options)) *doctor {
	t.Helper()
	o := options{
		hubspotURL: "https://127.0.0.1:1", quotaShare: 0.9, burstLimit: 100, stream: "HUBSPOT", replicas: 1,
		schema: "hubspot", consumer: "hubtail-sink", objects: portalObjects, dataDir: filepath.Join(t.TempDir(), "data"),
	}
	if set != nil {
		set(&o)
	}
	p := &parts{options: o, log: slog.New(slog.DiscardHandler)}
	d := newDoctor(t.Context(), p, filepath.Join(t.TempDir(), ".env"), true)
	t.Cleanup(d.close)
	return d
}

// found are the findings of a part, or of one check of it.
func (e examination) found(part, check string) (list []finding) {
	for _, f := range e.Findings {
		if f.Part == part && (check == "" || f.Check == check) {
			list = append(list, f)
		}
	}
	return list
}

// requireFinding fails the test unless the check has a finding of that severity that says all the words, with a reason and
// a remedy if something is wrong.
func (e examination) requireFinding(t testing.TB, part, check string, s severity, words ...string) {
	t.Helper()
	for _, f := range e.found(part, check) {
		text := f.What + "\n" + f.Why + "\n" + f.Fix
		if f.Severity != s || slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			continue
		}
		if (s == severityFail || s == severityWarn) && (f.Why == "" || f.Fix == "") {
			t.Errorf("%s %s says not why or what to do: %+v", part, check, f)
		}
		return
	}
	t.Errorf("%s %s does not find %q with severity %s, only %+v", part, check, words, s, e.found(part, ""))
}

// requireHealthy fails the test if a part has findings that are wrong.
func (e examination) requireHealthy(t testing.TB, part string) {
	t.Helper()
	for _, f := range e.found(part, "") {
		if f.Severity == severityFail || f.Severity == severityWarn {
			t.Errorf("%+v", f)
		}
	}
	if len(e.found(part, "")) == 0 {
		t.Errorf("%s was not looked at", part)
	}
}

// onPortal returns a doctor for a simulated portal.
func onPortal(t testing.TB, portal simulator.Options, set func(*options)) (*simulator.Simulator, *doctor) {
	t.Helper()
	s := simulator.New(portal)
	address, err := s.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, patient(t, func(o *options) {
		o.hubspotURL, o.hubspotToken = address, "pat-simulator"
		if set != nil {
			set(o)
		}
	})
}

func TestDoctorAsksHubSpotAsOftenAsItSays(t *testing.T) {
	t.Parallel()
	for objects, requests := range map[string]int64{"contacts,companies,deals,tickets,calls,owners": 13, "contacts": 4, "p_cars,contacts": 7, "owners": 2} {
		portal := smallPortal()
		portal.CustomObjects = []simulator.CustomObject{{Name: "cars", Count: 3}}
		s, d := onPortal(t, portal, func(o *options) { o.objects = splitList(objects) })
		e := d.examine(t.Context())
		if got := s.Stats().Requests; e.Requests != requests || int64(got) != requests {
			t.Errorf("%s: it says %d, HubSpot had %d, want %d", objects, e.Requests, got, requests)
		}
		e.requireHealthy(t, "hubspot")
		e.requireFinding(t, "hubspot", "token", severityOK, "portal 4711", "US/Eastern")
		e.requireFinding(t, "hubspot", "clock", severityOK, "agrees")
	}
	s, d := onPortal(t, smallPortal(), nil)
	d.hubspot = false
	if e := d.examine(t.Context()); e.Requests != 0 || s.Stats().Requests != 0 || e.Worst != severityOK {
		t.Errorf("%+v", e)
	}
}

// beginDay is the first request of the day: the simulator forgets what was spent before.
func beginDay(t testing.TB, address string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/account-info/v3/details", nil)
	if err != nil {
		return // no address: nobody is asked
	}
	r.Header.Set("Authorization", "Bearer pat-simulator")
	if resp, err := http.DefaultClient.Do(r); err == nil {
		_ = resp.Body.Close()
	}
}

func TestDoctorFindsWhatIsWrongWithHubSpot(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		portal   func(*simulator.Options)
		set      func(*options)
		break_   func(*simulator.Simulator)
		check    string
		severity severity
		words    []string
	}{
		"token of nobody":    {set: func(o *options) { o.hubspotToken = "pat-wrong" }, check: "token", severity: severityFail, words: []string{"Private Apps", "HUBSPOT_ACCESS_TOKEN"}},
		"an old API key":     {set: func(o *options) { o.hubspotToken = "0123-4567" }, check: "token", severity: severityFail, words: []string{"API keys ended in 2022"}},
		"token with a space": {set: func(o *options) { o.hubspotToken = "pat- x" }, check: "token", severity: severityFail, words: []string{"space"}},
		"revoked":            {break_: func(s *simulator.Simulator) { s.RevokeToken("") }, check: "token", severity: severityFail, words: []string{"does not accept"}},
		"another portal":     {set: func(o *options) { o.portal = "12" }, check: "token", severity: severityFail, words: []string{"--portal is 12", "4711"}},
		"no scope": {break_: func(s *simulator.Simulator) { s.DenyScope("crm.objects.deals.read", true) }, check: "scopes", severity: severityFail,
			words: []string{"may not read deals", "tick the scope crm.objects.deals.read"}},
		"no scope of owners": {break_: func(s *simulator.Simulator) { s.DenyScope("crm.objects.owners.read", true) }, check: "scopes", severity: severityFail, words: []string{"owners"}},
		"no scope, all": {set: func(o *options) { o.objects = []string{"all"} }, break_: func(s *simulator.Simulator) { s.DenyScope("crm.objects.deals.read", true) },
			check: "scopes", severity: severityNone, words: []string{"left out", "deals"}},
		"no custom types": {set: func(o *options) { o.objects = []string{"p_cars"} }, break_: func(s *simulator.Simulator) { s.DenyScope("crm.schemas.custom.read", true) },
			check: "scopes", severity: severityFail, words: []string{"crm.schemas.custom.read"}},
		"unknown type":     {set: func(o *options) { o.objects = []string{"contacts", "p_boats"} }, check: "scopes", severity: severityFail, words: []string{"p_boats"}},
		"day nearly spent": {break_: func(s *simulator.Simulator) { s.Spend("pat-simulator", 0, 0, 210_000) }, check: "quota", severity: severityWarn, words: []string{"of 250,000", "Free or Starter"}},
		"our share spent":  {break_: func(s *simulator.Simulator) { s.Spend("pat-simulator", 0, 0, 240_000) }, check: "quota", severity: severityFail, words: []string{"--quota-share"}},
		"day spent":        {break_: func(s *simulator.Simulator) { s.Spend("pat-simulator", 0, 0, 260_000) }, check: "token", severity: severityFail, words: []string{"used up", "midnight"}},
		"clock":            {portal: func(o *simulator.Options) { o.Now = func() time.Time { return time.Now().Add(time.Minute) } }, check: "clock", severity: severityWarn, words: []string{"1m0s behind HubSpot's", "timedatectl"}},
		"search broken": {break_: func(s *simulator.Simulator) {
			s.Inject(simulator.Fault{Kind: simulator.FaultStatus, Endpoint: "search"})
		}, check: "search", severity: severityWarn, words: []string{"500", "status.hubspot.com"}},
		"out of order": {break_: func(s *simulator.Simulator) { s.Inject(simulator.Fault{Kind: simulator.FaultHTML}) }, check: "token", severity: severityFail, words: []string{"502"}},
		"nobody there": {set: func(o *options) { o.hubspotURL = "http://127.0.0.1:1" }, check: "token", severity: severityFail, words: []string{"nothing listens there", "--hubspot-url"}},
		"no such name": {set: func(o *options) { o.hubspotURL = "http://hubspot..invalid" }, check: "token", severity: severityFail, words: []string{"cannot be resolved", "--hubspot-url"}},
		"no address":   {set: func(o *options) { o.hubspotURL = "api.hubapi.com" }, check: "token", severity: severityFail, words: []string{"--hubspot-url"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := smallPortal()
			portal.BurstLimit = 100
			if test.portal != nil {
				test.portal(&portal)
			}
			s, d := onPortal(t, portal, test.set)
			beginDay(t, d.hubspotURL)
			if test.break_ != nil {
				test.break_(s)
			}
			e := d.examine(t.Context())
			e.requireFinding(t, "hubspot", test.check, test.severity, test.words...)
			if e.Requests > 13 && name != "no scope, all" {
				t.Errorf("%d requests", e.Requests)
			}
		})
	}
}

func TestDoctorTellsWhatIsWrongWithTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for address, words := range map[string]string{server.URL: "an authority that this machine does not know", "https" + strings.TrimPrefix(plain.URL, "http"): "does not speak TLS"} {
		d := patient(t, func(o *options) { o.hubspotURL, o.hubspotToken = address, "pat-x" })
		d.examine(t.Context()).requireFinding(t, "hubspot", "token", severityFail, words)
	}
}

func TestDoctorTellsKindsOfNetworkTrouble(t *testing.T) {
	t.Parallel()
	for words, err := range map[string]error{
		"name server does not answer": &net.DNSError{Err: "i/o timeout", IsTimeout: true},
		"name cannot be resolved":     &net.DNSError{Err: "no such host", IsNotFound: true},
		"for another name":            fmt.Errorf("x: %w", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}),
		"is not valid now":            x509.CertificateInvalidError{Reason: x509.Expired},
		"nothing listens there":       fmt.Errorf("x: %w", syscall.ECONNREFUSED),
		"no route":                    syscall.ENETUNREACH,
		"no answer in time":           context.DeadlineExceeded,
		"":                            errors.New("something else"),
	} {
		if got := networkAdvice(err, "NATS_URL"); !strings.Contains(got, words) || (got == "") != (words == "") {
			t.Errorf("%v: %q, want %q", err, got, words)
		}
	}
}

// TestDoctorLooksAtSecretsAndDisk breaks what is on the machine.
func TestDoctorLooksAtSecretsAndDisk(t *testing.T) {
	t.Parallel()
	d := patient(t, nil)
	e := d.examine(t.Context())
	e.requireFinding(t, "machine", "secrets", severityNone)
	e.requireFinding(t, "machine", "data", severityOK, "free")
	must(t, os.WriteFile(d.envFile, []byte("A=b\n"), 0o644))
	must(t, os.Chmod(d.envFile, 0o644))
	must(t, os.WriteFile(d.dataDir, nil, 0o600))
	e = d.examine(t.Context())
	e.requireFinding(t, "machine", "secrets", severityWarn, "mode 0644", "chmod 600 "+d.envFile)
	e.requireFinding(t, "machine", "data", severityFail, "no directory")
	must(t, os.Chmod(d.envFile, 0o600))
	d.examine(t.Context()).requireFinding(t, "machine", "secrets", severityOK)

	for free, want := range map[uint64]severity{50 << 20: severityFail, 500 << 20: severityWarn, 5 << 30: severityOK} {
		f := findings{check: &check{part: "machine", name: "data"}}
		judgeDisk(&f, "/data", free, 10<<30)
		if f.list[0].Severity != want {
			t.Errorf("%d bytes: %+v", free, f.list)
		}
	}
}

func TestDoctorIsOneCommandWithAnExitCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hubtail(t, dir, nil, "doctor").complaint(t, exitUsage, "nothing to look at", "hubtail init")
	r := hubtail(t, dir, secrets(), "doctor")
	requireNoSecret(t, r)
	if r.code != exitUnhealthy || !strings.Contains(r.stdout, "FAIL") || !strings.Contains(r.stderr, "checks fail") {
		t.Errorf("%+v", r)
	}
	r = hubtail(t, dir, secrets(), "doctor", "--json")
	requireNoSecret(t, r)
	var e examination
	if err := json.Unmarshal([]byte(r.stdout), &e); err != nil || e.Worst != severityFail {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	for part, word := range map[string]string{"hubspot": "--hubspot-url", "nats": "NATS_URL", "database": "DATABASE_URL"} {
		e.requireFinding(t, part, "", severityFail, "nothing listens there", word)
	}
	s := simulator.New(smallPortal())
	address, err := s.Start("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	env := []string{"HUBSPOT_ACCESS_TOKEN=pat-simulator", "HUBTAIL_HUBSPOT_URL=" + address}
	if r := hubtail(t, dir, env, "doctor"); r.code != exitDone || !strings.Contains(r.stdout, "13 requests to HubSpot") {
		t.Errorf("%+v", r)
	}
}

// TestAHangingPartStopsNoOtherCheck has a HubSpot that takes requests and answers none.
func TestAHangingPartStopsNoOtherCheck(t *testing.T) {
	t.Parallel()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(hanging.Close)
	d := patient(t, func(o *options) { o.hubspotURL, o.hubspotToken = hanging.URL, "pat-x" })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	d2 := newDoctor(ctx, d.parts, d.envFile, true)
	defer d2.close()
	e := d2.examine(t.Context())
	e.requireFinding(t, "hubspot", "token", severityFail, "no answer in time")
	e.requireFinding(t, "machine", "data", severityOK)
}
