package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/alerts"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/sink"
)

// webhook takes down what alerts tell it: incident, state and message.
type webhook struct {
	*httptest.Server
	mu   sync.Mutex
	told []map[string]string
}

func newWebhook(t *testing.T) *webhook {
	t.Helper()
	h := &webhook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("not JSON: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, body)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *webhook) heard() []map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.told)
}

func TestAlertTestSaysWhichAddressFailed(t *testing.T) {
	t.Parallel()
	h := newWebhook(t)
	good, bad := "generic+"+h.URL+"/"+canary, "smtp://user:"+canary+"@127.0.0.1:1/?from=a@example.org&to=b@example.org,c@example.org"
	r := hubtail(t, t.TempDir(), []string{"HUBTAIL_ALERT_URLS=" + good + "," + bad}, "alert", "test")
	requireNoSecret(t, r)
	if r.code != exitFailed || !strings.Contains(r.stdout, "ok      generic 127.0.0.1:") || !strings.Contains(r.stdout, "FAILED  smtp 127.0.0.1:1: ") || !strings.Contains(r.stderr, "1 of 2 addresses") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if told := h.heard(); len(told) != 1 || !strings.Contains(told[0]["message"], "This is a test") {
		t.Errorf("%v", told)
	}
	r = hubtail(t, t.TempDir(), nil, "alert", "test", "--json", "--alert-url", good, "--alert-url", good+"2")
	var tests []alertTest
	if err := json.Unmarshal([]byte(r.stdout), &tests); err != nil || r.code != exitDone || len(tests) != 2 || tests[0].Error != "" {
		t.Errorf("exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	for args, words := range map[string]string{
		"alert": "alert test", "alert test": "HUBTAIL_ALERT_URLS", "alert test --alert-url nosuch://" + canary: "nosuch", "alert test --alert-url " + canary: "telegram://", "alert test now": "no argument",
	} {
		r := hubtail(t, t.TempDir(), nil, strings.Fields(args)...)
		r.complaint(t, exitUsage, words)
		requireNoSecret(t, r)
	}
	if r := hubtail(t, t.TempDir(), []string{"HUBTAIL_ALERT_URLS=smtp://user:" + canary + "@127.0.0.1:1/?from=a@example.org&to=b@example.org"}, "source", "--help"); strings.Contains(r.stdout, canary) {
		t.Error("help shows an address")
	}
}

// TestSourceAndSinkTellEachOfTheirOwn has a token that lacks a scope, and a dead letter.
func TestSourceAndSinkTellEachOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	h := newWebhook(t)
	s.must(nil, "sync")
	_, err := s.connect().Exec(context.Background(), `insert into hubspot.dead_letters (stream, seq, origin, subject, object, record_id, reason) values ('HUBSPOT', 1, 'sink', 's', 'deals', '1', 'x')`)
	must(t, err)
	s.simulator.DenyScope("crm.objects.deals.read", true)
	s.env = []string{"HUBTAIL_ALERT_URLS=generic+" + h.URL}
	source, sinkProcess := s.start("source"), s.start("sink")
	s.eventually(2*runBound, "both tell", func() bool { return len(h.heard()) >= 2 }, source, sinkProcess)
	told := map[string]string{}
	for _, m := range h.heard() {
		told[m["incident"]] = m["state"] + ": " + m["title"] + ": " + m["message"]
	}
	if failed := told["source.4711.failed"]; !strings.Contains(failed, "open: [hubtail 4711] A run failed: deals: ") || !strings.Contains(failed, "crm.objects.deals.read") {
		t.Errorf("the source tells %q", failed)
	}
	if dead := told["sink.hubtail-sink.hubspot.dead-letters"]; !strings.Contains(dead, "open: [hubtail] Dead letters: 1 messages could not become rows") {
		t.Errorf("the sink tells %q", dead)
	}
	if len(told) != 2 {
		t.Errorf("%v", told)
	}
	for _, p := range []*process{source, sinkProcess} {
		requireGraceful(t, p)
	}
}

// TestWhatIsToldOf makes one thing wrong at a time, and more at once where one is the reason of the other.
func TestWhatIsToldOf(t *testing.T) {
	t.Parallel()
	limits := alertLimits{after: 5 * time.Minute, stale: 15 * time.Minute, quota: 0.9, lag: 100}
	live := func(object string, age time.Duration) connector.ObjectStatus {
		return connector.ObjectStatus{Object: object, Phase: connector.PhaseLive, CompleteThrough: time.Now().Add(-age)}
	}
	well := hubspot.Usage{Breaker: "closed", Daily: hubspot.Daily{Limit: 1000, Remaining: 500, Allowed: 900, Used: 400}}
	open := well
	open.Breaker = "open"
	spent, ours := well, well
	spent.Daily.Remaining, ours.Daily.Used = 99, 811
	forbidden := connector.ObjectStatus{Object: "deals", Phase: connector.PhaseForbidden, LastError: "no scope"}
	failedRun := &status{Objects: []objectStatus{{Object: "calls", LastRun: &runRow{Status: "failed", Error: "why"}}}}
	backfill := connector.ObjectStatus{Object: "deals", Phase: connector.PhaseBackfill}
	for name, test := range map[string]struct {
		away, standby bool
		s             *status
		objects       []connector.ObjectStatus
		usage         hubspot.Usage
		want          string // keys; those in brackets are consequences
		words         string
	}{
		"well":                     {objects: []connector.ObjectStatus{live("deals", time.Minute), backfill}, usage: well},
		"two stale, one message":   {objects: []connector.ObjectStatus{live("deals", time.Hour), live("calls", time.Hour)}, usage: well, want: "stale", words: "deals (through"},
		"a scope is missing":       {objects: []connector.ObjectStatus{forbidden}, usage: well, want: "failed", words: "deals: no scope"},
		"the last run failed":      {s: failedRun, objects: []connector.ObjectStatus{live("calls", 0)}, usage: well, want: "failed", words: "calls: why"},
		"the breaker is open":      {objects: []connector.ObjectStatus{live("calls", time.Hour), forbidden}, usage: open, want: "breaker (failed) (stale)"},
		"spent by all":             {usage: spent, want: "quota", words: "99 of the account's 1,000"},
		"our share is spent":       {usage: ours, want: "quota", words: "811 of the 900"},
		"NATS is away":             {away: true, objects: []connector.ObjectStatus{live("calls", time.Hour)}, usage: well, want: "nats (stale)"},
		"a standby leaves it":      {standby: true, objects: []connector.ObjectStatus{live("calls", time.Hour), forbidden}, usage: spent},
		"a standby misses NATS":    {standby: true, away: true, usage: well, want: "nats"},
		"no watermark, first read": {objects: []connector.ObjectStatus{backfill}, usage: well},
	} {
		if test.s == nil {
			test.s = &status{}
		}
		requireConditions(t, "source: "+name, sourceConditions(limits, !test.away, !test.standby, test.s, test.objects, test.usage), test.want, test.words)
	}

	old := []objectStatus{{Object: "deals", TablesThrough: time.Now().Add(-time.Hour)}}
	at, log, tables := time.Now(), &connector.LogStatus{}, &tablesStatus{}
	for name, test := range map[string]struct {
		away, beside bool
		s            status
		stats        sink.Stats
		want, words  string
	}{
		"well":                         {s: status{Tables: tables}, stats: sink.Stats{Lag: 100}},
		"behind":                       {stats: sink.Stats{Lag: 101}, want: "lag", words: "101 messages"},
		"behind because of Postgres":   {stats: sink.Stats{Lag: 101, Error: "postgres is away"}, want: "waits (lag)", words: "postgres is away"},
		"NATS is away: the source's":   {away: true, stats: sink.Stats{Error: "nats"}, want: "(waits)"},
		"dead letters":                 {s: status{Tables: &tablesStatus{DeadLetters: 3}}, want: "dead-letters", words: "3 messages"},
		"nobody reads":                 {s: status{At: at, Log: log, Tables: tables, Objects: old, Leaders: []portalLeader{{Portal: "1"}}}, want: "no-source", words: "hubtail source"},
		"stale, but a source is there": {s: status{At: at, Log: log, Tables: tables, Objects: old, Leaders: []portalLeader{{Portal: "1", Leader: &connector.Leader{}}}}},
		"stale, with its own source":   {beside: true, s: status{At: at, Log: log, Tables: tables, Objects: old, Leaders: []portalLeader{{Portal: "1"}}}},
		"synced by cron, not yet old":  {s: status{At: at, Log: log, Tables: tables, Objects: []objectStatus{{TablesThrough: at}}, Leaders: []portalLeader{{Portal: "1"}}}},
	} {
		requireConditions(t, "sink: "+name, sinkConditions(limits, !test.away, test.beside, &test.s, test.stats), test.want, test.words)
	}
}

func requireConditions(t *testing.T, name string, conditions []alerts.Condition, want, words string) {
	t.Helper()
	var keys []string
	var text strings.Builder
	for _, c := range conditions {
		key := c.Key
		if c.Consequence {
			key = "(" + key + ")"
		}
		keys = append(keys, key)
		text.WriteString(c.Text)
		if c.Title == "" || c.Text == "" {
			t.Errorf("%s: %s says nothing", name, c.Key)
		}
	}
	if got := strings.Join(keys, " "); got != want || !strings.Contains(text.String(), words) {
		t.Errorf("%s: told of %q, want %q\n%s", name, got, want, text.String())
	}
}

// TestAlertsNeedNoMoreRightsThanUsersHave keeps what was told as the users of deploy/nats/permissions.conf.
func TestAlertsNeedNoMoreRightsThanUsersHave(t *testing.T) { // not parallel: it sets the environment
	server := restrictedNATS(t)
	p := &parts{options: options{stream: "HUBSPOT"}}
	ctx, cancel := context.WithTimeout(t.Context(), runBound)
	defer cancel()
	for _, user := range []string{"sink", "source"} {
		nc, err := nats.Connect("nats://"+server.Addr().String(), nats.UserInfo(user, "secret"))
		must(t, err)
		defer nc.Close()
		js, err := jetstream.New(nc)
		must(t, err)
		kv, err := p.alertBucket(js)(ctx)
		must(t, err)
		for range 2 {
			revision, err := kv.Create(ctx, user+".stale", []byte("1"))
			must(t, err)
			revision, err = kv.Update(ctx, user+".stale", []byte("2"), revision)
			must(t, err)
			entry, err := kv.Get(ctx, user+".stale")
			if must(t, err); string(entry.Value()) != "2" {
				t.Errorf("%s", entry.Value())
			}
			must(t, kv.Delete(ctx, user+".stale", jetstream.LastRevision(revision)))
		}
	}
}

// TestAServiceThatEndsByItselfSaysWhyOnce has a stream made anew under a sink, and a token revoked under a source. A service
// manager starts them again, in vain.
func TestAServiceThatEndsByItselfSaysWhyOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	h := newWebhook(t)
	s.must(nil, "sync", "--objects", "deals")
	s.env = []string{"HUBTAIL_ALERT_URLS=generic+" + h.URL, "HUBTAIL_OBJECTS=deals"}
	source, sinkProcess := s.start("source"), s.start("sink")
	before := s.count("select count(*) from hubspot.deals")
	_, err := s.simulator.CreateMany("deals", 1)
	must(t, err)
	conn := s.connect()
	s.eventually(runBound, "both work", func() bool {
		var n int
		return conn.QueryRow(context.Background(), "select count(*) from hubspot.deals").Scan(&n) == nil && n > before
	}, source, sinkProcess)
	ends := func(p *process) {
		t.Helper()
		s.eventually(2*runBound, "it ends", func() bool {
			select {
			case <-p.done:
				return true
			default:
				return false
			}
		})
		if code := p.cmd.ProcessState.ExitCode(); code != exitFailed {
			t.Errorf("exit code %d\n%s", code, p.output.String())
		}
	}
	s.simulator.RevokeToken("pat-simulator")
	ends(source)
	must(t, s.js.DeleteStream(context.Background(), "HUBSPOT"))
	_, err = jetlog.Ensure(context.Background(), s.js, jetlog.StreamConfig("HUBSPOT", 1))
	must(t, err)
	ends(sinkProcess)
	for range 2 {
		ends(s.start("sink"))
	}
	told := map[string]string{}
	for _, m := range h.heard() {
		told[m["incident"]] += m["state"] + ": " + m["title"] + ": " + m["message"]
	}
	if stopped := told["source.4711.stopped"]; !strings.HasPrefix(stopped, "open: [hubtail 4711] The source stopped: ") || !strings.Contains(stopped, "401") {
		t.Errorf("the source tells %q\n%s", stopped, source.output.String())
	}
	if ended := told["sink.hubtail-sink.hubspot.ended"]; !strings.HasPrefix(ended, "open: [hubtail] The sink stopped: ") || strings.Count(ended, "hubtail rebuild") != 1 {
		t.Errorf("the sink tells %q\n%s", ended, sinkProcess.output.String())
	}
	if len(told) != 2 {
		t.Errorf("%v", told)
	}
}
