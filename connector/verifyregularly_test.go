package connector

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

func TestASourceVerifiesAndRepairsByItself(t *testing.T) {
	t.Parallel()
	cfg := Config{Objects: []string{"contacts"}, PollInterval: 20 * time.Millisecond, Settle: 100 * time.Millisecond, VerifyInterval: time.Hour}
	b := setupSource(t, simulator.Options{Contacts: 300, IndexLag: simulator.Lag{Off: true}}, cfg)
	b.sync()
	// A record that was restored right before the load: the log says that it ended, and no search brings it back.
	p := b.plantation("contacts")
	ended := *p.states[b.sim.IDs("contacts", 7, 1, 1)[0]]
	ended.Op, ended.Archived, ended.ArchivedAt = schemas.OpArchived, true, ended.UpdatedAt
	p.publish(difference.Archived, ended)

	stop := b.run(b.newSource(cfg))
	var verified *schemas.Verified
	eventually(t, "the source verifies", func() bool {
		c, err := b.follower("contacts").log.Peek(t.Context())
		must(t, err)
		verified = c.Verified
		return verified != nil
	})
	must(t, stop())
	equal(t, "differences", verified.Differences, 1)
	equal(t, "repaired", verified.Repaired, 1)
	if e := b.states("contacts")[ended.ID]; e.Archived || e.Op != schemas.OpRestored {
		t.Errorf("the last event is %s", e.Op)
	}
	var run *schemas.Run
	for _, r := range b.runs("contacts") {
		if r.SyncType == "verify" {
			run = r
		}
	}
	if run == nil || run.Status != "success" || run.Updated != 1 || run.Failed != 0 || run.Fetched != 300 {
		t.Errorf("the run is %+v", run)
	}
	// It is not due again, for no source, before its time.
	f := b.newSource(cfg).followers[0]
	equal(t, "due", f.verifyDue(DefaultVerifyInterval), false)
	equal(t, "due after no time", f.verifyDue(0), true)
}

func TestARunOfAVerificationSaysWhatRemains(t *testing.T) {
	t.Parallel()
	first := &difference.Report{Object: "deals", Hop: difference.HubSpotToLog, StartedAt: day, CompletedAt: day.Add(time.Second), Compared: 101, APICalls: 2}
	first.Add(difference.Missing, "1", "x")
	first.Add(difference.Missing, "2", "x")
	first.Repaired = 2
	second := &difference.Report{Object: "deals", Hop: difference.LogToTables, StartedAt: day, CompletedAt: day.Add(time.Minute), Compared: 100}
	second.Add(difference.Value, "3", "x")
	run := VerifyRun("7", first, second)
	equal(t, "counts", run.Counts, schemas.Counts{Fetched: 101, Updated: 3, Unchanged: 98, Failed: 1, APICalls: 2})
	equal(t, "counts of the tables alone", VerifyRun("7", second).Counts, schemas.Counts{Updated: 1, Unchanged: 99, Failed: 1})
	equal(t, "status", run.Status, "partial")
	equal(t, "error", run.Error, "1 differences remain (hubspot-log: 2 missing, log-tables: 1 value)")
	equal(t, "completed", run.CompletedAt, second.CompletedAt)
}
