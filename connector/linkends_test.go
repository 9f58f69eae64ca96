package connector

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// TestRecordsAtTheOtherEndOfAllThatARecordLostAreRead archives a company and tells of one of its contacts only: the others
// learn of it because the company's set, which is read along with that contact's, changed for all of them.
func TestRecordsAtTheOtherEndOfAllThatARecordLostAreRead(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), endsOnly())
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	company, contacts := b.companyOf(3)
	must(t, b.sim.Archive("companies", company))
	b.hintLinks("contacts", contacts[0], "companies")
	eventually(t, "the hint is worked off", func() bool { return waitingHints(t, b.source.hints) == 0 })
	b.tell("companies", company)
	eventually(t, "all of the company's contacts", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	must(t, b.sim.Restore("companies", company))
	b.hintLinks("contacts", contacts[0], "companies")
	eventually(t, "the next hint is worked off", func() bool { return waitingHints(t, b.source.hints) == 0 })
	b.tell("companies", company)
	eventually(t, "all of them, restored", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	must(t, stop())
	equal(t, "sets published twice", b.doubledSets(), "")
}

// TestALinkThatGoesWhileItsEndsAreReadIsInTheLogOfNeither archives a company between the reading of its new contact and its
// own: its set is empty then, as it was before, and nothing of it tells of the contact.
func TestALinkThatGoesWhileItsEndsAreReadIsInTheLogOfNeither(t *testing.T) {
	t.Parallel()
	o := linkedPortal()
	o.Companies = 400 // more than contacts: some are linked to none
	b := setupSource(t, o, endsOnly())
	between := &meanwhile{next: http.DefaultTransport}
	client, err := hubspot.New(hubspot.Config{
		BaseURL: b.url, Token: "pat-simulator", BurstLimit: 100_000, SearchLimit: 100_000, HTTPClient: &http.Client{Transport: between},
	})
	must(t, err)
	cfg := endsOnly()
	cfg.Client, cfg.JetStream, cfg.VerifyInterval = client, b.js, -1
	b.source, err = New(t.Context(), cfg)
	must(t, err)
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	linked := b.trueLinks(linkedObjects...)
	companies := b.sim.IDs("companies", 0, 400, 1)
	company := companies[slices.IndexFunc(companies, func(id string) bool { return linked["companies "+id+" contacts"] == "" })]
	contact := b.sim.IDs("contacts", 0, 1, 1)[0]

	must(t, b.sim.Link("contacts", contact, "companies", company))
	between.after("/contacts/companies/batch/read", func() { must(t, b.sim.Archive("companies", company)) })
	b.hintLinks("contacts", contact, "companies")
	eventually(t, "the hint is worked off", func() bool { return waitingHints(t, b.source.hints) == 0 })
	b.tell("companies", company)
	eventually(t, "neither end has the link", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	must(t, stop())
}

// TestLinksOfARecordThatWasAwayForAMomentComeBack archives a deal and restores it before anybody asks for it: there is
// nothing new of the deal, but its links were read meanwhile.
func TestLinksOfARecordThatWasAwayForAMomentComeBack(t *testing.T) {
	t.Parallel()
	b := setupSource(t, linkedPortal(), endsOnly())
	stop := b.run(b.source)
	b.sweptAfter(b.source, time.Time{})
	var deal, contact string
	for l := range b.sim.TruthLinks("deals", "contacts") {
		deal, contact = l.ID, l.To
	}
	worked := func() bool { return waitingHints(t, b.source.hints) == 0 }
	must(t, b.sim.Archive("deals", deal))
	b.hintLinks("contacts", contact, "deals")
	eventually(t, "the links of its contact are read", worked)
	if b.linksOf()["deals "+deal+" contacts"] != "" {
		t.Error("the deal has links while it is archived")
	}
	must(t, b.sim.Restore("deals", deal))
	e := webhookEvent{PortalID: webhookID(b.source.portal), SubscriptionType: "deal.restore", ObjectID: webhookID(deal)}
	told, ignored := e.hints(b.source.portal, objectNames{b.follower("deals").object})
	equal(t, "ignored", ignored, "")
	must(t, b.source.hints.publish(t.Context(), told...))
	eventually(t, "the links are back", func() bool { return b.linksDiffer(linkedObjects...) == "" })
	must(t, stop())
}

// endsOnly is a source that finds changes of links by nothing but what a test tells it.
func endsOnly() Config {
	cfg := quick(time.Hour)
	cfg.ArchivedInterval = time.Hour
	return cfg
}

func (b *sourceBundle) hintLinks(object, id, to string) {
	b.t.Helper()
	must(b.t, b.source.hints.publish(b.t.Context(), &schemas.Hint{
		Kind: schemas.HintLinks, Portal: b.source.portal, Object: object, ID: id, To: to, OccurredAt: b.sim.Now(), Cause: object + ".associationChange",
	}))
}

// tell reads records as a webhook about them would have it.
func (b *sourceBundle) tell(object string, ids ...string) {
	b.t.Helper()
	f := b.follower(object)
	_, err := f.hydrate(b.t.Context(), f.client, schemas.OriginWebhook, ids)
	must(b.t, err)
}

// companyOf returns a company with at least n contacts, and those.
func (b *sourceBundle) companyOf(n int) (company string, contacts []string) {
	b.t.Helper()
	of := map[string][]string{}
	for l := range b.sim.TruthLinks("companies", "contacts") {
		if of[l.ID] = append(of[l.ID], l.To); len(of[l.ID]) >= n {
			return l.ID, of[l.ID]
		}
	}
	b.t.Fatalf("no company has %d contacts", n)
	return "", nil
}

// meanwhile does something once, after the answer to a request and before anybody gets it.
type meanwhile struct {
	next http.RoundTripper

	mu   sync.Mutex // guards both below
	path string
	do   func()
}

func (m *meanwhile) after(path string, do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.path, m.do = path, do
}

func (m *meanwhile) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.next.RoundTrip(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.do != nil && strings.HasSuffix(r.URL.Path, m.path) {
		m.do()
		m.do = nil
	}
	return resp, err
}
