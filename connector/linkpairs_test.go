package connector

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

func TestAPairWithoutScopeIsToldOnceAndStopsNothing(t *testing.T) {
	t.Parallel()
	var said lockedBuffer
	cfg := quick(100 * time.Millisecond)
	cfg.DefinitionsInterval = 200 * time.Millisecond
	cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
	b := setupSource(t, linkedPortal(), cfg)
	b.sync()
	b.sim.DenyScope("crm.objects.deals.read", true)
	b.sim.DenyScope("crm.schemas.deals.read", true)
	stop := b.run(b.source)
	refused := func() map[string]string { return b.follower("contacts").log.Cursor().Links.Refused }
	eventually(t, "it is told", func() bool { return refused()["deals"] != "" })
	if why := refused()["deals"]; !strings.Contains(why, "crm.objects.deals.read") {
		t.Errorf("it does not name the scope: %s", why)
	}
	contact, company := b.sim.IDs("contacts", 7, 1, 1)[0], b.sim.IDs("companies", 5, 1, 1)[0]
	must(t, b.sim.Link("contacts", contact, "companies", company, simulator.LinkType{Category: "USER_DEFINED", TypeID: 9}))
	eventually(t, "the others go on", func() bool { return onlyDeals(b) })
	deal := b.sim.IDs("deals", 0, 1, 1)[0]
	must(t, b.sim.Link("contacts", contact, "deals", deal))
	b.sim.DenyScope("crm.objects.deals.read", false)
	b.sim.DenyScope("crm.schemas.deals.read", false)
	must(t, stop())
	if n := strings.Count(said.String(), "from=contacts to=deals"); n != 1 {
		t.Errorf("told %d times", n)
	}
	again := b.newSource(cfg)
	stop = b.run(again)
	eventually(t, "what was refused is read for all records", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	must(t, stop())
}

// onlyDeals reports whether links to and from deals alone differ.
func onlyDeals(b *sourceBundle) bool {
	got, want := b.linksOf(), b.trueLinks(linkedObjects...)
	deals := func(key, _ string) bool { return strings.Contains(key, "deals") }
	maps.DeleteFunc(got, deals)
	maps.DeleteFunc(want, deals)
	return maps.Equal(got, want)
}

func TestPairsCanBeChosen(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(time.Hour))
	for _, test := range []struct {
		associations []string
		pairs        []string // of contacts, companies, deals
	}{
		{nil, []string{"companies deals", "contacts deals", "companies contacts"}},
		{[]string{"all"}, []string{"companies deals", "contacts deals", "companies contacts"}},
		{[]string{"contact:0-2"}, []string{"companies", "contacts", ""}},
		{[]string{"deals:contacts", "contacts:companies", "contacts:deals"}, []string{"companies deals", "contacts", "contacts"}},
	} {
		cfg := quick(time.Hour)
		cfg.Associations = test.associations
		s := b.newSource(cfg)
		must(t, s.links.discover(t.Context()))
		for i, typ := range s.links.types {
			names := namesOf(typ.open(nil))
			if got := strings.Join(names, " "); got != test.pairs[i] {
				t.Errorf("%v: pairs of %s are %q", test.associations, typ.object.Name, got)
			}
		}
	}
	for _, wrong := range []string{"contacts", "contacts:", "contacts:tickets", "butterflies:contacts", "none,all"} {
		_, err := New(t.Context(), Config{Client: b.source.cfg.Client, JetStream: b.js, Objects: linkedObjects, Associations: strings.Split(wrong, ",")})
		if !errors.Is(err, ErrUnknownPair) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	cfg := quick(time.Hour)
	cfg.Associations = []string{"none"}
	before := b.linkRequests()
	must(t, b.newSource(cfg).Sync(t.Context()))
	equal(t, "requests with none", b.linkRequests(), before)
	equal(t, "sets", len(b.linksOf()), 0)
}

// TestAnIdlePortalSpendsTwoPercentOfTheQuotaOnLinks adds up what finding pairs and sweeping cost, for portals of several
// sizes; the default one has 5 types, 45,129 records and 14 pairs.
func TestAnIdlePortalSpendsTwoPercentOfTheQuotaOnLinks(t *testing.T) {
	t.Parallel()
	const daily, each = 250_000, 24 * time.Hour
	for _, test := range []struct {
		name  string
		cost  int64 // requests of a turn
		turn  time.Duration
		share float64
	}{
		{"empty", 0, turnLeast, 0},
		{"of the tests", 14, turnLeast, 0.0175},
		{"default", 172, 56 * time.Minute, 0.0181},
		{"1,000,000 records, 4 pairs each", 4000, turnMost, 0.065},
		{"10,000,000 records, 4 pairs each", 40_000, 39 * time.Hour, 0.1},
	} {
		turn := turnFor(test.cost, daily)
		share := float64(test.cost) * float64(each) / float64(turn) / daily
		t.Logf("%s: a turn takes %s, %.0f requests a day, %.2f %%", test.name, turn.Round(time.Second), share*daily, 100*share)
		if turn > test.turn || share > test.share {
			t.Errorf("%s: a turn takes %s and %.2f %% of the quota", test.name, turn, 100*share)
		}
	}
	if share := discoveries / float64(daily); share > 0.0015 {
		t.Errorf("finding pairs takes %.2f %%", 100*share)
	}
}

// lockedBuffer is a buffer that several goroutines may write to.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
