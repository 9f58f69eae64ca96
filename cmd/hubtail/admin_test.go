package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/sink"
)

// ask returns what an admin listener answers.
func ask(t *testing.T, url string) (code int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runBound)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(text)
}

// figure returns a sample's value, -1 if there is none.
func figure(t *testing.T, metrics, sample string) float64 {
	t.Helper()
	for line := range strings.Lines(metrics) {
		if value, found := strings.CutPrefix(line, sample+" "); found {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			must(t, err)
			return f
		}
	}
	return -1
}

// TestHealthChecksAndMetricsOfServices asks a source, a standby and a sink as an orchestrator and Prometheus do.
func TestHealthChecksAndMetricsOfServices(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"HUBTAIL_ADMIN_ADDR=127.0.0.1:0", "HUBTAIL_LOG_LEVEL=debug"}
	began := s.simulator.Now()
	address := func(p *process) string { return s.printed(p, `health checks and metrics" address=(\S+)`) }
	source, sink := s.start("source"), s.start("sink")
	sourceAddr, sinkAddr := address(source), address(sink)
	s.eventually(runBound, "it leads", func() bool { return strings.Contains(source.output.String(), "msg=leading") }, source)
	standby := s.start("source")
	standbyAddr := address(standby)
	for _, addr := range []string{sourceAddr, sinkAddr, standbyAddr} {
		if code, body := ask(t, "http://"+addr+"/healthz"); code != http.StatusOK {
			t.Errorf("/healthz: %d %s", code, body)
		}
		s.eventually(runBound, "it is ready", func() bool {
			code, _ := ask(t, "http://"+addr+"/readyz")
			return code == http.StatusOK
		}, source, sink, standby)
		s.must(nil, "healthcheck", "--ready", "--admin-addr", addr)
	}

	var m string
	s.eventually(runBound, "the watermark is in the metrics", func() bool {
		_, m = ask(t, "http://"+sourceAddr+"/metrics")
		return figure(t, m, `hubtail_complete_through_timestamp_seconds{object="deals"}`) > seconds(began)
	}, source)
	for sample, want := range map[string]float64{
		"hubtail_source_leads":                                  1,
		`hubtail_events_total{object="deals",change="created"}`: 15,
		`hubtail_object_phase{object="deals",phase="live"}`:     1,
		`hubtail_backfill_records_done{object="deals"}`:         15,
		`hubtail_hubspot_breaker_state{state="closed"}`:         1,
		`hubtail_hubspot_breaker_state{state="open"}`:           0,
		"hubtail_hubspot_rate_limited_total":                    0,
		"hubtail_hubspot_parked_until_timestamp_seconds":        0,
		`hubtail_records_failed_total{object="deals"}`:          0,
	} {
		if got := figure(t, m, sample); got != want {
			t.Errorf("%s is %v, want %v", sample, got, want)
		}
	}
	if n := figure(t, m, `hubtail_hubspot_requests_total{kind="search"}`); n <= 0 {
		t.Errorf("%v searches", n)
	}
	_, m = ask(t, "http://"+standbyAddr+"/metrics")
	if leads, phase := figure(t, m, "hubtail_source_leads"), figure(t, m, `hubtail_object_phase{object="deals",phase="standby"}`); leads != 0 || phase != 1 {
		t.Errorf("standby: leads %v, phase %v", leads, phase)
	}
	s.eventually(runBound, "the sink is up to date", func() bool {
		_, m = ask(t, "http://"+sinkAddr+"/metrics")
		return figure(t, m, "hubtail_sink_position") > 0 && figure(t, m, "hubtail_sink_lag_messages") == 0
	}, sink)
	if figure(t, m, "hubtail_sink_rows_written_total") < 200 || figure(t, m, "hubtail_sink_failing") != 0 || figure(t, m, "hubtail_source_leads") != -1 {
		t.Errorf("of the sink:\n%s", m)
	}

	for _, p := range []*process{standby, source, sink} {
		requireGraceful(t, p)
	}
	s.run(nil, "healthcheck", "--admin-addr", sourceAddr).complaint(t, exitUnhealthy, "refused")
	s.run(nil, "healthcheck", "--admin-addr", "off").complaint(t, exitUsage, "off")
	s.run(nil, "healthcheck", "--admin-addr", "8686").complaint(t, exitUsage, defaultAdminAddr)
}

func TestReadinessSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	a := newAdmin(true, nil)
	server := httptest.NewServer(a.routes())
	t.Cleanup(server.Close)
	if code, body := ask(t, server.URL+"/readyz"); code != http.StatusServiceUnavailable || body != "starting\n" {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := ask(t, server.URL+"/healthz"); code != http.StatusOK {
		t.Errorf("it lives while it starts: %d", code)
	}
	s := newStack(t, simulator.Options{})
	nc, err := nats.Connect(s.nats)
	must(t, err)
	a.watch(watched{nats: nc})
	if code, body := ask(t, server.URL+"/readyz"); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	nc.Close()
	if code, body := ask(t, server.URL+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "nats: ") {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := ask(t, server.URL+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("it serves more than it should: %d", code)
	}
}

func TestAnAddressInUseIsAnErrorOnlyIfItWasAskedFor(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	s.run(nil, "source", "--admin-addr", taken.Addr().String()).complaint(t, exitFailed, "--admin-addr", "in use")

	// Whether by us or by somebody else: the default address is in use.
	if own, err := net.Listen("tcp", defaultAdminAddr); err == nil {
		defer own.Close()
	}
	s.env = []string{"HUBTAIL_ADMIN_ADDR="}
	p := s.start("source")
	s.eventually(runBound, "it works all the same", func() bool { return s.lastSeq() > 0 }, p)
	s.printed(p, `(no health checks and metrics: give this process an --admin-addr)`)
	requireGraceful(t, p)
}

// TestMetricsAreDocumentedAndWellFormed holds docs/metrics.md and what is served together.
func TestMetricsAreDocumentedAndWellFormed(t *testing.T) {
	t.Parallel()
	var m metricsText
	m.process()
	m.leads(true)
	m.objects([]connector.ObjectStatus{{Object: "contacts", Phase: connector.PhaseLive, CompleteThrough: time.Unix(1_700_000_000, 500_000_000), SettleMS: 2500, Late: 3, Hints: 7, Hydrated: 5}, {Object: "a\"b\\c\n"}})
	m.hubspot(hubspot.Usage{Requests: map[string]int64{"list": 3, "search": 4}, Daily: hubspot.Daily{Limit: 10, Remaining: 5}, Breaker: "half-open"})
	m.sink(sink.Stats{Position: 12_345_678, CommitTime: 1500 * time.Microsecond})
	m.tables(&status{Tables: &tablesStatus{DeadLetters: 4}, Objects: []objectStatus{{Object: "deals", DeadLetters: new(int64), TablesThrough: time.Unix(1_700_000_001, 0)}}})

	page, err := os.ReadFile("../../docs/metrics.md")
	must(t, err)
	var documented, served []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(hubtail_\\w+)` \\|").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, match[1])
	}
	sample := regexp.MustCompile(`^(hubtail_\w+)(\{\w+="(?:[^"\\\n]|\\["\\n])*"(?:,\w+="(?:[^"\\\n]|\\["\\n])*")*\})? (-?[0-9.e+]+)$`)
	family := ""
	for line := range strings.Lines(m.String()) {
		line = strings.TrimSuffix(line, "\n")
		if name, found := strings.CutPrefix(line, "# TYPE "); found {
			family, _, _ = strings.Cut(name, " ")
			served = append(served, family)
			if strings.HasSuffix(family, "_total") != strings.HasSuffix(name, " counter") {
				t.Errorf("counters, and only they, end in _total: %s", name)
			}
		} else if match := sample.FindStringSubmatch(line); !strings.HasPrefix(line, "# HELP ") && (match == nil || match[1] != family) {
			t.Errorf("line %q of %s", line, family)
		}
	}
	if !slices.Equal(documented, served) {
		t.Errorf("documented: %v\nserved: %v", documented, served)
	}
	for sample, want := range map[string]float64{
		`hubtail_complete_through_timestamp_seconds{object="contacts"}`: 1_700_000_000.5, "hubtail_sink_position": 12_345_678,
		`hubtail_settle_seconds{object="contacts"}`: 2.5, `hubtail_late_changes_total{object="contacts"}`: 3,
		`hubtail_webhook_hints_total{object="contacts"}`: 7, `hubtail_webhook_records_total{object="contacts"}`: 5,
		"hubtail_sink_commit_seconds": 0.0015, "hubtail_dead_letters": 4, `hubtail_tables_complete_through_timestamp_seconds{object="deals"}`: 1_700_000_001,
	} {
		if got := figure(t, m.String(), sample); got != want {
			t.Errorf("%s is %v, want %v", sample, got, want)
		}
	}
}
