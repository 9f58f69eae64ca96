package simulator_test

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

func TestObserveIsToldOfEveryChange(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	var seen []simulator.Change
	p := open(t, simulator.Options{
		Contacts: 10, Now: clock.Now, IndexLag: simulator.Lag{Min: 2 * time.Second, Max: 9 * time.Second, Tail: -1},
		Observe: func(c simulator.Change) { seen = append(seen, c) },
	})
	id := p.IDs("contacts", 3, 1, 1)[0]
	for i, test := range []struct {
		name         string
		do           func() error
		bumped, live bool
	}{
		{"update", func() error { return p.Update("contacts", id, map[string]string{"city": "Oslo"}) }, true, true},
		{"recalculation", func() error { return p.Recalculate("contacts", id, map[string]string{"city": "Bergen"}) }, false, true},
		{"archive", func() error { return p.Archive("contacts", id) }, false, false},
		{"restore", func() error { return p.Restore("contacts", id) }, false, true},
		{"purge", func() error { return p.Purge("contacts", id) }, false, false},
		{"creation", func() error { _, err := p.CreateMany("contacts", 1); return err }, true, true},
	} {
		clock.now = clock.now.Add(time.Second)
		ok(t, test.do())
		if len(seen) != i+1 {
			t.Fatalf("%s: %d changes seen", test.name, len(seen)-i)
		}
		c := seen[i]
		if c.Object != "contacts" || c.ID != id && test.name != "creation" || !c.At.Equal(clock.now) || c.Bumped != test.bumped || c.Live != test.live {
			t.Errorf("%s: %+v", test.name, c)
		}
		lag := c.IndexedAt.Sub(c.At)
		if test.live && (lag < 2*time.Second || lag > 9*time.Second) || !test.live && lag != 0 {
			t.Errorf("%s: search knows it after %s", test.name, lag)
		}
		if test.bumped && !c.UpdatedAt.Equal(c.At) || !test.bumped && !c.UpdatedAt.Equal(seen[0].At) {
			t.Errorf("%s: last modified at %s", test.name, c.UpdatedAt)
		}
	}
}

func TestAModificationTimeAlwaysMovesOn(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	var last time.Time
	p := open(t, simulator.Options{Contacts: 10, Now: clock.Now, Observe: func(c simulator.Change) {
		if !c.UpdatedAt.After(last) {
			t.Errorf("a change is of %s, the one before it of %s", c.UpdatedAt, last)
		}
		last = c.UpdatedAt
	}})
	ids := p.IDs("contacts", 3, 1, 1)
	for range 3 {
		ok(t, p.Update("contacts", ids[0], map[string]string{"city": "Oslo"}))
		_, err := p.UpdateMany("contacts", ids, map[string]string{"city": "Bergen"}, time.Time{})
		ok(t, err)
	}
}

func TestABumpOfAnAssociationReachesTheIndex(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{
		Contacts: 10, Calls: 10, AssociationBump: true, Now: clock.Now, IndexLag: simulator.Lag{Min: time.Second, Max: 2 * time.Second, Tail: -1},
	})
	ok(t, p.Link("contacts", p.IDs("contacts", 3, 1, 1)[0], "calls", p.IDs("calls", 3, 1, 1)[0]))
	start := clock.now
	clock.now = clock.now.Add(time.Minute)
	if n := p.search("contacts", since(start)).total(); n != 1 {
		t.Errorf("search finds %d contacts that a link has changed", n)
	}
}
