package hubspot_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// portal starts a simulated portal and a client of it. Nothing is slow unless o says so.
func portal(t testing.TB, o simulator.Options, change ...func(*hubspot.Config)) (*simulator.Simulator, *hubspot.Client) {
	t.Helper()
	if o.Latency == 0 {
		o.Latency = -1
	}
	if o.BurstLimit == 0 {
		o.BurstLimit, o.SearchLimit, o.OAuthBurstLimit = 100_000, 10_000, 100_000
	}
	s := simulator.New(o)
	url, err := s.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := hubspot.Config{BaseURL: url, Token: "pat-simulator", Share: 1, BurstLimit: o.BurstLimit, SearchLimit: o.SearchLimit, Interval: o.Interval, SearchInterval: o.SearchInterval}
	for _, f := range change {
		f(&cfg)
	}
	c, err := hubspot.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, c
}

func names(t testing.TB, c *hubspot.Client, o hubspot.Object) (names []string) {
	t.Helper()
	properties, err := c.Properties(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range properties {
		names = append(names, p.Name)
	}
	if !slices.IsSorted(names) || len(names) < 5 {
		t.Fatalf("property names are %v", names)
	}
	return names
}

// sameAsTruth compares records with what the simulator knows of its live (or archived) ones.
func sameAsTruth(t *testing.T, s *simulator.Simulator, object string, archived bool, records []hubspot.Record) {
	t.Helper()
	byID := make(map[string]hubspot.Record)
	for _, r := range records {
		byID[r.ID] = r
	}
	if len(byID) != len(records) {
		t.Errorf("%d of %d records came twice", len(records)-len(byID), len(records))
	}
	n := 0
	for want := range s.Truth(object) {
		if want.Archived != archived || want.MergedInto != "" || want.Purged {
			continue
		}
		n++
		got, ok := byID[want.ID]
		if !ok {
			t.Fatalf("%s %s is missing", object, want.ID)
		}
		if values := got.Properties.Map(); !maps.Equal(values, want.Properties) {
			for name := range want.Properties {
				if values[name] != want.Properties[name] {
					t.Errorf("%s %s: %s is %q, truth %q", object, want.ID, name, values[name], want.Properties[name])
				}
			}
			t.Fatalf("%s %s has %d properties, truth %d", object, want.ID, len(values), len(want.Properties))
		}
		if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) || got.Archived != want.Archived || !got.ArchivedAt.Equal(want.ArchivedAt) {
			t.Fatalf("%s: got %+v, truth %+v", object, got, want)
		}
	}
	if n != len(records) {
		t.Errorf("%d records, truth has %d", len(records), n)
	}
}

func listAll(t *testing.T, c *hubspot.Client, req hubspot.ListRequest) (records []hubspot.Record) {
	t.Helper()
	for {
		page, err := c.List(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Rejected) > 0 {
			t.Fatalf("rejected: %+v", page.Rejected)
		}
		records = append(records, page.Records...)
		if req.After = page.Next; req.After == "" {
			return records
		}
	}
}

// Every property of every record, live and archived, whether the names fit into the URL, are known not to fit, or turn out
// not to.
func TestListReadsEverything(t *testing.T) {
	for name, c := range map[string]struct{ client, hubspot int }{"fits": {}, "too long": {client: 2000}, "refused": {client: 1 << 20, hubspot: 4096}} {
		t.Run(name, func(t *testing.T) {
			s, client := portal(t, simulator.Options{Contacts: 350, Deals: 30, MaxURL: c.hubspot}, func(cfg *hubspot.Config) { cfg.MaxURL = c.client })
			for i, id := range s.IDs("contacts", 0, 350, 7) {
				if i%2 == 0 {
					if err := s.Archive("contacts", id); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, object := range []string{"contacts", "deals"} {
				o, _ := hubspot.ObjectByName(object)
				properties := names(t, client, o)
				for _, archived := range []bool{false, true} {
					records := listAll(t, client, hubspot.ListRequest{Object: o, Properties: properties, Archived: archived})
					sameAsTruth(t, s, object, archived, records)
				}
			}
			if refused := s.Stats().ByStatus[414]; refused > 1 {
				t.Errorf("%d URLs were refused, one should teach", refused)
			}
			if n := client.Usage().RateLimited; n != 0 {
				t.Errorf("%d answers of 429", n)
			}
		})
	}
}

func TestSearchReadsEverything(t *testing.T) {
	s, client := portal(t, simulator.Options{Contacts: 900, IndexLag: simulator.Lag{Off: true}})
	properties := names(t, client, contacts)
	var records []hubspot.Record
	for after := 0; ; {
		page, err := client.Search(t.Context(), hubspot.SearchRequest{
			Object: contacts, SortBy: "hs_object_id", Descending: true, After: after, Properties: properties,
			Filters: []hubspot.Filter{{Property: "hs_object_id", Operator: "GTE", Value: "1"}, {Property: "lastmodifieddate", Operator: "BETWEEN", Value: "1000", HighValue: itoa(int(time.Now().UnixMilli()))}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if page.Total != 900 || len(page.Rejected) > 0 {
			t.Fatalf("total is %d, rejected %+v", page.Total, page.Rejected)
		}
		records = append(records, page.Records...)
		if after = page.Next; after == 0 {
			break
		}
	}
	sameAsTruth(t, s, "contacts", false, records)
}

func TestBatchRead(t *testing.T) {
	s, client := portal(t, simulator.Options{Contacts: 300})
	ids := s.IDs("contacts", 0, 300, 1)
	properties := names(t, client, contacts)
	winner, err := s.Merge("contacts", ids[0], ids[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Archive("contacts", ids[2]), s.Purge("contacts", ids[3])); err != nil {
		t.Fatal(err)
	}
	asked := append(slices.Clone(ids[:250]), ids[10], ids[11], "999999999999")
	b, err := client.BatchRead(t.Context(), hubspot.BatchReadRequest{Object: contacts, IDs: asked, Properties: properties})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{ids[2], ids[3], "999999999999"}; !slices.Equal(b.Missing, want) {
		t.Errorf("missing are %v, want %v", b.Missing, want)
	}
	if want := map[string]string{ids[0]: winner, ids[1]: winner}; !maps.Equal(b.Merged, want) {
		t.Errorf("merged are %v, want %v", b.Merged, want)
	}
	found := make(map[string]int)
	for _, r := range b.Records {
		found[r.ID]++
	}
	if found[winner] == 0 || len(found) != 247 {
		t.Errorf("%d records, winner %d times", len(found), found[winner])
	}
	b, err = client.BatchRead(t.Context(), hubspot.BatchReadRequest{Object: contacts, IDs: ids[2:6], Archived: true})
	if err != nil || len(b.Records) != 1 || !b.Records[0].Archived || b.Records[0].ID != ids[2] || len(b.Missing) != 3 {
		t.Errorf("%+v, %v", b, err)
	}
	if n := s.Stats().ByRoute["batch contacts"]; n > 4 {
		t.Errorf("%d requests", n)
	}
	if _, err := client.BatchRead(t.Context(), hubspot.BatchReadRequest{Object: contacts, IDs: []string{"x"}}); !errors.Is(err, hubspot.ErrInvalid) {
		t.Error(err)
	}
	if b, err := client.BatchRead(t.Context(), hubspot.BatchReadRequest{Object: contacts}); err != nil || len(b.Records) != 0 {
		t.Error(b, err)
	}
}

func TestDefinitions(t *testing.T) {
	s, client := portal(t, simulator.Options{Contacts: 5, Deals: 5, Owners: 130, CustomObjects: []simulator.CustomObject{
		{Name: "contacts", Singular: "Contact", Plural: "Contacts", Count: 3}, {Name: "cars", Singular: "Car", Plural: "Cars", Count: 120}, {Name: "old", Archived: true, Count: 2},
	}})
	t.Run("properties", func(t *testing.T) {
		properties, err := client.Properties(t.Context(), contacts)
		if err != nil {
			t.Fatal(err)
		}
		calculated := 0
		for _, p := range properties {
			if p.Name == "" || p.Type == "" || p.Archived {
				t.Errorf("property %+v", p)
			}
			if p.Calculated {
				calculated++
			}
			if p.Name == "lifecyclestage" && len(p.Options) == 0 {
				t.Error("lifecyclestage has no options")
			}
		}
		if len(properties) < 300 || calculated == 0 {
			t.Errorf("%d properties, %d calculated", len(properties), calculated)
		}
	})
	t.Run("pipelines", func(t *testing.T) {
		deals, _ := hubspot.ObjectByName("deal")
		pipelines, err := client.Pipelines(t.Context(), deals)
		if err != nil || len(pipelines) != len(s.Pipelines("deals")) || len(pipelines[0].Stages) == 0 || pipelines[0].Stages[0].Metadata["probability"] == "" {
			t.Fatalf("%+v, %v", pipelines, err)
		}
	})
	t.Run("owners", func(t *testing.T) {
		all := 0
		for _, archived := range []bool{false, true} {
			owners, err := client.Owners(t.Context(), archived)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range owners {
				if email, _ := o.Properties.Get("email"); o.Archived != archived || o.UpdatedAt.IsZero() || email == "" {
					t.Errorf("owner %+v", o)
				}
			}
			all += len(owners)
		}
		if all != len(s.Owners()) {
			t.Errorf("%d owners of %d", all, len(s.Owners()))
		}
	})
	t.Run("custom objects", func(t *testing.T) {
		objects, err := client.CustomObjects(t.Context())
		if err != nil || len(objects) != 2 || objects[0].Name != "p_cars" || objects[1].Name != "p_contacts" {
			t.Fatalf("%+v, %v", objects, err)
		}
		cars := objects[0]
		records := listAll(t, client, hubspot.ListRequest{Object: cars, Properties: names(t, client, cars)})
		if len(records) != 120 {
			t.Errorf("%d cars", len(records))
		}
		page, err := client.Search(t.Context(), hubspot.SearchRequest{Object: cars, SortBy: cars.ModifiedProperty})
		if err != nil || len(page.Records)+len(page.Rejected) == 0 && page.Total > 0 {
			t.Errorf("%+v, %v", page, err)
		}
	})
	t.Run("account", func(t *testing.T) {
		a, err := client.Account(t.Context())
		if err != nil || a.PortalID != 4711 || a.TimeZone == "" {
			t.Errorf("%+v, %v", a, err)
		}
		if u := client.Usage(); u.Daily.ResetsAt.IsZero() || time.Until(u.Daily.ResetsAt) > 25*time.Hour {
			t.Errorf("usage is %+v", u)
		}
	})
	t.Run("unknown object", func(t *testing.T) {
		_, err := client.List(t.Context(), hubspot.ListRequest{Object: hubspot.Object{Name: "butterflies"}})
		if !errors.Is(err, hubspot.ErrNotFound) {
			t.Error(err)
		}
	})
	t.Run("missing scope", func(t *testing.T) {
		s.DenyScope("crm.objects.contacts.read", true)
		defer s.DenyScope("crm.objects.contacts.read", false)
		_, err := client.List(t.Context(), hubspot.ListRequest{Object: contacts})
		if !errors.Is(err, hubspot.ErrForbidden) || !strings.Contains(err.Error(), "crm.objects.contacts.read") {
			t.Error(err)
		}
	})
	t.Run("clock", func(t *testing.T) {
		if d := time.Since(client.Now()).Abs(); d > 2*time.Second {
			t.Errorf("HubSpot's clock is off by %v", d)
		}
		s.Advance(time.Hour)
		for range 3 { // no single answer sets it
			if _, err := client.Account(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Until(client.Now()) - time.Hour; d.Abs() > 2*time.Second {
			t.Errorf("an hour later HubSpot's clock is off by %v", d)
		}
	})
}

// More than a page of links, several types on one pair, and records without any.
func TestAssociations(t *testing.T) {
	s, client := portal(t, simulator.Options{Contacts: 1100, Companies: 30, AssociationPage: 7})
	companies, _ := hubspot.ObjectByName("companies")
	people, firms := s.IDs("contacts", 0, 1100, 1), s.IDs("companies", 0, 30, 1)
	for _, firm := range firms {
		if err := s.Link("contacts", people[0], "companies", firm, simulator.LinkType{Category: "HUBSPOT_DEFINED", TypeID: 279}, simulator.LinkType{Category: "HUBSPOT_DEFINED", TypeID: 1, Label: "Primary"}); err != nil {
			t.Fatal(err)
		}
	}
	links, err := client.Associations(t.Context(), contacts, companies, append(people, people[0]))
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != len(people) {
		t.Errorf("%d entries for %d records", len(links), len(people))
	}
	for _, id := range people {
		truth, err := s.Links("contacts", id, "companies")
		if err != nil {
			t.Fatal(err)
		}
		var want []schemas.Link
		for _, l := range truth {
			for _, typ := range l.Types {
				want = append(want, schemas.Link{ID: fmt.Sprint(l.To), Category: typ.Category, TypeID: typ.TypeID, Label: typ.Label})
			}
		}
		slices.SortFunc(want, func(x, y schemas.Link) int {
			return strings.Compare(fmt.Sprintf("%020s %s %09d", x.ID, x.Category, x.TypeID), fmt.Sprintf("%020s %s %09d", y.ID, y.Category, y.TypeID))
		})
		if !slices.Equal(links[id], want) {
			t.Fatalf("links of %s are %v, truth %v", id, links[id], want)
		}
	}
	labels, err := client.AssociationLabels(t.Context(), contacts, companies)
	if err != nil || !slices.Contains(labels, hubspot.AssociationLabel{Category: "HUBSPOT_DEFINED", TypeID: 1, Label: "Primary"}) {
		t.Errorf("%+v, %v", labels, err)
	}
}

func TestOAuth(t *testing.T) {
	oauth := func(cfg *hubspot.Config) {
		cfg.Token = ""
		cfg.OAuth = &hubspot.OAuth{ClientID: "client-simulator", ClientSecret: "simulator-secret", RefreshToken: "refresh-simulator"}
	}
	t.Run("one refresh for many calls", func(t *testing.T) {
		_, client := portal(t, simulator.Options{Contacts: 10}, oauth)
		run(20, 2, func(_, _ int) { list(t, client) })
		if n := client.Usage().Requests["token"]; n != 1 {
			t.Errorf("%d token requests", n)
		}
	})
	t.Run("an expired token is refreshed", func(t *testing.T) {
		s, client := portal(t, simulator.Options{Contacts: 10}, oauth)
		list(t, client)
		s.ExpireTokens()
		run(20, 1, func(_, _ int) { list(t, client) })
		if n := client.Usage().Requests["token"]; n != 2 {
			t.Errorf("%d token requests", n)
		}
	})
	t.Run("a revoked grant is final", func(t *testing.T) {
		s, client := portal(t, simulator.Options{Contacts: 10}, oauth)
		s.RevokeRefreshToken()
		_, err := client.List(t.Context(), hubspot.ListRequest{Object: contacts})
		if !errors.Is(err, hubspot.ErrUnauthorized) || !strings.Contains(err.Error(), "connect the app") {
			t.Errorf("error is %v", err)
		}
		for _, secret := range []string{"simulator-secret", "refresh-simulator"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error shows a secret: %v", err)
			}
		}
	})
	t.Run("a revoked token of a private app is final", func(t *testing.T) {
		s, client := portal(t, simulator.Options{Contacts: 10})
		s.RevokeToken("pat-simulator")
		_, err := client.List(t.Context(), hubspot.ListRequest{Object: contacts})
		if !errors.Is(err, hubspot.ErrUnauthorized) || strings.Contains(err.Error(), "pat-simulator") {
			t.Errorf("error is %v", err)
		}
	})
}
