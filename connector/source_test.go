package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// sourceBundle is a simulated portal, a real NATS server and a source between them.
type sourceBundle struct {
	*logBundle
	sim    *simulator.Simulator
	url    string
	source *Source
}

// setupSource starts a portal with some records of each kind and fast answers.
func setupSource(t testing.TB, o simulator.Options, cfg Config) *sourceBundle {
	t.Helper()
	o.Latency, o.NoOddities = -1, true
	o.BurstLimit, o.SearchLimit, o.DailyLimit = 100_000, 100_000, 10_000_000
	b := &sourceBundle{logBundle: setupLog(t), sim: simulator.New(o)}
	var err error
	b.url, err = b.sim.Start("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, b.sim.Close()) })
	b.source = b.newSource(cfg)
	return b
}

func (b *sourceBundle) newSource(cfg Config) *Source {
	b.t.Helper()
	client, err := hubspot.New(hubspot.Config{
		BaseURL: b.url, Token: "pat-simulator", BurstLimit: 100_000, SearchLimit: 100_000,
	})
	must(b.t, err)
	cfg.Client, cfg.JetStream = client, b.js
	s, err := New(b.t.Context(), cfg)
	must(b.t, err)
	return s
}

func (b *sourceBundle) sync() {
	b.t.Helper()
	must(b.t, b.source.Sync(b.t.Context()))
}

func (b *sourceBundle) follower(object string) *follower {
	b.t.Helper()
	for _, f := range b.source.followers {
		if f.object.Name == object {
			return f
		}
	}
	b.t.Fatalf("no object %s", object)
	return nil
}

// poll makes one pass and returns how many records were new.
func (b *sourceBundle) poll(object string) int64 {
	b.t.Helper()
	news, err := b.follower(object).poll(b.t.Context())
	must(b.t, err)
	return news
}

// requests returns how many requests of a kind the portal got so far.
func (b *sourceBundle) requests(route string) int { return b.sim.Stats().ByRoute[route] }

// states returns the last event of every record of an object.
func (b *sourceBundle) states(object string) map[string]*schemas.Event {
	b.t.Helper()
	states := map[string]*schemas.Event{}
	for _, m := range b.messages() {
		if m.subject.Kind == schemas.KindRecord && m.subject.Object == object {
			states[m.subject.ID] = m.event(b.t)
		}
	}
	return states
}

// lost returns the live records whose state in the log is not the portal's, of those modified before a time.
func (b *sourceBundle) lost(object string, before time.Time) (lost []string) {
	b.t.Helper()
	states := b.states(object)
	for r := range b.sim.Truth(object) {
		if r.Archived || r.Purged || r.MergedInto != "" || !r.UpdatedAt.Before(before) {
			continue
		}
		switch e := states[r.ID]; {
		case e == nil:
			lost = append(lost, r.ID+" is missing")
		case e.UpdatedAt.Before(r.UpdatedAt):
			lost = append(lost, fmt.Sprintf("%s is of %s, not of %s", r.ID, e.UpdatedAt, r.UpdatedAt))
		case e.UpdatedAt.Equal(r.UpdatedAt) && !maps.Equal(e.Properties.Map(), r.Properties):
			lost = append(lost, r.ID+" has other values")
		}
	}
	return lost
}

func (b *sourceBundle) nothingLost(object string, before time.Time) {
	b.t.Helper()
	if lost := b.lost(object, before); len(lost) > 0 {
		b.t.Errorf("%d %s lost: %v", len(lost), object, lost[:min(len(lost), 5)])
	}
}

func TestSyncBringsEverythingAndThenOnlyChanges(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{
		Contacts: 450, Deals: 120, Owners: 3, CustomObjects: []simulator.CustomObject{{Name: "contacts", Count: 30}},
	}, Config{Objects: []string{"contact", "0-3", "p_contacts", "owners", "pipelines"}})
	b.sync()
	for _, object := range []string{"contacts", "deals", "p_contacts"} {
		b.nothingLost(object, b.sim.Now().Add(time.Hour))
	}
	equal(t, "owners", len(b.states("owners")), len(b.sim.Owners()))
	equal(t, "definitions", b.count(schemas.KindProperties), 4)
	equal(t, "pipelines", b.count(schemas.KindPipelines), 1)
	for _, s := range b.source.Status() {
		equal(t, "phase of "+s.Object, s.Phase, PhaseLive)
		equal(t, "complete_through of "+s.Object, s.CompleteThrough.IsZero(), false)
	}

	before := len(b.messages())
	id := b.sim.IDs("contacts", 0, 1, 1)[0]
	must(t, b.sim.Update("contacts", id, map[string]string{"city": "Nowhere"}))
	b.sim.FlushIndex()
	b.sync()
	e := b.states("contacts")[id]
	equal(t, "op", e.Op, schemas.OpUpdated)
	equal(t, "origin", e.Origin, schemas.OriginPoll)
	equal(t, "city is changed", slices.Contains(e.Changed, "city"), true)
	if n := len(b.events("")) + 3*4; len(b.messages()) > before+n {
		t.Errorf("%d messages for one change", len(b.messages())-before)
	}
	b.noDuplicatesOf("contacts")

	status, err := ReadStatus(t.Context(), b.js, "HUBSPOT", b.source.Portal())
	must(t, err)
	equal(t, "objects in the log", len(status.Objects), 4)
	equal(t, "first", status.Objects[0].Object, "contacts")
	equal(t, "last run", status.Objects[0].LastRun.SyncType+" "+status.Objects[0].LastRun.Status, "incremental success")
	equal(t, "updated", status.Objects[0].LastRun.Updated, 1)
}

// noDuplicatesOf is noDuplicates for one object of several: ids are unique per object only.
func (b *sourceBundle) noDuplicatesOf(object string) {
	b.t.Helper()
	seen := map[string]bool{}
	for _, m := range b.messages() {
		if m.subject.Kind != schemas.KindRecord || m.subject.Object != object {
			continue
		}
		if id := m.event(b.t).CEID(); seen[id] {
			b.t.Errorf("event %s is in the log twice", id)
		} else {
			seen[id] = true
		}
	}
}

func TestUnknownObjectIsRefusedByName(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{CustomObjects: []simulator.CustomObject{{Name: "car"}}}, Config{Objects: []string{"contacts"}})
	_, err := New(t.Context(), Config{Client: b.source.cfg.Client, JetStream: b.js, Objects: []string{"butterflies"}})
	if err == nil || !strings.Contains(err.Error(), `"butterflies"`) || !strings.Contains(err.Error(), "p_car") {
		t.Errorf("error does not help: %v", err)
	}
}

func TestAQuietCycleCostsOneRequest(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 500, Calls: 500}, Config{Objects: []string{"contacts", "calls"}})
	b.sync()
	b.sim.Advance(time.Hour)
	b.poll("contacts")
	before := b.sim.Stats().Requests
	for range 5 {
		equal(t, "news", b.poll("contacts"), 0)
		equal(t, "news", b.poll("calls"), 0)
		b.sim.Advance(12 * time.Second)
	}
	equal(t, "requests of ten cycles", b.sim.Stats().Requests-before, 10)

	_, err := b.sim.UpdateMany("contacts", b.sim.IDs("contacts", 0, 100, 3), map[string]string{"city": "Oslo"}, time.Time{})
	must(t, err)
	b.sim.FlushIndex()
	before = b.sim.Stats().Requests
	equal(t, "news", b.poll("contacts"), 100)
	if n := b.sim.Stats().Requests - before; n > 2 {
		t.Errorf("100 changes cost %d requests", n)
	}
	before = b.sim.Stats().Requests
	equal(t, "news", b.poll("contacts"), 0)
	equal(t, "requests", b.sim.Stats().Requests-before, 1)
}

func TestIdlePortalStaysWithinAFifthOfTheQuota(t *testing.T) {
	t.Parallel()
	cfg := Config{}.withDefaults()
	perDay := func(every time.Duration) int { return int(24 * time.Hour / every) }
	types, withPipelines := 5, 2              // contacts, companies, deals, tickets, calls
	total := types*perDay(cfg.PollInterval) + // one search; the settle lane is part of it
		types*perDay(cfg.DefinitionsInterval) +
		withPipelines*perDay(cfg.DefinitionsInterval) +
		2*perDay(cfg.DefinitionsInterval) // owners, active and deactivated
	t.Logf("%d requests a day, %.1f %% of 250,000", total, float64(total)/2500)
	if total > 250_000/5 {
		t.Errorf("%d requests a day", total)
	}
	if longest := cfg.PollInterval + cfg.PollInterval/12; longest > 13*time.Second {
		t.Errorf("a change can wait %s for its poll", longest)
	}
}

func TestIndexLagLosesNothingBeforeTheWatermark(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{
		Calls: 300, IndexLag: simulator.Lag{Min: 100 * time.Millisecond, Max: 55 * time.Second, Tail: -1},
	}, Config{Objects: []string{"calls"}})
	b.sync()
	ids := b.sim.IDs("calls", 0, 300, 1)
	for i := range 60 {
		for j := range 5 {
			must(t, b.sim.Update("calls", ids[(i*37+j*11)%len(ids)], map[string]string{"hs_call_title": fmt.Sprint(i, j)}))
		}
		if i%10 == 0 {
			_, err := b.sim.CreateMany("calls", 3)
			must(t, err)
		}
		b.sim.Advance(5 * time.Second)
		b.poll("calls")
		b.nothingLost("calls", b.follower("calls").log.Cursor().CompleteThrough)
	}
	end := b.sim.Now()
	for range 20 {
		b.sim.Advance(12 * time.Second)
		b.poll("calls")
	}
	if w := b.follower("calls").log.Cursor().CompleteThrough; w.Before(end) {
		t.Errorf("the watermark stays at %s", w)
	}
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

func TestChangesThatTheIndexShowsFarTooLateArriveAllTheSame(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{
		Calls: 300, IndexLag: simulator.Lag{Min: 2 * time.Minute, Max: 10 * time.Minute, Tail: -1, OldValues: true, Flicker: 0.2},
	}, Config{Objects: []string{"calls"}})
	b.sync()
	for i, id := range b.sim.IDs("calls", 0, 300, 7) {
		must(t, b.sim.Update("calls", id, map[string]string{"hs_call_title": "late " + strconv.Itoa(i)}))
		b.sim.Advance(time.Second)
	}
	for range 80 {
		b.sim.Advance(12 * time.Second)
		b.poll("calls")
	}
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

func TestTwelveThousandChangesInOneMillisecondAreAllFound(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 12_500}, Config{Objects: []string{"calls"}})
	b.sync()
	b.sim.Advance(time.Hour)
	b.poll("calls")
	_, err := b.sim.UpdateMany("calls", b.sim.IDs("calls", 0, 12_000, 1), map[string]string{"hs_call_title": "bulk"}, time.Time{})
	must(t, err)
	b.sim.FlushIndex()
	before := b.requests("search calls")
	equal(t, "news", b.poll("calls"), 12_000)
	if n := b.requests("search calls") - before; n > 75 { // some look at the newest changes in between
		t.Errorf("%d requests for 60 pages", n)
	}
	b.nothingLost("calls", b.sim.Now().Add(time.Second))
	b.noDuplicates()
	equal(t, "429s", len(b.sim.Stats().Limited), 0)
}

func TestChangesWhilePagingLoseNothing(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{
		Calls: 3000, IndexLag: simulator.Lag{Min: time.Millisecond, Max: 20 * time.Millisecond, Tail: -1},
	}, Config{Objects: []string{"calls"}, Settle: 500 * time.Millisecond, Overlap: 300 * time.Millisecond})
	b.sync()
	_, err := b.sim.UpdateMany("calls", b.sim.IDs("calls", 0, 3000, 1), map[string]string{"hs_call_title": "bulk"}, time.Time{})
	must(t, err)
	ids := b.sim.IDs("calls", 0, 3000, 1)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := b.sim.Update("calls", ids[(i*997)%len(ids)], map[string]string{"hs_call_title": strconv.Itoa(i)}); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond) // a thousand changes a second, while pages are read
		}
	})
	for range 6 {
		b.poll("calls")
	}
	close(stop)
	writer.Wait()
	b.sim.Advance(time.Second)
	b.poll("calls")
	b.sim.Advance(time.Minute)
	b.poll("calls")
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

func TestNewPropertyIsReadForAllRecords(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 250}, Config{Objects: []string{"calls"}})
	b.sync()
	must(t, b.sim.DefineProperty("calls", simulator.Property{Name: "fresh", Type: "string"}))
	ids := b.sim.IDs("calls", 0, 220, 1)
	_, err := b.sim.UpdateMany("calls", ids, map[string]string{"fresh": "yes"}, time.Time{})
	must(t, err)
	b.sim.FlushIndex()
	b.sim.Advance(time.Minute)
	b.poll("calls") // reads them without the property that it does not know yet
	must(t, b.follower("calls").prepare(t.Context()))
	b.nothingLost("calls", b.sim.Now())
	equal(t, "definitions", b.count(schemas.KindProperties), 2)
	must(t, b.follower("calls").prepare(t.Context()))
	equal(t, "definitions when nothing changed", b.count(schemas.KindProperties), 2)
}

func TestForbiddenObjectDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 50, Calls: 50}, Config{Objects: []string{"contacts", "calls"}})
	b.sim.DenyScope("crm.objects.contacts.read", true)
	b.sim.DenyScope("crm.schemas.contacts.read", true)
	err := b.source.Sync(t.Context())
	if !errors.Is(err, hubspot.ErrForbidden) {
		t.Fatalf("got %v", err)
	}
	b.nothingLost("calls", b.sim.Now())
	status := b.source.Status()
	equal(t, "phase", status[0].Phase, PhaseForbidden)
	if !strings.Contains(status[0].LastError, "contacts") {
		t.Errorf("error does not name the scope: %s", status[0].LastError)
	}
	equal(t, "phase", status[1].Phase, PhaseLive)
	equal(t, "failed runs", b.runs("contacts")[0].Status, "failed")
}

// runs returns the sync runs of an object.
func (b *sourceBundle) runs(object string) (runs []*schemas.Run) {
	b.t.Helper()
	for _, m := range b.messages() {
		if m.subject.Kind == schemas.KindRun && m.subject.Object == object {
			c, err := schemas.DecodeControl(m.msg)
			must(b.t, err)
			runs = append(runs, c.(*schemas.Run))
		}
	}
	return runs
}

func TestRefusedTokenStopsTheSource(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 50, Contacts: 50}, Config{Objects: []string{"calls", "contacts", "owners"}})
	b.sim.RevokeToken("pat-simulator")
	err := b.source.Run(t.Context())
	if !errors.Is(err, hubspot.ErrUnauthorized) {
		t.Fatalf("got %v", err)
	}
	if n := b.sim.Stats().AfterAuth; n > 6 {
		t.Errorf("%d calls with a refused token", n)
	}
}

func TestRunFollowsChangesWhileItReadsEverything(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 600, Calls: 900, Owners: 2, IndexLag: simulator.Lag{Off: true}},
		Config{Objects: []string{"contacts", "calls", "owners"}, PollInterval: 60 * time.Millisecond, Settle: 200 * time.Millisecond})
	stop := b.run(b.source)
	ids := b.sim.IDs("calls", 0, 900, 1)
	for i := range 50 {
		must(t, b.sim.Update("calls", ids[i*17%len(ids)], map[string]string{"hs_call_title": strconv.Itoa(i)}))
		_, err := b.sim.Create("contacts", map[string]string{"email": fmt.Sprintf("new%d@example.com", i)})
		must(t, err)
	}
	end := b.sim.Now()
	eventually(t, "watermarks past the last change", 20*time.Second, func() bool {
		for _, s := range b.source.Status() {
			if s.Object != ownersObject && !s.CompleteThrough.After(end) {
				return false
			}
		}
		return true
	})
	must(t, stop())
	b.nothingLost("calls", end.Add(time.Hour))
	b.nothingLost("contacts", end.Add(time.Hour))
	b.noDuplicatesOf("calls")
	b.noDuplicatesOf("contacts")
	equal(t, "full runs", b.runs("calls")[0].SyncType, "full")
	for _, s := range b.source.Status() {
		equal(t, "phase of "+s.Object, s.Phase, PhaseLive)
		if s.Object == "calls" {
			equal(t, "done", s.Done, s.Total)
		}
	}
}

func TestFaultsOfHubSpotLoseNothing(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 2500, IndexLag: simulator.Lag{Off: true}},
		Config{Objects: []string{"calls"}, PollInterval: 50 * time.Millisecond, Settle: 100 * time.Millisecond})
	for _, kind := range []simulator.FaultKind{
		simulator.FaultStatus, simulator.FaultHTML, simulator.FaultReset, simulator.FaultCut, simulator.FaultLength,
		simulator.FaultMalformed, simulator.FaultLoop, simulator.FaultSkip, simulator.FaultNoPaging,
	} {
		b.sim.Inject(simulator.Fault{Kind: kind, Endpoint: "list", Rate: 0.01})
		b.sim.Inject(simulator.Fault{Kind: kind, Endpoint: "search", Rate: 0.01})
	}
	stop := b.run(b.source)
	ids := b.sim.IDs("calls", 0, 2500, 1)
	var changed time.Time
	for i := range 20 {
		must(t, b.sim.Update("calls", ids[i*61%len(ids)], map[string]string{"hs_call_title": strconv.Itoa(i)}))
		_, err := b.sim.UpdateMany("calls", b.sim.IDs("calls", i, 300, 2), map[string]string{"hs_call_title": "bulk"}, time.Time{})
		must(t, err)
		changed = b.sim.Now()
		target := changed
		if i%10 == 9 {
			eventually(t, "the watermark goes on", time.Minute, func() bool { return b.source.Status()[0].CompleteThrough.After(target) })
		}
	}
	b.sim.ClearFaults()
	end := b.sim.Now()
	eventually(t, "the watermark goes on", time.Minute, func() bool { return b.source.Status()[0].CompleteThrough.After(end) })
	must(t, stop())
	b.sim.Advance(time.Minute)
	b.source.followers[0].lastLate = passStats{}
	b.poll("calls")
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

// run starts a source and returns how to stop it.
func (b *sourceBundle) run(s *Source) (stop func() error) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}

func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 300, IndexLag: simulator.Lag{Off: true}}, Config{})
	cfg := Config{
		Objects: []string{"calls"}, PollInterval: 30 * time.Millisecond, Settle: 100 * time.Millisecond, Takeover: 1500 * time.Millisecond,
	}
	first, second := b.newSource(cfg), b.newSource(cfg)
	stopFirst, stopSecond := b.run(first), b.run(second)
	phases := func() [2]Phase { return [2]Phase{first.Status()[0].Phase, second.Status()[0].Phase} }
	change := func(title string) {
		id := b.sim.IDs("calls", 0, 1, 1)[0]
		must(t, b.sim.Update("calls", id, map[string]string{"hs_call_title": title}))
		eventually(t, title+" in the log", 20*time.Second, func() bool {
			e := b.states("calls")[id]
			if e == nil {
				return false
			}
			v, _ := e.Properties.Get("hs_call_title")
			return v == title
		})
	}
	change("while both run")
	eventually(t, "one stands by", 20*time.Second, func() bool {
		p := phases()
		return p[0] == PhaseStandby && p[1] == PhaseLive || p[0] == PhaseLive && p[1] == PhaseStandby
	})
	if phases()[0] == PhaseLive {
		must(t, stopFirst())
	} else {
		must(t, stopSecond())
	}
	change("after the leader ended")
	must(t, stopFirst())
	must(t, stopSecond())
	b.noDuplicates()
}

func TestRunStopsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 2000, Contacts: 500}, Config{Objects: []string{"calls", "contacts", "owners"}})
	for i := range 5 {
		s := b.newSource(Config{Objects: []string{"calls", "contacts", "owners"}, PollInterval: 20 * time.Millisecond})
		stop := b.run(s)
		seen := len(b.messages())
		eventually(t, "it works", 20*time.Second, func() bool { return i == 4 || len(b.messages()) > seen })
		began := time.Now()
		must(t, stop())
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s to stop", took)
		}
	}
	b.noDuplicatesOf("calls")
}

func TestOwnersIncludeDeactivatedOnesAndChange(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Owners: 4}, Config{Objects: []string{"owners"}})
	b.sync()
	owners := b.sim.Owners()
	equal(t, "owners", len(b.states("owners")), len(owners))
	n := len(b.messages())
	b.sync()
	equal(t, "messages of an unchanged second pass", len(b.messages())-n, 3) // the run, and a cursor before and with it
	o := owners[0]
	o.Archived = !o.Archived
	b.sim.SetOwner(o)
	b.sync()
	equal(t, "archived", b.states("owners")[o.ID].Archived, o.Archived)
	equal(t, "runs", len(b.runs("owners")), 3)
}
