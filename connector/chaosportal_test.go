package connector

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
)

// chaosSize says how much happens in how long.
type chaosSize struct {
	changes int
	seed    int64
	// clock scales every time there is: intervals, latencies, the index lag, the quotas' windows. 1 is HubSpot's pace; at
	// 0.1 everything takes a tenth of it.
	clock float64
	// flicker is the chance that a row which changed in the last 90 s is missing from an answer.
	flicker float64
	// webhooks says that the portal tells of changes: late, out of order, some twice. Only so are privacy deletions known.
	webhooks bool
}

// kinds are the kinds of change that a source is to find: by polling, those that search shows, and what the recycle bin and
// merged records tell; with webhooks, and all records read again before long, everything.
func (s chaosSize) kinds() map[chaosKind]bool {
	kinds := map[chaosKind]bool{
		chaosUpdate: true, chaosBulk: true, chaosCreate: true, chaosImport: true, chaosArchive: true, chaosRestore: true, chaosMerge: true,
	}
	if s.webhooks {
		kinds[chaosLink], kinds[chaosCalculated], kinds[chaosPurge] = true, true, true
	}
	return kinds
}

// at returns a time of HubSpot's pace as it is at the scaled one.
func (s chaosSize) at(d time.Duration) time.Duration { return time.Duration(float64(d) * s.clock) }

// lasts returns how long the changes take, at HubSpot's pace: 400 a second, which is what one search window can follow
// with every change read twice.
func (s chaosSize) lasts() time.Duration {
	return max(4*time.Minute, time.Duration(s.changes)*5*time.Second/2000)
}

// patience is how long everything may take that no watermark speaks of, after the last change: three quarters of an hour at
// HubSpot's pace, which is several turns of the slowest lane.
func (s chaosSize) patience() time.Duration { return max(s.at(45*time.Minute), 90*time.Second) }

// bulk is how many records one bulk update changes, in one millisecond: 30,000 of a million changes.
func (s chaosSize) bulk() int { return min(max(s.changes*3/100, 100), 30_000) }

// portal returns a portal in which bulk updates, imports and everything else have room. Every change reaches the search
// index after 0.1 to 90 s, out of order.
func (s chaosSize) portal(ledger *chaosLedger) simulator.Options {
	return simulator.Options{
		Seed: s.seed, NoOddities: true, Owners: 5,
		Contacts: max(600, s.changes/50), Companies: max(100, s.changes/200), Deals: max(100, s.changes/200), Calls: s.bulk() * 7 / 6,
		IndexLag: simulator.Lag{
			Min: s.at(100 * time.Millisecond), Max: s.at(90 * time.Second), Tail: -1, TailMax: s.at(90 * time.Second), Flicker: s.flicker,
		},
		Latency: s.at(150 * time.Millisecond), Interval: s.at(10 * time.Second), SearchInterval: s.at(time.Second),
		DailyLimit: 100_000_000, MergeIntoPrimary: s.seed%2 == 0, MergedIDsMissing: s.seed%4 >= 2, AssociationBump: s.seed%8 >= 4,
		Observe: ledger.observe,
	}
}

// chaosPortal makes the changes. Which records change and how follows from the seed alone, however fast the machine is.
type chaosPortal struct {
	tb       testing.TB
	size     chaosSize
	sim      *simulator.Simulator
	ledger   *chaosLedger
	rnd      *rand.Rand
	live     map[string][]string // ids by object
	archived map[string][]string
	linked   []chaosLinked // made by link, still there
	n        int           // of changes so far, for values that differ
}

// chaosLinked is an association that was made.
type chaosLinked struct{ from, id, to, other string }

func newChaosPortal(tb testing.TB, size chaosSize, sim *simulator.Simulator, ledger *chaosLedger) *chaosPortal {
	p := &chaosPortal{
		tb: tb, size: size, sim: sim, ledger: ledger, rnd: rand.New(rand.NewPCG(uint64(size.seed), 3)),
		live: map[string][]string{}, archived: map[string][]string{},
	}
	for _, object := range chaosObjects {
		p.live[object] = sim.IDs(object, 0, 1<<30, 1)
	}
	return p
}

// chaosStep is something that happens at a time of HubSpot's pace after the start.
type chaosStep struct {
	at time.Duration
	do func() error
}

// steps returns all that happens, in order.
func (p *chaosPortal) steps() []chaosStep {
	kinds, n, bulk := p.size.kinds(), p.size.changes, p.size.bulk()
	imported := max(n/200, 20)
	var steps []chaosStep
	spread := func(kind chaosKind, times int, do func() error) {
		if !kinds[kind] {
			return
		}
		for i := range times {
			at := time.Duration((float64(i) + p.rnd.Float64()) / float64(times) * float64(p.size.lasts()))
			steps = append(steps, chaosStep{at, func() error {
				p.ledger.expect(kind)
				if err := do(); err != nil {
					return fmt.Errorf("%s: %w", kind, err)
				}
				return nil
			}})
		}
	}
	spread(chaosBulk, n*6/10/bulk, func() error { return p.bulk("calls", bulk) })
	spread(chaosBulk, n*15/100/(bulk/2), func() error { return p.bulk("contacts", bulk/2) })
	spread(chaosImport, n/10/imported, func() error { return p.create(p.object(), imported) })
	spread(chaosUpdate, n*10/100, p.update)
	spread(chaosCreate, n/100, func() error { return p.create(p.object(), 1) })
	spread(chaosLink, n/100, p.link)
	spread(chaosCalculated, n/200, p.recalculate)
	spread(chaosArchive, n/200, p.archive)
	spread(chaosRestore, n/500, p.restore)
	spread(chaosMerge, n/500, p.merge)
	spread(chaosPurge, n/1000, p.purge)
	slices.SortStableFunc(steps, func(a, b chaosStep) int { return int(a.at - b.at) })
	return steps
}

// play does every step at its time, late rather than never.
func (p *chaosPortal) play(ctx context.Context, steps []chaosStep) {
	began := time.Now()
	for _, step := range steps {
		if wait := time.Until(began.Add(p.size.at(step.at))); wait > 0 {
			if err := pause(ctx, wait, wait); err != nil {
				return
			}
		}
		if err := step.do(); err != nil {
			p.tb.Errorf("change the portal: %v", err)
			return
		}
	}
}

func (p *chaosPortal) object() string { return chaosObjects[p.rnd.IntN(len(chaosObjects))] }

// pick returns a live record of an object, and its place. One of ten times it is one of a few that change all the time.
func (p *chaosPortal) pick(object string) (id string, i int) {
	ids := p.live[object]
	if i = p.rnd.IntN(len(ids)); p.rnd.IntN(10) == 0 {
		i = p.rnd.IntN(min(20, len(ids)))
	}
	return ids[i], i
}

// ends takes a record out of those that live.
func (p *chaosPortal) ends(object string, i int) {
	ids := p.live[object]
	ids[i] = ids[len(ids)-1]
	p.live[object] = ids[:len(ids)-1]
}

// chaosProperties are a property of each object that anybody may set, and one that HubSpot calculates.
var chaosProperties = map[string][2]string{
	"contacts": {"city", "hs_registered_member"}, "companies": {"city", "hs_num_blockers"},
	"deals": {"dealname", "hs_closed_amount"}, "calls": {"hs_call_title", "hs_connected_count"},
}

func (p *chaosPortal) values(object string) map[string]string {
	p.n++
	return map[string]string{chaosProperties[object][0]: "change " + strconv.Itoa(p.n)}
}

func (p *chaosPortal) update() error {
	object := p.object()
	id, _ := p.pick(object)
	return p.sim.Update(object, id, p.values(object))
}

func (p *chaosPortal) bulk(object string, n int) error {
	ids := p.live[object]
	n = min(n, len(ids))
	from := p.rnd.IntN(len(ids) - n + 1)
	_, err := p.sim.UpdateMany(object, ids[from:from+n], p.values(object), time.Time{})
	return err
}

func (p *chaosPortal) create(object string, n int) error {
	ids, err := p.sim.CreateMany(object, n)
	p.live[object] = append(p.live[object], ids...)
	return err
}

func (p *chaosPortal) recalculate() error {
	object := p.object()
	id, _ := p.pick(object)
	p.n++
	return p.sim.Recalculate(object, id, map[string]string{chaosProperties[object][1]: strconv.Itoa(p.n)})
}

// link makes an association, or removes one of those that it made.
func (p *chaosPortal) link() error {
	if len(p.linked) > 0 && p.rnd.IntN(4) == 0 {
		i := p.rnd.IntN(len(p.linked))
		l := p.linked[i]
		p.linked = slices.Delete(p.linked, i, i+1)
		return p.sim.Unlink(l.from, l.id, l.to, l.other)
	}
	l := chaosLinked{from: "contacts", to: "deals"}
	if p.rnd.IntN(2) == 0 {
		l.to = "companies"
	}
	l.id, _ = p.pick(l.from)
	l.other, _ = p.pick(l.to)
	if !slices.Contains(p.linked, l) {
		p.linked = append(p.linked, l)
	}
	return p.sim.Link(l.from, l.id, l.to, l.other)
}

func (p *chaosPortal) archive() error {
	object := p.object()
	id, i := p.pick(object)
	p.ends(object, i)
	p.archived[object] = append(p.archived[object], id)
	p.unlinked(object, id)
	return p.sim.Archive(object, id)
}

func (p *chaosPortal) restore() error {
	for _, object := range slices.Sorted(maps.Keys(p.archived)) {
		if ids := p.archived[object]; len(ids) > 0 {
			i := p.rnd.IntN(len(ids))
			id := ids[i]
			p.archived[object] = slices.Delete(ids, i, i+1)
			p.live[object] = append(p.live[object], id)
			return p.sim.Restore(object, id)
		}
	}
	return nil
}

func (p *chaosPortal) merge() error {
	object := []string{"contacts", "companies"}[p.rnd.IntN(2)]
	winner, i := p.pick(object)
	p.ends(object, i)
	loser, j := p.pick(object)
	p.ends(object, j)
	p.unlinked(object, winner)
	p.unlinked(object, loser)
	result, err := p.sim.Merge(object, winner, loser)
	p.live[object] = append(p.live[object], result)
	return err
}

func (p *chaosPortal) purge() error {
	id, i := p.pick("contacts")
	p.ends("contacts", i)
	p.unlinked("contacts", id)
	return p.sim.Purge("contacts", id)
}

// unlinked forgets the associations of a record: who knows what has become of them.
func (p *chaosPortal) unlinked(object, id string) {
	p.linked = slices.DeleteFunc(p.linked, func(l chaosLinked) bool {
		return l.from == object && l.id == id || l.to == object && l.other == id
	})
}

// neighbours are other programs that search in the same portal, four times in every window for half a minute of each two.
func (p *chaosPortal) neighbours() (steps []chaosStep) {
	for at := time.Minute; at < p.size.lasts(); at += 2 * time.Minute {
		for second := range 30 {
			steps = append(steps, chaosStep{at + time.Duration(second)*time.Second, func() error {
				p.sim.Spend("", 0, 4, 0)
				return nil
			}})
		}
	}
	return steps
}

// storms are times in which HubSpot answers badly: every 100 s another one, for 20 s.
func (p *chaosPortal) storms() (steps []chaosStep) {
	storms := []simulator.Fault{
		{Kind: simulator.FaultLimit, Policy: "SECONDLY", Endpoint: "search", Rate: 0.5},
		{Kind: simulator.FaultStatus, Status: 500, Rate: 0.3},
		{Kind: simulator.FaultHTML, Rate: 0.4},
		{Kind: simulator.FaultHang, Delay: p.size.at(100 * time.Second), Rate: 0.1},
		{Kind: simulator.FaultReset, Rate: 0.3},
		{Kind: simulator.FaultStatus, Status: 423, Rate: 0.5},
		{Kind: simulator.FaultCut, Rate: 0.3},
		{Kind: simulator.FaultLimit, RetryAfter: 1, Rate: 0.3},
		{Kind: simulator.FaultStatus, Status: 477, RetryAfter: 1, Rate: 0.5},
		{Kind: simulator.FaultSlow, Delay: p.size.at(20 * time.Second), Rate: 0.1},
		{Kind: simulator.FaultStatus, Status: 503}, // an outage
		{Kind: simulator.FaultNoPaging, Endpoint: "search", Rate: 0.2},
		{Kind: simulator.FaultLength, Rate: 0.3},
		{Kind: simulator.FaultMalformed, Endpoint: "search", Rate: 0.2},
		{Kind: simulator.FaultSkip, Endpoint: "search", Rate: 0.2},
	}
	inject := func(f simulator.Fault) func() error {
		return func() error { p.sim.Inject(f); return nil }
	}
	clear := func() error { p.sim.ClearFaults(); return nil }
	i := int(p.size.seed)
	for at := 20 * time.Second; at < p.size.lasts(); at += 100 * time.Second {
		steps = append(steps, chaosStep{at, inject(storms[i%len(storms)])}, chaosStep{at + 20*time.Second, clear})
		i++
	}
	return steps
}

// expiries take the access tokens away, every three minutes.
func (p *chaosPortal) expiries() (steps []chaosStep) {
	for at := 45 * time.Second; at < p.size.lasts(); at += 3 * time.Minute {
		steps = append(steps, chaosStep{at, func() error { p.sim.ExpireTokens(); return nil }})
	}
	return steps
}

// client returns the settings of a client at the scaled pace.
func (s chaosSize) client(url string) hubspot.Config {
	return hubspot.Config{
		BaseURL: url, Interval: s.at(10 * time.Second), SearchInterval: s.at(time.Second), Timeout: max(s.at(time.Minute), time.Second),
		DailyLimit: 100_000_000, // so that slow lanes take their turns at the pace of a test
	}
}
