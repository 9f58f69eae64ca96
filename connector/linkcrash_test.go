package connector

import (
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

func TestKillNineDuringASweepGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 6000, Contacts: 300, IndexLag: simulator.Lag{Off: true}}, crashConfig)
	b.leaseTTL(time.Second)
	b.sim.Inject(simulator.Fault{Kind: simulator.FaultSlow, Endpoint: "associations", Delay: 300 * time.Millisecond})
	log := b.follower("calls").log
	sweep := func() schemas.Sweep {
		t.Helper()
		c, err := log.Peek(t.Context())
		must(t, err)
		if c.Links == nil || c.Links.Sweep == nil {
			return schemas.Sweep{}
		}
		return *c.Links.Sweep
	}
	lead := func() (kill func()) {
		lines, kill := startChild(t, b.logBundle, childHubSpotEnv+"="+b.url)
		for lines.Scan() && !strings.Contains(lines.Text(), "msg=leading") {
		}
		return kill
	}
	kill := lead()
	eventually(t, "a part of the sweep", func() bool { return sweep().Done >= 2000 })
	kill()
	before := sweep()
	if !before.DoneAt.IsZero() {
		t.Fatalf("the sweep was done before the process was killed: %+v", before)
	}
	b.sim.ResetStats()
	kill = lead()
	defer kill()
	eventually(t, "the rest", func() bool { return !sweep().DoneAt.IsZero() })
	after := sweep()
	equal(t, "turn", after.Turn, 1)
	equal(t, "records", after.Done, 6000)
	equal(t, "started", after.StartedAt, before.StartedAt)
	pieces := int(6000-before.Done) / 1000
	// A restart begins with a small request; and it looks which types there are.
	if n := b.requests("associations calls"); n > pieces+3+2 {
		t.Errorf("%d requests for the remaining %d records", n, 6000-before.Done)
	}
	eventually(t, "all links", func() bool { return b.linksDiffer("calls", "contacts") == "" })
	equal(t, "sets published twice", b.doubledSets(), "")
}

// TestLinksOfARecordWhoseReaderDiedAreReadByTheNext appends records by a source that reads no links: one that died between
// the two.
func TestLinksOfARecordWhoseReaderDiedAreReadByTheNext(t *testing.T) {
	t.Parallel()
	cfg := quick(time.Hour)
	b := setupSource(t, linkedPortal(), cfg)
	b.sync()
	b.sameLinks(linkedObjects...)
	deals, contacts := b.sim.IDs("deals", 0, 20, 1), b.sim.IDs("contacts", 0, 20, 3)
	for i := range deals {
		must(t, b.sim.Link("deals", deals[i], "contacts", contacts[i], simulator.LinkType{Category: "USER_DEFINED", TypeID: 3, Label: "x"}))
		must(t, b.sim.Update("deals", deals[i], map[string]string{"dealname": "x"}))
	}
	cfg.Associations = []string{"none"}
	must(t, b.newSource(cfg).Sync(t.Context()))
	if b.linksDiffer(linkedObjects...) == "" {
		t.Fatal("the links were read")
	}
	cfg.Associations = nil
	stop := b.run(b.newSource(cfg))
	eventually(t, "all links", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	must(t, stop())
	equal(t, "sweeps", b.follower("deals").log.Cursor().Links.Sweep.Turn, 1)
}
