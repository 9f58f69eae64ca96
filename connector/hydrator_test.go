package connector

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// byWebhookAlone makes polling find nothing: whatever comes was told by a webhook.
func byWebhookAlone(o simulator.Options) simulator.Options {
	o.IndexLag = simulator.Lag{Min: time.Hour, Max: time.Hour, Tail: -1}
	return o
}

// value returns a property of a record as the log has it.
func (b *sourceBundle) value(object, id, name string) string {
	b.t.Helper()
	e := b.states(object)[id]
	if e == nil {
		return ""
	}
	v, _ := e.Properties.Get(name)
	return v
}

// follow runs the source and waits until it follows changes and nothing else.
func (b *webhookBundle) follow() (stop func() error) {
	b.t.Helper()
	stop = b.run(b.source)
	eventually(b.t, "the source follows", func() bool {
		return !slices.ContainsFunc(b.source.Status(), func(s ObjectStatus) bool { return s.Phase != PhaseLive || s.CompleteThrough.IsZero() })
	})
	return stop
}

// drained waits until no hint about a record is left.
func (b *webhookBundle) drained(object string) {
	b.t.Helper()
	b.waitDelivered()
	eventually(b.t, "all hints are worked off", func() bool {
		queue, err := b.hints.queue(b.t.Context(), schemas.HintRecord, object)
		must(b.t, err)
		info, err := queue.Info(b.t.Context())
		must(b.t, err)
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

func TestEveryKindOfChangeArrivesByWebhook(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 60, Calls: 20, CustomObjects: []simulator.CustomObject{{Name: "car", Count: 10}}}),
		Config{Objects: []string{"contacts", "calls", "p_car"}, Settle: 50 * time.Millisecond})
	b.sync()
	stop := b.follow()
	b.deliver(simulator.Webhooks{Duplicates: 0.5, Jitter: 50 * time.Millisecond})
	ids := b.sim.IDs("contacts", 0, 60, 1)
	call, car := b.sim.IDs("calls", 0, 1, 1)[0], b.sim.IDs("p_car", 0, 1, 1)[0]

	born, err := b.sim.Create("contacts", map[string]string{"email": "new@example.com"})
	must(t, err)
	must(t, b.sim.Update("contacts", ids[0], map[string]string{"city": "Rome", "firstname": "Giulia"}))
	must(t, b.sim.Update("calls", call, map[string]string{"hs_call_title": "Hello"}))
	must(t, b.sim.Update("p_car", car, map[string]string{"name": "Red"}))
	must(t, b.sim.Archive("contacts", ids[1]))
	must(t, b.sim.Archive("contacts", ids[2]))
	must(t, b.sim.Restore("contacts", ids[2]))
	winner, err := b.sim.Merge("contacts", ids[3], ids[4])
	must(t, err)
	b.drained("contacts")
	b.drained("calls")
	b.drained("p_car")
	must(t, stop())

	states := b.states("contacts")
	equal(t, "created", states[born].Op, schemas.OpCreated)
	equal(t, "its origin", states[born].Origin, schemas.OriginWebhook)
	equal(t, "updated", states[ids[0]].Op, schemas.OpUpdated)
	equal(t, "both values", b.value("contacts", ids[0], "city")+b.value("contacts", ids[0], "firstname"), "RomeGiulia")
	equal(t, "call", b.value("calls", call, "hs_call_title"), "Hello")
	equal(t, "custom object", b.value("p_car", car, "name"), "Red")
	equal(t, "archived", states[ids[1]].Archived, true)
	equal(t, "restored", states[ids[2]].Archived, false)
	for _, loser := range []string{ids[3], ids[4]} {
		if loser != winner {
			equal(t, "merged "+loser, states[loser].MergedInto, winner)
		}
	}
	equal(t, "winner is there", states[winner] != nil && !states[winner].Archived, true)
	for _, object := range []string{"contacts", "calls", "p_car"} {
		b.nothingLost(object, b.sim.Now().Add(time.Hour))
		b.noDuplicatesOf(object)
	}
}

func TestDuplicatesAndDisorderDoubleNothing(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 40}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	b.sync()
	stop := b.follow()
	b.deliver(simulator.Webhooks{Duplicates: 1, Jitter: 300 * time.Millisecond, BatchSize: 7})
	ids := b.sim.IDs("contacts", 0, 40, 1)
	for i := range 400 {
		must(t, b.sim.Update("contacts", ids[i*7%len(ids)], map[string]string{"city": fmt.Sprint("c", i)}))
	}
	b.drained("contacts")
	must(t, stop())
	b.nothingLost("contacts", b.sim.Now().Add(time.Hour))
	b.noDuplicatesOf("contacts")
}

func TestABurstOnOneRecordCostsFewReads(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 5}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	b.sync()
	stop := b.follow()
	before := b.requests("batch contacts")
	b.deliver(simulator.Webhooks{})
	id := b.sim.IDs("contacts", 0, 1, 1)[0]
	for i := range 1000 {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": fmt.Sprint("c", i)}))
	}
	b.drained("contacts")
	must(t, stop())
	equal(t, "the last of the burst", b.value("contacts", id, "city"), "c999")
	if reads := b.requests("batch contacts") - before; reads > 50 {
		t.Errorf("%d reads of one record", reads)
	}
}

func TestARecordThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 5}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	b.sync()
	stop := b.follow()
	b.deliver(simulator.Webhooks{})
	id := b.sim.IDs("contacts", 0, 1, 1)[0]
	for i := range 10 {
		// The answer is made when the request comes, and held back while the record changes again.
		b.sim.Inject(simulator.Fault{Kind: simulator.FaultSlow, Endpoint: "batch", Delay: 300 * time.Millisecond, Count: 1})
		before := b.requests("batch contacts")
		must(t, b.sim.Update("contacts", id, map[string]string{"city": fmt.Sprint("old", i)}))
		eventually(t, "the record is being read", func() bool { return b.requests("batch contacts") > before })
		must(t, b.sim.Update("contacts", id, map[string]string{"city": fmt.Sprint("new", i)}))
		eventually(t, "the newer state is in the log", func() bool { return b.value("contacts", id, "city") == fmt.Sprint("new", i) })
	}
	b.drained("contacts")
	must(t, stop())
	b.noDuplicatesOf("contacts")
}

func TestHintsSurviveKillNineOfTheSource(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Calls: 50, Contacts: 300}), crashConfig)
	b.hints.ackWait = 2 * time.Second
	b.sync()
	lines, kill := startChild(t, b.logBundle, childHubSpotEnv+"="+b.sourceBundle.url)
	lines.Scan()
	b.deliver(simulator.Webhooks{})
	ids := b.sim.IDs("contacts", 0, 300, 1)
	b.sim.Inject(simulator.Fault{Kind: simulator.FaultSlow, Endpoint: "batch", Delay: 2 * time.Second})
	before := b.requests("batch contacts")
	for i, id := range ids {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": fmt.Sprint("told", i)}))
	}
	eventually(t, "the child reads what it was told", func() bool { return b.requests("batch contacts") > before })
	kill() // it has taken hints, and appended nothing of them
	b.sim.ClearFaults()
	must(t, b.sim.Update("contacts", ids[0], map[string]string{"city": "told by nobody there"}))

	stop := b.run(b.source)
	b.drained("contacts")
	must(t, stop())
	equal(t, "told while nobody followed", b.value("contacts", ids[0], "city"), "told by nobody there")
	for i, id := range ids[1:] {
		equal(t, "told before", b.value("contacts", id, "city"), fmt.Sprint("told", i+1))
	}
	b.noDuplicatesOf("contacts")
}

func TestHintsWaitWhileHubSpotIsAway(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 250}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	b.sync()
	stop := b.follow()
	b.deliver(simulator.Webhooks{})
	b.sim.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 503, Endpoint: "batch"})
	ids := b.sim.IDs("contacts", 0, 250, 1)
	for i, id := range ids {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": fmt.Sprint("told", i)}))
	}
	b.waitDelivered()
	failed := b.sim.Stats().ByStatus[503]
	eventually(t, "reads fail", func() bool { return b.sim.Stats().ByStatus[503] > failed+3 })
	equal(t, "hints that wait", waitingHints(t, b.hints), uint64(len(ids)))
	b.sim.ClearFaults()
	b.drained("contacts")
	must(t, stop())
	b.nothingLost("contacts", b.sim.Now().Add(time.Hour))
	b.noDuplicatesOf("contacts")
}

func TestOnlyTheLeaderWorksOffHints(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 50}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	b.sync()
	stop := b.follow()
	other := b.newSource(Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	stopOther := b.run(other)
	eventually(t, "the other stands by", func() bool { return other.Status()[0].Phase == PhaseStandby })
	b.deliver(simulator.Webhooks{})
	ids := b.sim.IDs("contacts", 0, 50, 1)
	for i, id := range ids {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": fmt.Sprint("first", i)}))
	}
	b.drained("contacts")
	equal(t, "hints that the standby took", heardBy(other), 0)
	if n := heardBy(b.source); n < 50 {
		t.Errorf("the leader took %d hints", n)
	}
	must(t, stop())
	for i, id := range ids {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": fmt.Sprint("second", i)}))
	}
	b.drained("contacts")
	must(t, stopOther())
	b.nothingLost("contacts", b.sim.Now().Add(time.Hour))
	b.noDuplicatesOf("contacts")
}

// heardBy returns how many hints a source took.
func heardBy(s *Source) int64 {
	w := s.followers[0].heard
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

func TestAnIDThatIsNoneKeepsNobodyBack(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 20}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	b.sync()
	ids := b.sim.IDs("contacts", 0, 20, 1)
	var list []*schemas.Hint
	for _, id := range append([]string{"abc", "1 or 1=1", strings.Repeat("9", 19), "*", ""}, ids...) {
		if id != "" {
			list = append(list, &schemas.Hint{Kind: schemas.HintRecord, Portal: b.hints.portal, Object: "contacts", ID: id, Cause: "test"})
		}
	}
	for i, id := range ids {
		must(t, b.sim.Update("contacts", id, map[string]string{"city": fmt.Sprint("c", i)}))
	}
	must(t, b.hints.publish(t.Context(), list...))
	stop := b.run(b.source)
	b.drained("contacts")
	must(t, stop())
	b.nothingLost("contacts", b.sim.Now().Add(time.Hour))
}

func TestARequestThatHubSpotRefusesIsTakenApart(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 40}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	b.sync()
	stop := b.follow()
	b.sim.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 400, Endpoint: "batch", Count: 3})
	b.deliver(simulator.Webhooks{})
	ids := b.sim.IDs("contacts", 0, 40, 1)
	_, err := b.sim.UpdateMany("contacts", ids, map[string]string{"city": "Rome"}, time.Time{})
	must(t, err)
	b.drained("contacts")
	must(t, stop())
	b.nothingLost("contacts", b.sim.Now().Add(time.Hour))
}

func TestLinksAndPurgesAreHintsOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 5, Companies: 2}), Config{Objects: []string{"contacts", "companies"}})
	b.deliver(simulator.Webhooks{})
	contact, company := b.sim.IDs("contacts", 0, 2, 1), b.sim.IDs("companies", 0, 1, 1)[0]
	must(t, b.sim.Purge("contacts", contact[1]))
	b.waitDelivered()
	must(t, b.sim.Link("contacts", contact[0], "companies", company))
	b.waitDelivered()
	var got []string
	stream, err := b.js.Stream(t.Context(), b.hints.stream)
	must(t, err)
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		if m, err := stream.GetMsg(t.Context(), seq); err == nil {
			got = append(got, strings.TrimPrefix(m.Subject, "hubspot-hints."+b.hints.portal+"."))
		}
	}
	for _, want := range []string{
		"_purge.contacts." + contact[1], "_links.contacts." + contact[0] + ".companies", "_links.companies." + company + ".contacts",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no hint %s among %v", want, got)
		}
	}
	if slices.Contains(got, "contacts."+contact[1]) {
		t.Errorf("a purged record is to be read: %v", got)
	}
}
