package simulator

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"
)

// LiveStats counts what Live did.
type LiveStats struct {
	Created, Updated, Archived, Restored, Merged, Purged, Linked, Unlinked, Recalculated int
}

// Changes returns how many records were changed in all.
func (l LiveStats) Changes() int {
	return l.Created + l.Updated + l.Archived + l.Restored + l.Merged + l.Purged + l.Linked + l.Unlinked + l.Recalculated
}

// Live changes the portal as people and programs do, about rate times per second, until ctx ends: updates and creations
// over the object types, now and then a bulk update, and what Options.LiveMix asks for. The sequence of changes follows
// from the seed.
func (s *Simulator) Live(ctx context.Context, rate float64) LiveStats {
	l := s.NewLive()
	if rate <= 0 {
		return l.Stats
	}
	interval := time.Duration(float64(time.Second) / rate)
	// Timers finer than a few milliseconds are not kept: do several changes per tick instead.
	const finest = 5 * time.Millisecond
	tick := max(interval, finest)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	owed := 0.0
	for {
		select {
		case <-ctx.Done():
			return l.Stats
		case <-ticker.C:
			for owed += float64(tick) / float64(interval); owed >= 1; owed-- {
				l.Step()
			}
		}
	}
}

// LiveChanges makes the changes of Live one at a time. It is not safe for concurrent use.
type LiveChanges struct {
	Stats LiveStats

	s   *Simulator
	rng *rand.Rand
	mix []weighted
}

type weighted struct {
	weight int
	do     func(*LiveChanges, *table)
}

// NewLive begins a sequence of changes.
func (s *Simulator) NewLive() *LiveChanges {
	m := s.opts.LiveMix
	return &LiveChanges{s: s, rng: rand.New(rand.NewPCG(uint64(s.opts.Seed), 19)), mix: []weighted{
		{m.Update, (*LiveChanges).update}, {m.Create, (*LiveChanges).create}, {m.Bulk, (*LiveChanges).bulk},
		{m.Archive, (*LiveChanges).archive}, {m.Restore, (*LiveChanges).restore}, {m.Merge, (*LiveChanges).merge},
		{m.Purge, (*LiveChanges).purge}, {m.Link, (*LiveChanges).link}, {m.Unlink, (*LiveChanges).unlink},
		{m.Recalculate, (*LiveChanges).recalculate},
	}}
}

// Step makes one change. A change that is not possible (nothing to restore, say) becomes an update.
func (l *LiveChanges) Step() {
	p := l.s.portal
	p.mu.Lock()
	defer p.mu.Unlock()
	t := l.table()
	if t == nil {
		return
	}
	total := 0
	for _, w := range l.mix {
		total += w.weight
	}
	n := l.rng.IntN(max(total, 1))
	for _, w := range l.mix {
		if n -= w.weight; n < 0 {
			w.do(l, t)
			return
		}
	}
}

// table picks an object type, busier ones more often; nil if the portal is empty.
func (l *LiveChanges) table() *table {
	weight := func(t *table) int {
		switch {
		case t.live.n == 0:
			return 0
		case t.object.Name == "contacts" || t.object.Name == "deals":
			return 2
		}
		return 1
	}
	total := 0
	for _, t := range l.s.portal.tables {
		total += weight(t)
	}
	if total == 0 {
		return nil
	}
	n := l.rng.IntN(total)
	for _, t := range l.s.portal.tables {
		if n -= weight(t); n < 0 {
			return t
		}
	}
	return nil
}

// pick returns a random record of a set.
func (l *LiveChanges) pick(t *table, set *ordered) (record, bool) {
	if set.n == 0 {
		return record{}, false
	}
	n := l.rng.IntN(set.n)
	r, ok := t.load(set.slice(nil, n, n+1)[0].id)
	return r, ok
}

func (l *LiveChanges) update(t *table) {
	if r, ok := l.pick(t, &t.live); ok {
		l.s.portal.update(t, &r, l.values(t), 0)
		l.Stats.Updated++
	}
}

func (l *LiveChanges) create(t *table) {
	l.s.portal.create(t, nil, true)
	l.Stats.Created++
}

// bulk updates a run of neighbouring records in one millisecond, as an import or a workflow does.
func (l *LiveChanges) bulk(t *table) {
	n := min(20+l.rng.IntN(60), t.live.n)
	first := l.rng.IntN(t.live.n - n + 1)
	stamp, values := l.s.portal.nowMS(), l.values(t)
	for _, e := range t.live.slice(nil, first, first+n) {
		if r, ok := t.load(e.id); ok {
			l.s.portal.update(t, &r, values, max(stamp, r.modified+1))
			l.Stats.Updated++
		}
	}
}

func (l *LiveChanges) archive(t *table) {
	if r, ok := l.pick(t, &t.live); ok {
		l.s.portal.archive(t, &r)
		l.Stats.Archived++
	}
}

func (l *LiveChanges) restore(t *table) {
	if r, ok := l.pick(t, &t.archived); ok {
		l.s.portal.restore(t, &r)
		l.Stats.Restored++
		return
	}
	l.update(t)
}

func (l *LiveChanges) merge(t *table) {
	a, ok := l.pick(t, &t.live)
	b, also := l.pick(t, &t.live)
	if ok && also && a.id != b.id {
		if _, err := l.s.portal.merge(t, &a, &b); err == nil {
			l.Stats.Merged++
			return
		}
	}
	l.update(t)
}

func (l *LiveChanges) purge(*table) {
	if t, ok := l.s.portal.table("contacts"); ok {
		if r, ok := l.pick(t, &t.live); ok {
			l.s.portal.purge(t, &r)
			l.Stats.Purged++
		}
	}
}

// pair picks two records of associated types.
func (l *LiveChanges) pair() (from *table, a record, to *table, b record, ok bool) {
	p := pairings[l.rng.IntN(5)]
	from, _ = l.s.portal.table(p.from)
	to, _ = l.s.portal.table(p.to)
	a, ok = l.pick(from, &from.live)
	b, also := l.pick(to, &to.live)
	return from, a, to, b, ok && also
}

func (l *LiveChanges) link(t *table) {
	from, a, to, b, ok := l.pair()
	if !ok {
		l.update(t)
		return
	}
	l.s.portal.link(from, &a, to, &b, nil)
	l.Stats.Linked++
}

func (l *LiveChanges) unlink(t *table) {
	from, a, to, _, ok := l.pair()
	if ok {
		if links := l.s.portal.liveLinks(linkKey{from, a.id, to}); len(links) > 0 {
			b, _ := to.load(links[0].To)
			l.s.portal.unlink(from, &a, to, &b)
			l.Stats.Unlinked++
			return
		}
	}
	l.update(t)
}

func (l *LiveChanges) recalculate(t *table) {
	r, ok := l.pick(t, &t.live)
	if _, has := t.definitions.byName["custom_calculated"]; ok && has {
		l.s.portal.recalculate(t, &r, map[string]string{"custom_calculated": strconv.Itoa(l.rng.IntN(100_000))})
		l.Stats.Recalculated++
		return
	}
	l.update(t)
}

// values makes new values for one to three writable properties, now and then clearing one.
func (l *LiveChanges) values(t *table) map[string]string {
	values := map[string]string{}
	s := subject{table: t, id: l.rng.Int64N(1 << 40), index: -1, seed: l.rng.Uint64() | 1, created: lastCreated, modified: lastModified}
	for len(values) < 1+l.rng.IntN(3) {
		p := t.definitions.sorted[l.rng.IntN(len(t.definitions.sorted))]
		if p.make == nil || p.Calculated || p.Archived || p.system != notSystem || p.Name == "associatedcompanyid" {
			continue
		}
		if l.rng.IntN(10) == 0 {
			values[p.Name] = ""
			continue
		}
		values[p.Name] = string(p.make(nil, &s, l.rng.Uint64()))
	}
	return values
}
