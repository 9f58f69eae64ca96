package simulator_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

func since(t time.Time) string {
	return filters(filter("lastmodifieddate", "GTE", strconv.FormatInt(t.UnixMilli(), 10)))
}

func TestSearchTrailsBehind(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{Contacts: 100, Now: clock.Now, IndexLag: simulator.Lag{Min: 2 * time.Second, Max: 9 * time.Second, Tail: -1}})
	start := clock.now
	id := p.IDs("contacts", 3, 1, 1)[0]
	ok(t, p.Update("contacts", id, map[string]string{"city": "Lag"}))
	if r := p.get("/crm/v3/objects/contacts/" + id + "?properties=city").body; properties(r)["city"] != "Lag" {
		t.Fatal("a read of the record does not see the change")
	}
	clock.now = clock.now.Add(1900 * time.Millisecond)
	if a := p.search("contacts", since(start)); a.total() != 0 {
		t.Fatal("search sees the change before the least lag")
	}
	clock.now = start.Add(9 * time.Second)
	if a := p.search("contacts", since(start)); a.total() != 1 {
		t.Fatal("search does not see the change after the greatest lag")
	}
}

func TestSearchSeesChangesOutOfOrder(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{Contacts: 200, Now: clock.Now})
	start := clock.now
	ids := p.IDs("contacts", 0, 100, 1)
	for _, id := range ids {
		clock.now = clock.now.Add(50 * time.Millisecond)
		ok(t, p.Update("contacts", id, map[string]string{"city": "X"}))
	}
	// At some moment a later change is visible while an earlier one is not.
	for range 200 {
		clock.now = clock.now.Add(50 * time.Millisecond)
		a := p.search("contacts", fmt.Sprintf(`{"filterGroups":[{"filters":[%s]}],"sorts":["-lastmodifieddate"],"limit":200}`, filter("lastmodifieddate", "GTE", strconv.FormatInt(start.UnixMilli(), 10))))
		if got := a.ids(); len(got) > 0 {
			newest := 0
			for i, id := range ids {
				if id == got[0] {
					newest = i + 1
				}
			}
			if newest > len(got) {
				return
			}
		}
	}
	t.Fatal("changes became visible strictly in order")
}

func TestSearchShowsNewValuesAtTheOldPosition(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{Contacts: 50, Now: clock.Now})
	id := p.IDs("contacts", 5, 1, 1)[0]
	was := everyone(p, "contacts")[id].UpdatedAt
	ok(t, p.Update("contacts", id, map[string]string{"city": "New"}))
	ms := strconv.FormatInt(was.UnixMilli(), 10)
	a := p.search("contacts", `{"filterGroups":[{"filters":[`+between("lastmodifieddate", ms, ms)+`]}],"properties":["city","lastmodifieddate"],"limit":200}`)
	for _, r := range a.results() {
		if r["id"] == id {
			if properties(r)["city"] != "New" || r["updatedAt"] == was.Format("2006-01-02T15:04:05.000Z") {
				t.Fatalf("old values: %v", r)
			}
			return
		}
	}
	t.Fatal("the record is not at its old position")
}

func TestSearchLagCatchesUpExactly(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	o := simulator.Options{Contacts: 300, Companies: 30, Deals: 30, Now: clock.Now}
	o.LiveMix = simulator.LiveMix{Update: 50, Create: 20, Bulk: 2, Archive: 8, Restore: 5, Merge: 3, Purge: 2, Link: 5, Unlink: 5}
	p := open(t, o)
	live := p.NewLive()
	for i := range 3000 {
		clock.now = clock.now.Add(37 * time.Millisecond)
		live.Step()
		if i%50 == 0 {
			p.search("contacts", `{}`).want(t, 200)
		}
	}
	clock.now = clock.now.Add(3 * time.Minute)
	for _, object := range []string{"contacts", "companies", "deals"} {
		want := 0
		for _, r := range everyone(p, object) {
			if !r.Archived && !r.Purged && r.MergedInto == "" {
				want++
			}
		}
		for _, body := range []string{`{}`, `{"sorts":["hs_object_id"]}`, filters(filter("hs_object_id", "GT", "1"))} {
			if got := p.search(object, body).total(); got != want {
				t.Errorf("%s %s: %d, want %d", object, body, got, want)
			}
		}
		property := "hs_lastmodifieddate"
		if object == "contacts" {
			property = "lastmodifieddate"
		}
		if got := p.search(object, filters(filter(property, "GT", "1000"))).total(); got != want {
			t.Errorf("%s by time: %d, want %d", object, got, want)
		}
	}
	if s := p.Stats(); s.Indexing != 0 {
		t.Errorf("%d changes still on their way", s.Indexing)
	}
}

func TestLagKnobs(t *testing.T) {
	t.Parallel()
	t.Run("off", func(t *testing.T) {
		p := open(t, simulator.Options{IndexLag: noLag})
		must[string](t)(p.Create("contacts", nil))
		if a := p.search("contacts", `{}`); a.total() != 1 {
			t.Fatalf("total %d", a.total())
		}
	})
	t.Run("archives linger", func(t *testing.T) {
		clock := &manual{at("2026-11-01T12:00:00Z")}
		p := open(t, simulator.Options{Contacts: 3, Now: clock.Now, IndexLag: simulator.Lag{Archives: true}})
		ok(t, p.Archive("contacts", p.IDs("contacts", 0, 1, 1)[0]))
		if a := p.search("contacts", `{}`); len(a.ids()) != 3 || a.results()[0]["archived"] != false {
			t.Fatalf("%d records", len(a.ids()))
		}
		clock.now = clock.now.Add(3 * time.Minute)
		if a := p.search("contacts", `{}`); a.total() != 2 {
			t.Fatalf("total %d", a.total())
		}
	})
	t.Run("old values", func(t *testing.T) {
		clock := &manual{at("2026-11-01T12:00:00Z")}
		p := open(t, simulator.Options{Contacts: 1, Now: clock.Now, IndexLag: simulator.Lag{OldValues: true}})
		before := p.search("contacts", `{}`).results()[0]["updatedAt"]
		ok(t, p.Update("contacts", p.IDs("contacts", 0, 1, 1)[0], map[string]string{"city": "x"}))
		if got := p.search("contacts", `{}`).results()[0]["updatedAt"]; got != before {
			t.Fatalf("updatedAt %v, want %v", got, before)
		}
	})
	t.Run("flicker", func(t *testing.T) {
		p := open(t, simulator.Options{Contacts: 10, IndexLag: simulator.Lag{Off: true, Flicker: 1}})
		ok(t, p.Update("contacts", p.IDs("contacts", 0, 1, 1)[0], map[string]string{"city": "x"}))
		if a := p.search("contacts", `{}`); len(a.ids()) != 9 {
			t.Fatalf("%d rows", len(a.ids()))
		}
	})
}
