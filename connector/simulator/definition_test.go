package simulator_test

import (
	"strings"
	"testing"

	"github.com/hubtail/hubtail/connector/simulator"
)

func definitions(t *testing.T, p *portal, object, query string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	a := p.get("/crm/v3/properties/"+object+query).want(t, 200)
	if a.body["paging"] != nil {
		t.Fatal("definitions have paging")
	}
	for _, d := range a.results() {
		all[d["name"].(string)] = d
	}
	return all
}

func TestDefinitionsOfContacts(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 10})
	all := definitions(t, p, "contacts", "")
	standard, calculated, hidden, types := 0, 0, 0, map[string]int{}
	for _, d := range all {
		if d["hubspotDefined"] == true {
			standard++
		}
		if d["calculated"] == true {
			calculated++
		}
		if d["hidden"] == true {
			hidden++
		}
		types[d["type"].(string)]++
	}
	if standard != 367 || calculated < 30 || hidden < 50 || len(types) < 9 {
		t.Fatalf("%d standard, %d calculated, %d hidden, types %v", standard, calculated, hidden, types)
	}
	for _, name := range []string{"email", "hs_lastmodifieddate", "custom_nul", "id", "_seq", "xmin", "custom_calculated"} {
		if all[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if all["custom_archived"] != nil || all["custom_secret"] != nil {
		t.Error("archived or sensitive definitions without being asked for")
	}
	if definitions(t, p, "contacts", "?archived=true")["custom_archived"]["archivedAt"] == nil {
		t.Error("archived definitions are not listed with archived=true")
	}
	if len(definitions(t, p, "contacts", "?dataSensitivity=sensitive")) != 1 {
		t.Error("sensitive definitions are not listed with dataSensitivity=sensitive")
	}
	p.get("/crm/v3/properties/contacts?dataSensitivity=x").want(t, 400)
	p.get("/crm/v3/properties/contacts/email").want(t, 200)
	p.get("/crm/v3/properties/contacts/nope").want(t, 404)
}

func TestPropertyCount(t *testing.T) {
	t.Parallel()
	for _, n := range []int{50, 400, 1000, 2000} {
		p := open(t, simulator.Options{Contacts: 2, Properties: n})
		got := len(definitions(t, p, "contacts", "")) + len(definitions(t, p, "contacts", "?archived=true")) + len(definitions(t, p, "contacts", "?dataSensitivity=sensitive"))
		if got != n {
			t.Errorf("%d definitions, want %d", got, n)
		}
		p.get("/crm/v3/objects/contacts").want(t, 200)
	}
}

func TestDefinitionsDrift(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 3})
	id := p.IDs("contacts", 0, 1, 1)[0]
	read := func() any {
		return properties(p.get("/crm/v3/objects/contacts/" + id + "?properties=fresh").body)["fresh"]
	}
	if read() != nil {
		t.Fatal("a property that does not exist has a value")
	}
	ok(t, p.DefineProperty("contacts", simulator.Property{Name: "fresh", Type: "string"}))
	ok(t, p.Update("contacts", id, map[string]string{"fresh": "12"}))
	ok(t, p.DefineProperty("contacts", simulator.Property{Name: "fresh", Type: "number", Label: "Renamed"}))
	if d := definitions(t, p, "contacts", "")["fresh"]; d["type"] != "number" || d["label"] != "Renamed" || read() != "12" {
		t.Fatalf("%v %v", d, read())
	}
	ok(t, p.DefineProperty("contacts", simulator.Property{Name: "fresh", Type: "number", Archived: true}))
	if definitions(t, p, "contacts", "")["fresh"] != nil || read() != nil {
		t.Fatal("an archived property is still shown")
	}
	for r := range p.Truth("contacts") {
		if r.Properties["fresh"] != "" {
			t.Fatal("the truth has an archived property")
		}
	}
}

func TestCalculatedPropertiesChangeWithoutABump(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 3, IndexLag: noLag})
	id := p.IDs("contacts", 0, 1, 1)[0]
	before := everyone(p, "contacts")[id]
	ok(t, p.Recalculate("contacts", id, map[string]string{"custom_calculated": "4242"}))
	after := everyone(p, "contacts")[id]
	if after.Properties["custom_calculated"] != "4242" || !after.UpdatedAt.Equal(before.UpdatedAt) {
		t.Fatalf("%+v", after)
	}
}

func TestHardValuesSurviveTheWire(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1})
	id := p.IDs("contacts", 0, 1, 1)[0]
	for value, wire := range map[string]string{
		"a\x00b":                      `"a\u0000b"`,
		"lone \xed\xa0\x80":           `"lone \ud800"`,
		"\xed\xb0\x80 low":            `"\udc00 low"`,
		`quo"te \ back`:               `"quo\"te \\ back"`,
		"🧑🏽‍💻\n":                      `"🧑🏽‍💻\n"`,
		strings.Repeat("ž", 65_536/2): `"` + strings.Repeat("ž", 65_536/2) + `"`,
	} {
		ok(t, p.Update("contacts", id, map[string]string{"custom_text": value}))
		if a := p.get("/crm/v3/objects/contacts/" + id + "?properties=custom_text"); !strings.Contains(string(a.raw), `"custom_text":`+wire) {
			t.Errorf("%.40q: %.200s", value, a.raw)
		}
		truth := p.get("/_control/truth/contacts")
		if !strings.Contains(string(truth.raw), `"custom_text":`+wire) {
			t.Errorf("truth of %.40q: %.200s", value, truth.raw)
		}
		// And the control API takes what it shows.
		p.post("/_control/update", `{"object":"contacts","id":"`+id+`","properties":{"custom_text":`+wire+`}}`).want(t, 200)
		if got := everyone(p, "contacts")[id].Properties["custom_text"]; got != value {
			t.Errorf("%.40q came back as %.40q", value, got)
		}
	}
}

func TestOwnersPageAndArchive(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Owners: 7})
	var ids []string
	for path := "/crm/v3/owners?limit=3"; ; {
		a := p.get(path).want(t, 200)
		ids = append(ids, a.ids()...)
		if a.after() == "" {
			break
		}
		path = "/crm/v3/owners?limit=3&after=" + a.after()
	}
	if len(ids) != 7 {
		t.Fatalf("%v", ids)
	}
	o := p.Owners()[2]
	o.Archived = true
	p.SetOwner(o)
	a := p.get("/crm/v3/owners?archived=true").want(t, 200)
	if len(a.ids()) != 1 || a.results()[0]["userId"] != nil || a.results()[0]["userIdIncludingInactive"] == nil {
		t.Fatalf("%s", a.raw)
	}
	if len(p.get("/crm/v3/owners").ids()) != 6 || len(p.get("/crm/v3/owners?email="+p.Owners()[0].Email).ids()) != 1 {
		t.Fatal("live owners")
	}
	p.get("/crm/v3/owners/"+p.Owners()[0].ID).want(t, 200)
}

func TestPipelinesAndSchemasAndAccount(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{CustomObjects: []simulator.CustomObject{{Name: "car", Count: 2}, {Name: "deals"}}, TimeZone: "Europe/Berlin", PortalID: 99})
	a := p.get("/crm/v3/pipelines/deals").want(t, 200)
	stages := a.results()[0]["stages"].([]any)
	metadata := stages[len(stages)-2].(map[string]any)["metadata"].(map[string]any)
	if len(stages) != 7 || metadata["isClosed"] != "true" || metadata["probability"] != "1.0" || a.body["paging"] != nil {
		t.Fatalf("%s", a.raw)
	}
	if len(p.get("/crm/v3/pipelines/calls").want(t, 200).results()) != 0 {
		t.Fatal("calls have pipelines")
	}
	for _, path := range []string{"/crm/v3/schemas", "/crm-object-schemas/v3/schemas"} {
		list := p.get(path).want(t, 200).results()
		if len(list) != 2 || list[0]["fullyQualifiedName"] != "p99_car" || list[0]["objectTypeId"] != "2-3400000" || list[1]["name"] != "deals" {
			t.Fatalf("%v", list)
		}
	}
	p.get("/crm/v3/schemas/p_car").want(t, 200)
	if a := p.get("/account-info/v3/details").want(t, 200); a.text("timeZone") != "Europe/Berlin" || a.body["portalId"].(interface{ String() string }).String() != "99" {
		t.Fatalf("%s", a.raw)
	}
	if open(t, simulator.Options{}).get("/crm/v3/schemas").want(t, 200).body["results"] == nil {
		t.Fatal("no custom objects must be an empty list")
	}
}
