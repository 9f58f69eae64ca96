package connector

import (
	"strconv"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// TestARecordWithManyPagesOfLinksIsReadWhole links one company with 1,300 contacts: pages of 500, as HubSpot has them.
func TestARecordWithManyPagesOfLinksIsReadWhole(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 1400, Companies: 30, IndexLag: simulator.Lag{Off: true}},
		Config{Objects: []string{"contacts", "companies"}, SweepTurn: time.Hour})
	company := b.sim.IDs("companies", 0, 1, 1)[0]
	owner := simulator.LinkType{Category: "USER_DEFINED", TypeID: 21, Label: "Owner"}
	for _, contact := range b.sim.IDs("contacts", 0, 1300, 1) {
		must(t, b.sim.Link("contacts", contact, "companies", company, owner))
	}
	b.sync()
	b.sameLinks("contacts", "companies")
	for _, contact := range b.sim.IDs("contacts", 0, 700, 1) { // 600 are left, and those of the base data
		must(t, b.sim.Unlink("contacts", contact, "companies", company))
	}
	must(t, b.sim.Update("companies", company, map[string]string{"name": "x"}))
	b.sync()
	b.sameLinks("contacts", "companies")
}

func TestAChangeOfLabelsAndTypesIsAChangeOfLinks(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(150*time.Millisecond))
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	deal, contact := b.sim.IDs("deals", 0, 1, 1)[0], b.sim.IDs("contacts", 7, 1, 1)[0]
	for _, types := range [][]simulator.LinkType{
		{{Category: "USER_DEFINED", TypeID: 9, Label: "Decider"}},
		{{Category: "USER_DEFINED", TypeID: 9, Label: "Decision maker"}},
		{{Category: "USER_DEFINED", TypeID: 9, Label: ""}},
		{{Category: "USER_DEFINED", TypeID: 11, Label: "Champion"}, {Category: "USER_DEFINED", TypeID: 13, Label: "Champion"}},
		{{Category: "INTEGRATOR_DEFINED", TypeID: 11, Label: "Champion"}},
	} {
		_ = b.sim.Unlink("deals", deal, "contacts", contact) // there is none the first time
		must(t, b.sim.Link("deals", deal, "contacts", contact, types...))
		b.sweptAfter(b.source, b.sim.Now())
		b.sameLinks(linkedObjects...)
	}
	must(t, stop())
	equal(t, "sets published twice", b.doubledSets(), "")
}

// TestRecordsThatEndHaveNoLinks ends and restores records; the hydration that tells of it is made by hand.
func TestRecordsThatEndHaveNoLinks(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), quick(time.Hour))
	b.sync()
	linked := func(object, to string, n int) (ids []string) {
		for l := range b.sim.TruthLinks(object, to) {
			if len(ids) == 0 || ids[len(ids)-1] != l.ID {
				ids = append(ids, l.ID)
			}
		}
		return ids[:n]
	}
	contacts := linked("contacts", "companies", 4)
	company := linked("companies", "contacts", 1)[0]
	tell := func(object string, ids ...string) {
		t.Helper()
		f := b.follower(object)
		_, err := f.hydrate(t.Context(), f.client, schemas.OriginWebhook, ids)
		must(t, err)
	}
	stop := b.run(b.source)
	defer func() { must(t, stop()) }()
	same := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return b.linksDiffer(linkedObjects...) == "" })
	}
	must(t, b.sim.Archive("contacts", contacts[0]))
	tell("contacts", contacts[0])
	same("archived")
	must(t, b.sim.Restore("contacts", contacts[0]))
	tell("contacts", contacts[0])
	same("restored")
	must(t, b.sim.Archive("companies", company))
	tell("companies", company)
	same("an archived other end")
	winner, err := b.sim.Merge("contacts", contacts[1], contacts[2])
	must(t, err)
	tell("contacts", winner, contacts[1], contacts[2])
	same("merged")
	must(t, b.sim.Purge("contacts", contacts[3]))
	_, err = b.follower("contacts").log.Append(t.Context(), page{
		Origin: schemas.OriginWebhook, Endings: []ending{{ID: contacts[3], Op: schemas.OpPurged, At: b.sim.Now()}},
	}, nil)
	must(t, err)
	same("purged")
}

// TestASetIsAsLargeAsAMessageMayBe takes the largest sets that a server of 8 MB takes, and says of larger ones what to do.
func TestASetIsAsLargeAsAMessageMayBe(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("a")
	set := func(n int) *schemas.Links {
		s := &schemas.Links{Portal: "7", From: "contacts", ID: "101", To: "companies"}
		for i := range n {
			s.Links = append(s.Links, schemas.Link{ID: strconv.Itoa(100_000_000_000 + i), Category: "HUBSPOT_DEFINED", TypeID: 279})
		}
		return s
	}
	const hundredThousand = 100_000
	mustAppend(t, l, page{Origin: schemas.OriginPoll, Links: []*schemas.Links{set(hundredThousand)}}, nil)
	equal(t, "sets", b.count(schemas.KindLinks), 1)
	c := mustAppend(t, l, page{Origin: schemas.OriginPoll, Links: []*schemas.Links{set(2 * hundredThousand)}}, nil)
	equal(t, "failed", c.Failed, 1)
	equal(t, "sets", b.count(schemas.KindLinks), 1)
	equal(t, "dead letters", b.count(schemas.KindDeadLetter), 1)
	t.Logf("%d links are a message of %d KB", hundredThousand, len(b.messages()[0].msg.Data)>>10)
}
