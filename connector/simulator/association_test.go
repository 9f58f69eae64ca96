package simulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/hubtail/hubtail/connector/simulator"
)

// linked returns the far ids of one record by the batch endpoint, all pages, and the number of pages.
func linked(t *testing.T, p *portal, from, id, to string) (ids []string, pages int) {
	t.Helper()
	after := ""
	for {
		a := p.post("/crm/v4/associations/"+from+"/"+to+"/batch/read", fmt.Sprintf(`{"inputs":[{"id":%q,"after":%q}]}`, id, after))
		if len(a.results()) == 0 {
			return ids, pages
		}
		pages++
		r := a.results()[0]
		for _, l := range r["to"].([]any) {
			ids = append(ids, l.(map[string]any)["toObjectId"].(json.Number).String())
		}
		paging, has := r["paging"].(map[string]any)
		if !has {
			return ids, pages
		}
		after = paging["next"].(map[string]any)["after"].(string)
	}
}

func TestAssociationsAgreeInBothDirections(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 400, Companies: 37, Deals: 90, Tickets: 700, Calls: 400})
	for _, pair := range [][2]string{{"contacts", "companies"}, {"deals", "contacts"}, {"deals", "companies"}, {"tickets", "contacts"}, {"calls", "contacts"}} {
		forward, backward := map[string]bool{}, map[string]bool{}
		for _, id := range p.IDs(pair[0], 0, 1000, 1) {
			for _, l := range must[[]simulator.Link](t)(p.Links(pair[0], id, pair[1])) {
				forward[fmt.Sprint(id, " ", l.To)] = true
			}
		}
		for _, id := range p.IDs(pair[1], 0, 1000, 1) {
			for _, l := range must[[]simulator.Link](t)(p.Links(pair[1], id, pair[0])) {
				backward[fmt.Sprint(l.To, " ", id)] = true
			}
		}
		if len(forward) == 0 || len(forward) != len(backward) {
			t.Fatalf("%v: %d links forward, %d backward", pair, len(forward), len(backward))
		}
		for l := range forward {
			if !backward[l] {
				t.Fatalf("%v: %s has no way back", pair, l)
			}
		}
	}
}

func TestAssociationBatchRead(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 20, Companies: 3, AssociationPage: 4})
	contact := must[string](t)(p.Create("contacts", nil))
	var companies []string
	for range 10 {
		id := must[string](t)(p.Create("companies", nil))
		companies = append(companies, id)
		ok(t, p.Link("contacts", contact, "companies", id))
	}
	slices.SortFunc(companies, func(a, b string) int { return int(number(t, a) - number(t, b)) })

	t.Run("pages per record", func(t *testing.T) {
		ids, pages := linked(t, p, "contacts", contact, "companies")
		if !slices.Equal(ids, companies) || pages != 3 {
			t.Fatalf("%d pages, %v", pages, ids)
		}
	})
	t.Run("one link carries several types", func(t *testing.T) {
		a := p.post("/crm/v4/associations/contact/company/batch/read", fmt.Sprintf(`{"inputs":[{"id":%q}]}`, contact)).want(t, 200)
		types := a.results()[0]["to"].([]any)[0].(map[string]any)["associationTypes"].([]any)
		first, second := types[0].(map[string]any), types[1].(map[string]any)
		if first["label"] != "Primary" || first["typeId"].(json.Number) != "1" || second["label"] != nil || second["typeId"].(json.Number) != "279" {
			t.Fatalf("%v", types)
		}
	})
	t.Run("no associations is an error in a 207", func(t *testing.T) {
		lonely := must[string](t)(p.Create("contacts", nil))
		a := p.post("/crm/v4/associations/contacts/companies/batch/read", fmt.Sprintf(`{"inputs":[{"id":%q},{"id":%q},{"id":"x"}]}`, lonely, contact)).want(t, 207)
		failures := a.body["errors"].([]any)
		first, second := failures[0].(map[string]any), failures[1].(map[string]any)
		if len(a.results()) != 1 || a.body["numErrors"].(json.Number) != "2" || first["subCategory"] != "crm.associations.NO_ASSOCIATIONS_FOUND" ||
			first["message"] != "No company is associated with contact "+lonely+"." || second["subCategory"] != "crm.associations.INVALID_IDENTIFIER" {
			t.Fatalf("%s", a.raw)
		}
	})
	t.Run("at most 1000 inputs", func(t *testing.T) {
		list := make([]string, 1001)
		for i := range list {
			list[i] = contact
		}
		p.post("/crm/v4/associations/contacts/companies/batch/read", `{"inputs":[`+inputs(list...)+`]}`).want(t, 400)
		p.post("/crm/v4/associations/contacts/companies/batch/read", `{"inputs":[]}`).want(t, 400)
		p.post("/crm/v4/associations/contacts/companies/batch/read", `{"inputs":[{"id":"1","after":"17"}]}`).want(t, 400)
		p.post("/crm/v4/associations/contacts/butterflies/batch/read", `{"inputs":[{"id":"1"}]}`).want(t, 400)
	})
	t.Run("single read", func(t *testing.T) {
		a := p.get("/crm/v4/objects/contacts/"+contact+"/associations/companies?limit=3").want(t, 200)
		if a.results()[0]["toObjectId"] != companies[0] || a.after() == "" {
			t.Fatalf("%s", a.raw)
		}
		p.get("/crm/v4/objects/contacts/"+contact+"/associations/companies?limit=501").want(t, 400)
		p.get("/crm/v4/objects/contacts/1/associations/companies").want(t, 404)
	})
	t.Run("list names every type of a link", func(t *testing.T) {
		a := p.get("/crm/v3/objects/contacts/"+contact+"?associations=companies,nothing").want(t, 200)
		block := a.body["associations"].(map[string]any)["companies"].(map[string]any)
		rows := block["results"].([]any)
		if len(rows) != 8 || rows[0].(map[string]any)["type"] != "contact_to_company" || rows[1].(map[string]any)["type"] != "contact_to_company_unlabeled" || block["paging"] == nil {
			t.Fatalf("%s", a.raw)
		}
		if a := p.get("/crm/v3/objects/contacts/" + contact + "?associations=deals"); a.body["associations"] != nil {
			t.Fatalf("associations without any: %s", a.raw)
		}
	})
	t.Run("unlink and archive hide links", func(t *testing.T) {
		ok(t, p.Unlink("companies", companies[0], "contacts", contact))
		ok(t, p.Archive("companies", companies[1]))
		ids, _ := linked(t, p, "contacts", contact, "companies")
		if !slices.Equal(ids, companies[2:]) {
			t.Fatalf("%v", ids)
		}
		ok(t, p.Restore("companies", companies[1]))
		if ids, _ := linked(t, p, "contacts", contact, "companies"); !slices.Equal(ids, companies[1:]) {
			t.Fatalf("after restore %v", ids)
		}
	})
	t.Run("labels", func(t *testing.T) {
		a := p.get("/crm/v4/associations/deals/contacts/labels").want(t, 200)
		if a.results()[0]["typeId"].(json.Number) != "3" || a.results()[0]["category"] != "HUBSPOT_DEFINED" {
			t.Fatalf("%s", a.raw)
		}
	})
}

func TestLinkingDoesNotBumpLastModified(t *testing.T) {
	t.Parallel()
	for _, bump := range []bool{false, true} {
		p := open(t, simulator.Options{Contacts: 5, Tickets: 5, AssociationBump: bump})
		contact, ticket := p.IDs("contacts", 0, 1, 1)[0], must[string](t)(p.Create("tickets", nil))
		before := everyone(p, "contacts")[contact].UpdatedAt
		ok(t, p.Link("tickets", ticket, "contacts", contact))
		if after := everyone(p, "contacts")[contact].UpdatedAt; after.After(before) != bump {
			t.Errorf("bump %v: %s -> %s", bump, before, after)
		}
	}
}

func TestLinkingChangesCountersWithoutABump(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Companies: 2})
	company := p.IDs("companies", 0, 1, 1)[0]
	before := everyone(p, "companies")[company]
	for range 2 {
		ok(t, p.Link("contacts", must[string](t)(p.Create("contacts", nil)), "companies", company))
	}
	after := everyone(p, "companies")[company]
	if after.Properties["num_associated_contacts"] != "2" || !after.UpdatedAt.Equal(before.UpdatedAt) {
		t.Fatalf("%q at %s, before %s", after.Properties["num_associated_contacts"], after.UpdatedAt, before.UpdatedAt)
	}
}

func TestMergeJoinsLinks(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{})
	make1 := must[string](t)
	a, b := make1(p.Create("contacts", map[string]string{"email": "a@x.example"})), make1(p.Create("contacts", map[string]string{"email": "b@x.example", "city": "Rome"}))
	x, y := make1(p.Create("companies", nil)), make1(p.Create("companies", nil))
	ok(t, p.Link("contacts", a, "companies", x))
	ok(t, p.Link("contacts", b, "companies", y))
	winner := make1(p.Merge("contacts", a, b))
	ids, _ := linked(t, p, "contacts", winner, "companies")
	if len(ids) != 2 {
		t.Fatalf("winner's companies %v", ids)
	}
	if ids, _ := linked(t, p, "companies", y, "contacts"); !slices.Equal(ids, []string{winner}) {
		t.Fatalf("company's contacts %v, want %s", ids, winner)
	}
	if r := everyone(p, "contacts")[winner].Properties; r["email"] != "a@x.example" || r["city"] != "Rome" {
		t.Fatalf("joined values %v", r)
	}
}

func TestTheTruthAboutLinksIsWhatReadsShow(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 60, Companies: 9})
	ids, companies := p.IDs("contacts", 0, 60, 1), p.IDs("companies", 0, 9, 1)
	ok(t, p.Link("contacts", ids[3], "companies", companies[8], simulator.LinkType{Category: "USER_DEFINED", TypeID: 5, Label: "a \"b\""}))
	ok(t, p.Archive("contacts", ids[5]))
	ok(t, p.Archive("companies", companies[1]))
	var want, got []string
	for _, id := range p.IDs("contacts", 0, 60, 1) {
		for _, l := range must[[]simulator.Link](t)(p.Links("contacts", id, "companies")) {
			want = append(want, fmt.Sprint(id, " ", l.To, " ", l.Types))
		}
	}
	for l := range p.TruthLinks("contacts", "companies") {
		got = append(got, fmt.Sprint(l.ID, " ", l.To, " ", l.Types))
	}
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%d links, want %d", len(got), len(want))
	}
	stream := p.get("/_control/truth/contacts/links/companies").want(t, 200).raw
	lines := 0
	for decoder := json.NewDecoder(bytes.NewReader(stream)); decoder.More(); lines++ {
		var l struct {
			ID, To string
			Types  []simulator.LinkType
		}
		ok(t, decoder.Decode(&l))
		if text := fmt.Sprint(l.ID, " ", l.To, " ", l.Types); text != want[lines] {
			t.Fatalf("%s, want %s", text, want[lines])
		}
	}
	if lines != len(want) {
		t.Errorf("%d lines, want %d", lines, len(want))
	}
	p.get("/_control/truth/contacts/links/none").want(t, 404)
}
