package connector

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

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

func TestUnknownObjectIsRefusedByName(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{CustomObjects: []simulator.CustomObject{{Name: "car"}}}, Config{Objects: []string{"contacts"}})
	_, err := New(t.Context(), Config{Client: b.source.cfg.Client, JetStream: b.js, Objects: []string{"butterflies"}})
	if err == nil || !strings.Contains(err.Error(), `"butterflies"`) || !strings.Contains(err.Error(), "p_car") {
		t.Errorf("error does not help: %v", err)
	}
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

func TestRefusedTokenStopsTheSource(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 50, Contacts: 50}, Config{Objects: []string{"calls", "contacts", "owners"}})
	b.sim.RevokeToken("pat-simulator")
	err := b.source.Run(t.Context())
	if !errors.Is(err, hubspot.ErrUnauthorized) {
		t.Fatalf("got %v", err)
	}
	if n := b.sim.Stats().ByStatus[401]; n > 6 {
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
	eventually(t, "watermarks past the last change", func() bool {
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
			eventually(t, "the watermark goes on", func() bool { return b.source.Status()[0].CompleteThrough.After(target) })
		}
	}
	b.sim.ClearFaults()
	end := b.sim.Now()
	eventually(t, "the watermark goes on", func() bool { return b.source.Status()[0].CompleteThrough.After(end) })
	must(t, stop())
	b.sim.Advance(time.Minute)
	b.source.followers[0].lastLate = passStats{}
	b.poll("calls")
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 300, IndexLag: simulator.Lag{Off: true}}, Config{})
	cfg := Config{
		Objects: []string{"calls"}, PollInterval: 30 * time.Millisecond, Settle: 100 * time.Millisecond,
	}
	first, second := b.newSource(cfg), b.newSource(cfg)
	stopFirst, stopSecond := b.run(first), b.run(second)
	phases := func() [2]Phase { return [2]Phase{first.Status()[0].Phase, second.Status()[0].Phase} }
	change := func(title string) {
		id := b.sim.IDs("calls", 0, 1, 1)[0]
		must(t, b.sim.Update("calls", id, map[string]string{"hs_call_title": title}))
		eventually(t, title+" in the log", func() bool {
			e := b.states("calls")[id]
			if e == nil {
				return false
			}
			v, _ := e.Properties.Get("hs_call_title")
			return v == title
		})
	}
	change("while both run")
	eventually(t, "one stands by", func() bool {
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
		seen := b.lastSeq() // messages of full subjects push each other out: their number says nothing
		eventually(t, "it works", func() bool { return i == 4 || b.lastSeq() > seen })
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

// TestAFailedRunIsTheNewestUntilItGoesWellAgain has changes to tell when a type fails: their success must not hide that.
func TestAFailedRunIsTheNewestUntilItGoesWellAgain(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 50, IndexLag: simulator.Lag{Off: true}},
		Config{Objects: []string{"contacts"}, PollInterval: 50 * time.Millisecond, Settle: 200 * time.Millisecond})
	b.sync()
	before := len(b.runs("contacts"))
	stop := b.run(b.source)
	eventually(t, "polls", func() bool { return b.source.Status()[0].Phase == PhaseLive })
	must(t, b.sim.Update("contacts", b.sim.IDs("contacts", 0, 1, 1)[0], map[string]string{"city": "Nowhere"}))
	eventually(t, "the change", func() bool { return b.source.Status()[0].Counts.Updated > 0 })
	b.sim.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 400, Endpoint: "search"})
	statuses := func() (all []string) {
		for _, r := range b.runs("contacts")[before:] {
			all = append(all, r.Status)
		}
		return all
	}
	eventually(t, "a failed run", func() bool { return slices.Contains(statuses(), "failed") })
	failed := b.sim.Stats().ByStatus[400]
	eventually(t, "another try", func() bool { return b.sim.Stats().ByStatus[400] > failed })
	equal(t, "runs", strings.Join(statuses(), " "), "success failed")
	b.sim.ClearFaults()
	eventually(t, "a run that went well", func() bool { return strings.Join(statuses(), " ") == "success failed success" })
	must(t, stop())
	equal(t, "runs", strings.Join(statuses(), " "), "success failed success")
}
