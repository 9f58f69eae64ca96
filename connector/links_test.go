package connector

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// linksOf returns the last sets of links in the log, as "from id to" to "id/category/type/label ...".
func (b *sourceBundle) linksOf() map[string]string {
	b.t.Helper()
	sets := map[string]string{}
	for _, m := range b.messages() {
		if m.subject.Kind != schemas.KindLinks {
			continue
		}
		c, err := schemas.DecodeControl(m.msg)
		must(b.t, err)
		l := c.(*schemas.Links)
		key := l.From + " " + l.ID + " " + l.To
		delete(sets, key)
		if text := linksText(l.Links); text != "" {
			sets[key] = text
		}
	}
	return sets
}

func linksText(links []schemas.Link) string {
	texts := make([]string, len(links))
	for i, l := range links {
		texts[i] = fmt.Sprintf("%s/%s/%d/%s", l.ID, l.Category, l.TypeID, l.Label)
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

// trueLinks is what linksOf should be, for the given object types.
func (b *sourceBundle) trueLinks(objects ...string) map[string]string {
	b.t.Helper()
	sets := map[string]string{}
	for _, from := range objects {
		for r := range b.sim.Truth(from) {
			if r.Archived || r.Purged || r.MergedInto != "" {
				continue
			}
			for _, to := range objects {
				links, err := b.sim.Links(from, r.ID, to)
				must(b.t, err)
				var all []schemas.Link
				for _, l := range links {
					for _, t := range l.Types {
						all = append(all, schemas.Link{ID: strconv.FormatInt(l.To, 10), Category: t.Category, TypeID: t.TypeID, Label: t.Label})
					}
				}
				if text := linksText(all); text != "" {
					sets[from+" "+r.ID+" "+to] = text
				}
			}
		}
	}
	return sets
}

// linksDiffer says where the log's links are not the portal's, "" if nowhere.
func (b *sourceBundle) linksDiffer(objects ...string) string {
	b.t.Helper()
	got, want := b.linksOf(), b.trueLinks(objects...)
	for key, text := range want {
		if got[key] != text {
			return fmt.Sprintf("%s: log has %q, portal %q", key, got[key], text)
		}
	}
	for key, text := range got {
		if want[key] == "" {
			return fmt.Sprintf("%s: log has %q, portal none", key, text)
		}
	}
	return ""
}

func (b *sourceBundle) sameLinks(objects ...string) {
	b.t.Helper()
	if d := b.linksDiffer(objects...); d != "" {
		b.t.Error(d)
	}
}

// sweptThrough waits until a sweep that began after a time is done for every type.
func (b *sourceBundle) sweptAfter(s *Source, at time.Time) {
	b.t.Helper()
	eventually(b.t, "a sweep", func() bool {
		for _, f := range s.followers {
			links := f.log.Cursor().Links
			if links == nil || links.Sweep == nil || links.Sweep.DoneAt.IsZero() || links.Sweep.StartedAt.Before(at) {
				return false
			}
		}
		return true
	})
}

// linkRequests returns how many requests about associations the portal got so far.
func (b *sourceBundle) linkRequests() (n int) {
	for route, count := range b.sim.Stats().ByRoute {
		if strings.HasPrefix(route, "associations") {
			n += count
		}
	}
	return n
}

// linkedPortal is small, with links between all of its types.
func linkedPortal() simulator.Options {
	return simulator.Options{Contacts: 300, Companies: 40, Deals: 50, IndexLag: simulator.Lag{Off: true}}
}

var linkedObjects = []string{"contacts", "companies", "deals"}

// quick is a source that reads links at once and sweeps only when a test says so.
func quick(turn time.Duration) Config {
	return Config{
		Objects: linkedObjects, PollInterval: 50 * time.Millisecond, Settle: 100 * time.Millisecond, LinksLinger: 10 * time.Millisecond,
		SweepTurn: turn,
	}
}

func TestLinksOfAllRecordsAreReadAfterTheFullRead(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(time.Hour))
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	must(t, stop())
	b.sameLinks(linkedObjects...)
	if n := len(b.linksOf()); n < 300 {
		t.Errorf("only %d sets", n)
	}
	links := b.follower("contacts").log.Cursor().Links
	equalSlices(t, "pairs of contacts", links.To, []string{"companies", "deals"})
	equal(t, "records", links.Sweep.Done, 300)
}

func TestLinksOfAChangedRecordAreRead(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(time.Hour))
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	deal, contact := b.sim.IDs("deals", 0, 1, 1)[0], b.sim.IDs("contacts", 7, 1, 1)[0]
	must(t, b.sim.Link("deals", deal, "contacts", contact))
	must(t, b.sim.Update("deals", deal, map[string]string{"dealname": "x"}))
	eventually(t, "both sides", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	must(t, b.sim.Unlink("deals", deal, "contacts", contact))
	must(t, b.sim.Update("contacts", contact, map[string]string{"city": "x"}))
	eventually(t, "both sides", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	must(t, stop())
}

func TestChangesOfLinksAloneAreFoundByTheSweep(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(200*time.Millisecond))
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	company := b.sim.IDs("companies", 3, 1, 1)[0]
	deals := b.sim.IDs("deals", 0, 5, 7)
	before := maps.Clone(b.states("deals"))
	for _, d := range deals {
		must(t, b.sim.Link("deals", d, "companies", company, simulator.LinkType{Category: "USER_DEFINED", TypeID: 77, Label: "Partner"}))
	}
	b.sweptAfter(b.source, b.sim.Now())
	b.sameLinks(linkedObjects...)
	for _, d := range deals {
		equal(t, "updated_at of deal "+d, b.states("deals")[d].UpdatedAt, before[d].UpdatedAt)
		must(t, b.sim.Unlink("deals", d, "companies", company))
	}
	b.sweptAfter(b.source, b.sim.Now())
	b.sameLinks(linkedObjects...)
	must(t, stop())
	equal(t, "empty sets published twice", b.doubledSets(), "")
}

// doubledSets returns a set of links that is in the log twice in a row.
func (b *sourceBundle) doubledSets() string {
	last := map[schemas.Subject]string{}
	for _, m := range b.messages() {
		if m.subject.Kind != schemas.KindLinks {
			continue
		}
		if last[m.subject] == string(m.msg.Data) {
			return m.subject.String()
		}
		last[m.subject] = string(m.msg.Data)
	}
	return ""
}

func TestAQuietSweepPublishesNoSet(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(100*time.Millisecond))
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	n := b.count(schemas.KindLinks)
	b.sweptAfter(b.source, b.sim.Now())
	must(t, stop())
	equal(t, "sets", b.count(schemas.KindLinks), n)
}

func TestSyncReadsLinksToo(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(time.Hour))
	b.sync()
	b.sameLinks(linkedObjects...)
	deal, contact := b.sim.IDs("deals", 0, 1, 1)[0], b.sim.IDs("contacts", 7, 1, 1)[0]
	must(t, b.sim.Link("deals", deal, "contacts", contact))
	must(t, b.sim.Update("deals", deal, map[string]string{"dealname": "x"}))
	requests := b.linkRequests()
	b.sync()
	b.sameLinks(linkedObjects...)
	if n := b.linkRequests() - requests; n > 2+1+3 { // the deal's two pairs, the contact at the other end, and what changed with it
		t.Errorf("%d requests for one changed record", n)
	}
}
