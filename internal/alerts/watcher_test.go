package alerts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/internal/localnats"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { http.DefaultClient.CloseIdleConnections() }))
}

// hook is a webhook that takes down what it is told.
type hook struct {
	*httptest.Server
	mu    sync.Mutex
	told  []string // "title | text"
	last  map[string]string
	fails atomic.Bool
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.fails.Load() {
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		}
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("not JSON: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told, h.last = append(h.told, body["title"]+" | "+body["message"]), body
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) address() string { return "generic+" + h.URL + "/told" }

func (h *hook) heard() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.told...)
}

// bench is a watcher with a clock and conditions to set.
type bench struct {
	*Watcher
	t          *testing.T
	clock      time.Time
	conditions []Condition
}

func bucketOf(t *testing.T) func(context.Context) (jetstream.KeyValue, error) {
	t.Helper()
	server, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(t.TempDir(), "nats")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) (jetstream.KeyValue, error) {
		return js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "ALERTS"})
	}
}

func newBench(t *testing.T, bucket func(context.Context) (jetstream.KeyValue, error), hooks ...*hook) *bench {
	t.Helper()
	b := &bench{t: t, clock: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	var addresses []string
	for _, h := range hooks {
		addresses = append(addresses, h.address())
	}
	receivers, err := Parse(addresses)
	if err != nil {
		t.Fatal(err)
	}
	b.Watcher = New(Config{Receivers: receivers, Bucket: bucket, Keys: []string{"a", "b"}, Name: "test",
		Conditions: func(context.Context) []Condition { return b.conditions }})
	b.now = func() time.Time { return b.clock }
	return b
}

// look lets time pass, as long as conditions hold, one look after the other.
func (b *bench) look(d time.Duration, conditions ...Condition) {
	b.t.Helper()
	b.conditions = conditions
	for end := b.clock.Add(d); b.clock.Before(end); b.clock = b.clock.Add(b.cfg.Every) {
		b.Look(b.t.Context())
	}
}

func requireTold(t *testing.T, h *hook, want ...string) {
	t.Helper()
	told := h.heard()
	if len(told) != len(want) {
		t.Fatalf("told %d, want %d:\n%s", len(told), len(want), strings.Join(told, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(told[i], want[i]) {
			t.Errorf("told %q, want %q", told[i], want[i])
		}
	}
}

var (
	stale = Condition{Key: "a", Title: "stale", Text: "deals are stale"}
	slow  = Condition{Key: "b", Title: "slow", Text: "it is slow", After: 5 * time.Minute}
)

func TestOneMessagePerIncidentAndOneWhenItIsOver(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	b := newBench(t, bucketOf(t), h)
	b.look(time.Minute)
	requireTold(t, h)
	b.look(time.Hour, stale)
	requireTold(t, h, "[test] stale | deals are stale\nSince 2026-11-23 12:01 UTC.")
	b.look(time.Hour)
	requireTold(t, h, "[test] stale | ", "[test] Over: stale | It is over. It lasted 60 minutes, from 2026-11-23 12:01 to 13:01 UTC.")
	b.look(time.Minute, stale)
	requireTold(t, h, "[test] stale", "[test] Over: stale", "[test] stale | deals are stale\nSince 2026-11-23 14:01 UTC.")
	if h.last["incident"] != "a" || h.last["state"] != "open" {
		t.Errorf("for machines: %v", h.last)
	}
}

func TestShortAndFlickeringConditionsAreNoStorm(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	b := newBench(t, bucketOf(t), h)
	for range 5 { // each time shorter than it must last
		b.look(4*time.Minute, slow)
		b.look(2 * time.Minute)
	}
	requireTold(t, h)
	b.look(10*time.Minute, slow)
	for range 20 { // gone for less than it takes to be over
		b.look(30 * time.Second)
		b.look(30*time.Second, slow)
	}
	requireTold(t, h, "[test] slow")
	consequence := stale
	consequence.Consequence = true
	b.look(time.Hour, slow, consequence)
	requireTold(t, h, "[test] slow")
}

func TestARestartRepeatsNothing(t *testing.T) {
	t.Parallel()
	h, bucket := newHook(t), bucketOf(t)
	first := newBench(t, bucket, h)
	first.look(time.Minute, stale)
	requireTold(t, h, "[test] stale")
	second := newBench(t, bucket, h)
	second.clock = first.clock
	second.look(10*time.Minute, stale)
	requireTold(t, h, "[test] stale")
	third := newBench(t, bucket, h)
	third.clock = second.clock
	third.look(10 * time.Minute) // it ended while nobody ran
	requireTold(t, h, "[test] stale", "[test] Over: stale")
}

func TestWhatJoinsAnOpenIncidentIsTold(t *testing.T) {
	t.Parallel()
	h, other, bucket := newHook(t), newHook(t), bucketOf(t)
	b := newBench(t, bucket, h, other)
	about := func(items ...string) Condition {
		return Condition{Key: "a", Title: "failed", Text: strings.Join(items, ", "), Items: items}
	}
	b.look(time.Minute, about("deals"))
	b.look(10*time.Minute, about("deals", "calls"))
	b.look(10*time.Minute, about("deals", "calls", "tickets"))
	b.look(10*time.Minute, about("calls", "tickets"))
	requireTold(t, h, "[test] failed | deals\n")
	other.fails.Store(true)
	b.look(40*time.Minute, about("deals", "calls", "tickets")) // in one message, an hour after the first
	requireTold(t, h, "[test] failed | deals\n", "[test] More: failed | deals, calls, tickets\nSince 2026-11-23 12:00 UTC.")
	other.fails.Store(false)
	next := newBench(t, bucket, h, other)
	next.clock = b.clock
	next.look(3*time.Hour, about("calls")) // what comes and goes is told once
	next.look(time.Hour, about("deals", "calls"))
	requireTold(t, h, "[test] failed", "[test] More: failed")
	requireTold(t, other, "[test] failed", "[test] More: failed")
	companies := about("deals", "companies")
	companies.Consequence = true // its reason is told instead
	next.look(10*time.Minute, companies)
	next.look(10 * time.Minute)
	requireTold(t, h, "[test] failed", "[test] More: failed", "[test] Over: failed")
	requireTold(t, other, "[test] failed", "[test] More: failed", "[test] Over: failed")
}

func TestAProcessThatEndsSaysWhyOnce(t *testing.T) {
	t.Parallel()
	h, bucket := newHook(t), bucketOf(t)
	ends := Condition{Key: "a", Title: "stopped", Text: "another stream", After: time.Hour}
	first := newBench(t, bucket, h)
	first.look(time.Minute)
	first.Last(t.Context(), ends)
	requireTold(t, h, "[test] stopped | another stream\nSince 2026-11-23 12:01 UTC.")
	clock := first.clock
	for range 5 { // a service manager starts it again, and it ends again
		again := newBench(t, bucket, h)
		again.clock = clock
		again.look(time.Minute)
		again.Last(t.Context(), ends)
		clock = again.clock.Add(5 * time.Second)
	}
	requireTold(t, h, "[test] stopped")
	mended := newBench(t, bucket, h)
	mended.clock = clock
	mended.look(10 * time.Minute)
	requireTold(t, h, "[test] stopped", "[test] Over: stopped")

	// Nobody is waited for longer than a moment.
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(hangs.Close)
	t.Cleanup(func() { close(release) })
	silent, err := Parse([]string{"generic+" + hangs.URL})
	if err != nil {
		t.Fatal(err)
	}
	mended.cfg.Receivers = append(silent, mended.cfg.Receivers...)
	began := time.Now()
	mended.Last(t.Context(), ends)
	if took := time.Since(began); took < lastBound || took > lastBound+20*time.Second {
		t.Errorf("it took %s", took)
	}
	requireTold(t, h, "[test] stopped", "[test] Over: stopped", "[test] stopped")
}

func TestSeveralThatSeeTheSameTellOnce(t *testing.T) {
	t.Parallel()
	h, bucket := newHook(t), bucketOf(t)
	var all []*bench
	for range 4 {
		all = append(all, newBench(t, bucket, h))
	}
	step := func(minutes int, conditions ...Condition) {
		for range 4 * minutes {
			var group sync.WaitGroup
			for _, b := range all {
				group.Go(func() { b.look(b.cfg.Every, conditions...) })
			}
			group.Wait()
		}
	}
	step(5, stale)
	requireTold(t, h, "[test] stale")
	// One of them alone is well: it does not end what another one sees.
	for range 20 {
		for i, b := range all {
			if i == 0 {
				b.look(b.cfg.Every, stale)
			} else if held := b.keys["a"]; held != nil && all[0].keys["a"].last != nil && all[0].keys["a"].last.By == all[0].me {
				b.look(b.cfg.Every)
			} else {
				b.look(b.cfg.Every, stale)
			}
		}
	}
	step(5)
	requireTold(t, h, "[test] stale", "[test] Over: stale")
}

func TestAReceiverThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	good, bad := newHook(t), newHook(t)
	bad.fails.Store(true)
	b := newBench(t, bucketOf(t), good, bad)
	b.look(30*time.Minute, stale)
	requireTold(t, good, "[test] stale")
	bad.fails.Store(false)
	b.look(11*time.Minute, stale)
	requireTold(t, bad, "[test] stale")
	bad.fails.Store(true)
	b.look(5 * time.Minute)
	requireTold(t, good, "[test] stale", "[test] Over: stale")
	bad.fails.Store(false)
	b.look(11 * time.Minute)
	requireTold(t, bad, "[test] stale", "[test] Over: stale")
	requireTold(t, good, "[test] stale", "[test] Over: stale")
}

func TestAReceiverThatNeverAnswersHoldsUpNothing(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var asked atomic.Int64
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1); <-release }))
	t.Cleanup(hangs.Close)
	t.Cleanup(func() { close(release) })
	good := newHook(t)
	b := newBench(t, bucketOf(t), good)
	silent, err := Parse([]string{"generic+" + hangs.URL})
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.Receivers, b.cfg.Bound = append(silent, b.cfg.Receivers...), 5*time.Second // a busy machine takes its time for the other
	b.look(time.Hour, stale)
	requireTold(t, good, "[test] stale")
	if n := asked.Load(); n > 1 {
		t.Errorf("%d messages wait for an answer", n)
	}
	if err := silent[0].send(t.Context(), message{}, time.Second); !errors.Is(err, errBusy) {
		t.Errorf("%v", err)
	}
}

func TestWithoutTheBucketTheStateIsInMemory(t *testing.T) {
	t.Parallel()
	h, real := newHook(t), bucketOf(t)
	var away atomic.Bool
	away.Store(true)
	b := newBench(t, func(ctx context.Context) (jetstream.KeyValue, error) {
		if away.Load() {
			return nil, errors.New("no bucket for you")
		}
		return real(ctx)
	}, h)
	b.look(10*time.Minute, stale)
	b.look(10 * time.Minute)
	b.look(10*time.Minute, stale)
	requireTold(t, h, "[test] stale", "[test] Over: stale", "[test] stale")
	away.Store(false) // what is open is written as soon as that is possible
	b.look(2*time.Minute, stale)
	next := newBench(t, real, h)
	next.clock = b.clock
	next.look(10*time.Minute, stale)
	requireTold(t, h, "[test] stale", "[test] Over: stale", "[test] stale")
}

func TestAddressesAreNeverShown(t *testing.T) {
	t.Parallel()
	const canary = "CaNaRy"
	for _, address := range []string{
		"telegram://123456789:" + canary + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAA@telegram", // no chats
		"telegram://" + canary + "@telegram?chats=1",
		"slack://" + canary + "@" + canary, "smtp://user:" + canary + "@127.0.0.1:1/?from=a@x.org", "nosuch://" + canary, canary, "http://" + canary + ".example/\x00",
		"discord://" + canary + "@" + canary + "?nosuch=" + canary, "pushover://shoutrrr:" + canary + "@" + canary + "/?devices=" + canary + ",%zz",
		"smtp://user:" + canary + "@127.0.0.1:1/?from=a@x.org&to=" + canary + "@y.org", "generic+http://127.0.0.1:1/" + canary + "?token=" + canary,
	} {
		receivers, err := Parse([]string{address})
		said := fmt.Sprint(err)
		for _, r := range receivers {
			said += r.Name + fmt.Sprint(r.send(t.Context(), message{title: "t", text: "m"}, 5*time.Second))
		}
		if strings.Contains(strings.ToLower(said), strings.ToLower(canary)) || said == "<nil>" {
			t.Errorf("%s", said)
		}
	}
}
