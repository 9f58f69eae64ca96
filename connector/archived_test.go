package connector

import (
	"fmt"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// setupWalk is a portal whose recycle bin is walked by hand, and read once.
func setupWalk(t *testing.T, o simulator.Options) *sourceBundle {
	b := setupSource(t, o, Config{Objects: []string{"contacts"}, ArchivedInterval: time.Hour, Associations: []string{"none"}})
	b.sync()
	return b
}

// walk makes one walk over the recycle bin.
func (b *sourceBundle) walk() {
	b.t.Helper()
	must(b.t, b.follower("contacts").archived.walk(b.t.Context()))
}

// ops returns what the log says happened to a record.
func (b *sourceBundle) ops(id string) (ops []schemas.Op) {
	b.t.Helper()
	for _, e := range b.events(id) {
		ops = append(ops, e.Op)
	}
	return ops
}

// asInTruth compares the log's last word about every record with the portal's truth. Records that came and went between
// two reads are no loss.
func (b *sourceBundle) asInTruth(object string) {
	b.t.Helper()
	if wrong := b.wrong(object); len(wrong) > 0 {
		b.t.Errorf("%d %s are not as in HubSpot: %v", len(wrong), object, wrong[:min(len(wrong), 5)])
	}
}

func (b *sourceBundle) wrong(object string) (wrong []string) {
	b.t.Helper()
	states := b.states(object)
	for r := range b.sim.Truth(object) {
		e := states[r.ID]
		delete(states, r.ID)
		live := !r.Archived && !r.Purged && r.MergedInto == ""
		switch {
		case e == nil && (live || r.Archived):
			wrong = append(wrong, r.ID+" is missing")
		case e == nil:
		case r.Purged != (e.Op == schemas.OpPurged), r.MergedInto != e.MergedInto, live == e.Archived:
			wrong = append(wrong, fmt.Sprintf("%s is %s, merged into %q; in HubSpot archived %v, purged %v, merged into %q",
				r.ID, e.Op, e.MergedInto, r.Archived, r.Purged, r.MergedInto))
		case (live || r.Archived) && !sameValues(e, r):
			wrong = append(wrong, r.ID+" has other values")
		}
	}
	for id := range states {
		wrong = append(wrong, id+" is in the log only")
	}
	return wrong
}

func sameValues(e *schemas.Event, r simulator.TruthRecord) bool {
	have := e.Properties.Map()
	for name, value := range r.Properties {
		if have[name] != value {
			return false
		}
	}
	return len(have) == len(r.Properties)
}

func TestArchivedAndRestoredRecordsAreFoundWithoutAWebhook(t *testing.T) {
	t.Parallel()
	b := setupWalk(t, simulator.Options{Contacts: 400})
	ids := b.sim.IDs("contacts", 0, 400, 1)
	for _, id := range ids[:250] {
		must(t, b.sim.Archive("contacts", id))
	}
	b.walk()
	b.asInTruth("contacts")
	equalSlices(t, "ops", b.ops(ids[7]), []schemas.Op{schemas.OpSnapshot, schemas.OpArchived})
	equal(t, "archived at is known", b.events(ids[7])[1].ArchivedAt.IsZero(), false)
	for _, id := range ids[5:120] {
		must(t, b.sim.Restore("contacts", id))
	}
	b.walk()
	b.asInTruth("contacts")
	equalSlices(t, "ops", b.ops(ids[7]), []schemas.Op{schemas.OpSnapshot, schemas.OpArchived, schemas.OpRestored})
	before := len(b.events(""))
	b.walk()
	equal(t, "events of a walk that finds nothing new", len(b.events(""))-before, 0)
	b.noDuplicates()

	walk := b.follower("contacts").log.Cursor().ArchivedWalk
	equal(t, "records in the recycle bin", walk.Records, 135)
	equal(t, "walk is running", walk.Running(), false)
	found := b.follower("contacts").archived.told.take()
	equal(t, "deleted", found.Deleted, 250)
	equal(t, "updated", found.Updated, 115)
}

func TestWhatWasArchivedBeforeTheFirstReadIsInTheLogAsArchived(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 20}, Config{Objects: []string{"contacts"}, Associations: []string{"none"}})
	ids := b.sim.IDs("contacts", 0, 20, 1)
	must(t, b.sim.Archive("contacts", ids[3]))
	b.sync()
	b.asInTruth("contacts")
	equalSlices(t, "ops", b.ops(ids[3]), []schemas.Op{schemas.OpArchived})
	run := b.runs("contacts")
	equal(t, "a record seen for the first time is no deletion", run[len(run)-1].Deleted, 0)

	// So that a restore, which moves no modification time, is noticed.
	must(t, b.sim.Restore("contacts", ids[3]))
	b.walk()
	b.asInTruth("contacts")
	equalSlices(t, "ops", b.ops(ids[3]), []schemas.Op{schemas.OpArchived, schemas.OpRestored})
}

func TestARestoreWhileNoSourceRanIsFound(t *testing.T) {
	t.Parallel()
	b := setupWalk(t, simulator.Options{Contacts: 50})
	ids := b.sim.IDs("contacts", 0, 50, 1)
	for _, id := range ids[:9] {
		must(t, b.sim.Archive("contacts", id))
	}
	b.walk()
	// One that is archived again with other values before anyone noticed that it was restored.
	must(t, b.sim.Restore("contacts", ids[8]))
	must(t, b.sim.Update("contacts", ids[8], map[string]string{"city": "Ulm"}))
	must(t, b.sim.Archive("contacts", ids[8]))
	b.walk()
	equalSlices(t, "ops", b.ops(ids[8]), []schemas.Op{schemas.OpSnapshot, schemas.OpArchived, schemas.OpArchived})
	for _, id := range ids[5:9] {
		must(t, b.sim.Restore("contacts", id))
	}
	b.source = b.newSource(Config{Objects: []string{"contacts"}, Associations: []string{"none"}})
	must(t, b.follower("contacts").begin(t.Context()))
	b.walk()
	b.asInTruth("contacts")
	b.noDuplicates()
}

func TestAnInterruptedWalkGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	b := setupWalk(t, simulator.Options{Contacts: 3000})
	ids := b.sim.IDs("contacts", 0, 2900, 1)
	for _, id := range ids {
		must(t, b.sim.Archive("contacts", id))
	}
	w := b.follower("contacts").archived
	before := b.requests("list archived contacts")
	at := walkState{ArchivedWalk: schemas.ArchivedWalk{StartedAt: day}}
	for range moveWalkEvery { // as a process that dies after these pages
		must(t, w.page(t.Context(), &at, at.Records == 100*(moveWalkEvery-1)))
	}
	b.source = b.newSource(Config{Objects: []string{"contacts"}, Associations: []string{"none"}})
	must(t, b.follower("contacts").begin(t.Context()))
	b.walk()
	equal(t, "requests of both", b.requests("list archived contacts")-before, 29)
	equal(t, "records", b.follower("contacts").log.Cursor().ArchivedWalk.Records, 2900)
	b.asInTruth("contacts")
	b.noDuplicates()
}

func TestWhatLeftTheRecycleBinForGoodIsAskedForOnce(t *testing.T) {
	t.Parallel()
	b := setupWalk(t, simulator.Options{Contacts: 50})
	ids := b.sim.IDs("contacts", 0, 50, 1)
	for _, id := range ids[:10] {
		must(t, b.sim.Archive("contacts", id))
	}
	b.walk()
	b.sim.Advance(91 * 24 * time.Hour)
	first := b.requests("batch contacts")
	b.walk()
	before, events := b.requests("batch contacts"), len(b.events(""))
	equal(t, "reads of records that are missing", before-first, 2) // live, and in the recycle bin
	b.walk()
	b.walk()
	equal(t, "reads of records that are gone", b.requests("batch contacts")-before, 0)
	equal(t, "events", len(b.events(""))-events, 0)
	equal(t, "op", b.states("contacts")[ids[0]].Op, schemas.OpArchived)
}

func TestARecordThatOtherReadsMissIsLookedAfterAtOnce(t *testing.T) {
	t.Parallel()
	// The index still shows archived records, with values that differ from the log's: they are doubted.
	b := setupSource(t, simulator.Options{Contacts: 30, IndexLag: simulator.Lag{Archives: true, Min: time.Hour, Max: 2 * time.Hour}},
		Config{Objects: []string{"contacts"}, ArchivedInterval: time.Hour, Associations: []string{"none"}})
	b.sync()
	id := b.sim.IDs("contacts", 3, 1, 1)[0]
	must(t, b.sim.Update("contacts", id, map[string]string{"city": "Ulm"}))
	b.sim.FlushIndex()
	must(t, b.sim.Recalculate("contacts", id, map[string]string{"city": "Neu-Ulm"}))
	b.poll("contacts")
	must(t, b.sim.Recalculate("contacts", id, map[string]string{"city": "Elchingen"}))
	must(t, b.sim.Archive("contacts", id))
	b.poll("contacts")
	equal(t, "records to look after", len(b.follower("contacts").archived.lost.ids), 1)
	must(t, b.follower("contacts").archived.settle(t.Context()))
	equal(t, "op", b.states("contacts")[id].Op, schemas.OpArchived)
	b.asInTruth("contacts")

	// What the index shows of it from then on costs a look, and no more looking after.
	b.poll("contacts")
	equal(t, "records to look after", len(b.follower("contacts").archived.lost.ids), 0)
	b.noDuplicates()
}

func TestAWalkIsNotMisledByBrokenPages(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.FaultSkip, simulator.FaultNoPaging, simulator.FaultMalformed, simulator.FaultCut} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setupWalk(t, simulator.Options{Contacts: 400})
			for _, id := range b.sim.IDs("contacts", 0, 350, 1) {
				must(t, b.sim.Archive("contacts", id))
			}
			b.walk()
			b.sim.Inject(simulator.Fault{Kind: kind, Endpoint: "list", Count: 1})
			b.walk()
			b.walk()
			b.asInTruth("contacts")
			b.noDuplicates()
		})
	}
}

func TestWalksOverRecycleBinsStayWithinTheirShareOfTheQuota(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string][]int64{
		"empty": {1, 1, 1, 1, 1}, "5,000 contacts": {51, 1, 1, 1, 1}, "5,000 of each": {51, 51, 51, 51, 51}, "a million": {10_001, 1, 1, 1, 1},
	} {
		perDay, longest := 0.0, time.Duration(0)
		for _, n := range sizes {
			every := walkInterval(3*time.Minute, n, sizes, 250_000)
			perDay += float64(n) * float64(24*time.Hour) / float64(every)
			longest = max(longest, every)
		}
		t.Logf("%s: %.0f requests a day, %.0f an hour, every %s at most", name, perDay, perDay/24, longest.Round(time.Second))
		if limit := walkShare * 250_000 * 1.001; perDay > limit {
			t.Errorf("%s: %.0f requests a day, want at most %.0f", name, perDay, limit)
		}
	}
}

func TestSmallRecycleBinsAreWalkedAtOnceAndLargeOnesSlowly(t *testing.T) {
	t.Parallel()
	const gap, interval = time.Second, 10 * time.Second // 100 requests per 10 s
	var p pacer
	start := time.Unix(1e9, 0)
	sent := func(n int, from time.Time) (at []time.Duration) {
		for now := from; len(at) < n; {
			now = now.Add(p.wait(now, gap, interval/2))
			at = append(at, now.Sub(from))
		}
		return at
	}
	equalSlices(t, "five small ones", sent(5, start), make([]time.Duration, 5))
	long := sent(20, start.Add(time.Hour))
	if long[4] != 0 || long[19] != 15*gap {
		t.Errorf("a large one is walked at %v, want five requests at once and one a second from then on", long)
	}
}

func TestASetOfIDsHoldsThemInOrder(t *testing.T) {
	t.Parallel()
	var s idSet
	for _, id := range []int64{5, 1, 9, 5, 7} {
		s.add(id)
	}
	s.remove(7)
	s.remove(8)
	equalSlices(t, "ids", s.ids, []int64{1, 5, 9})
	equalSlices(t, "above 1 up to 9", s.between(1, 9), []int64{5, 9})
	equalSlices(t, "above 5 up to 8", s.between(5, 8), nil)
	equalSlices(t, "above 9 up to 2", s.between(9, 2), nil)
}

// BenchmarkArchivedIDs measures a walk over a recycle bin of a million, as far as the set is concerned.
func BenchmarkArchivedIDs(b *testing.B) {
	var s idSet
	for id := range int64(1_000_000) {
		s.add(id * 7)
	}
	for i := int64(0); b.Loop(); i++ {
		id := i * 7919 % 7_000_000
		s.add(id | 1)
		s.remove(id | 1)
	}
	b.ReportMetric(float64(cap(s.ids)*8)/(1<<20), "MB")
}
