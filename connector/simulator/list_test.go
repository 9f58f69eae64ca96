package simulator_test

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

func number(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestListIsAscendingByIDAndCompletes(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1234})
	var ids []string
	after := ""
	for pages := 0; ; pages++ {
		a := p.get("/crm/v3/objects/contacts?limit=100&after="+after).want(t, 200)
		if _, has := a.body["total"]; has {
			t.Fatal("list has a total")
		}
		ids = append(ids, a.ids()...)
		next := a.after()
		if next == "" {
			if _, has := a.body["paging"]; has {
				t.Fatal("the last page has paging")
			}
			break
		}
		if got, last := number(t, next), number(t, ids[len(ids)-1]); got != last+1 {
			t.Fatalf("after is %d, want last id + 1 = %d", got, last+1)
		}
		after = next
	}
	if len(ids) != 1234 || !slices.IsSortedFunc(ids, func(a, b string) int { return int(number(t, a) - number(t, b)) }) {
		t.Fatalf("%d ids, sorted: want 1234", len(ids))
	}
	if len(slices.Compact(ids)) != 1234 {
		t.Fatal("an id came twice")
	}
}

func TestListAfterIsAnInclusiveLowerBound(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 50})
	ids := p.get("/crm/v3/objects/contacts?limit=50").ids()
	if got := p.get("/crm/v3/objects/contacts?limit=1&after=" + ids[7]).ids(); got[0] != ids[7] {
		t.Fatalf("after=%s begins with %s", ids[7], got[0])
	}
	if got := p.get(fmt.Sprintf("/crm/v3/objects/contacts?limit=1&after=%d", number(t, ids[7])+1)).ids(); got[0] != ids[8] {
		t.Fatalf("after=id+1 begins with %s, want %s", got[0], ids[8])
	}
}

func TestListLimits(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 150})
	if n := len(p.get("/crm/v3/objects/contacts").ids()); n != 10 {
		t.Errorf("default limit %d, want 10", n)
	}
	for _, bad := range []string{"limit=101", "limit=0", "limit=-1", "limit=x", "limit=51&propertiesWithHistory=email", "after=abc", "archived=maybe"} {
		p.get("/crm/v3/objects/contacts?"+bad).want(t, 400)
	}
	p.get("/crm/v3/objects/contacts?limit=50&propertiesWithHistory=email").want(t, 200)
}

func TestListProperties(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 30})
	t.Run("default properties when none asked", func(t *testing.T) {
		r := p.get("/crm/v3/objects/contacts?limit=1").results()[0]
		want := []string{"createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"}
		if len(properties(r)) != len(want) {
			t.Fatalf("properties %v", properties(r))
		}
		for _, name := range want {
			if _, ok := properties(r)[name]; !ok {
				t.Errorf("no %s", name)
			}
		}
		if properties(r)["hs_object_id"] != r["id"] || properties(r)["lastmodifieddate"] != r["updatedAt"] || properties(r)["createdate"] != r["createdAt"] {
			t.Errorf("system values differ from the record's: %v", r)
		}
	})
	t.Run("unknown names are ignored and missing values are null", func(t *testing.T) {
		a := p.get("/crm/v3/objects/contacts?limit=1&properties=no_such,hs_facebookid,email,email")
		if got := properties(a.results()[0]); len(got) != 2 {
			t.Fatalf("properties %v", got)
		}
		if !strings.Contains(string(a.raw), `"properties":{"email":`) || !strings.Contains(string(a.raw), `"hs_facebookid":null`) {
			t.Fatalf("keys not sorted or null missing: %s", a.raw)
		}
	})
	t.Run("archived and sensitive properties are unknown", func(t *testing.T) {
		a := p.get("/crm/v3/objects/contacts?limit=30&properties=custom_archived,custom_secret")
		for _, r := range a.results() {
			if len(properties(r)) != 0 {
				t.Fatalf("properties %v", properties(r))
			}
		}
	})
}

func TestListArchivedShowsOnlyArchived(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 20})
	ids := p.get("/crm/v3/objects/contacts?limit=20").ids()
	before := p.get("/crm/v3/objects/contacts/" + ids[3]).text("updatedAt")
	p.do("DELETE", "/crm/v3/objects/contacts/"+ids[3], "").want(t, 204)
	a := p.get("/crm/v3/objects/contacts?archived=true")
	if got := a.ids(); !slices.Equal(got, ids[3:4]) {
		t.Fatalf("archived list %v", got)
	}
	r := a.results()[0]
	if r["archived"] != true || r["archivedAt"] == nil || r["updatedAt"] != before {
		t.Fatalf("archived record %v; last-modified must not move from %s", r, before)
	}
	if slices.Contains(p.get("/crm/v3/objects/contacts?limit=20").ids(), ids[3]) {
		t.Fatal("the live list shows an archived record")
	}
	p.get("/crm/v3/objects/contacts/"+ids[3]).want(t, 404)
	p.get("/crm/v3/objects/contacts/"+ids[3]+"?archived=true").want(t, 200)
	p.do("DELETE", "/crm/v3/objects/contacts/123456789", "").want(t, 204)
}

func TestObjectTypesByEveryName(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 3, CustomObjects: []simulator.CustomObject{{Name: "car", Count: 4}, {Name: "contacts", Count: 2}}})
	for _, name := range []string{"contacts", "contact", "0-1"} {
		if n := len(p.get("/crm/v3/objects/"+name).want(t, 200).ids()); n != 3 {
			t.Errorf("%s: %d records", name, n)
		}
	}
	for name, n := range map[string]int{"p_car": 4, "p4711_car": 4, "2-3400000": 4, "p_contacts": 2} {
		if got := len(p.get("/crm/v3/objects/"+name).want(t, 200).ids()); got != n {
			t.Errorf("%s: %d records", name, got)
		}
	}
	for _, name := range []string{"car", "butterflies", "2-99"} {
		if a := p.get("/crm/v3/objects/"+name).want(t, 400); a.text("message") != "Unable to infer object type from: "+name {
			t.Errorf("%s: %s", name, a.raw)
		}
	}
	for _, path := range []string{"/crm/objects/2026-03/contacts", "/crm/objects/2026-09-beta/0-1"} {
		p.get(path).want(t, 200)
	}
}

func TestTooLongURL(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1})
	p.get("/crm/v3/objects/contacts?properties="+strings.Repeat("x", 17<<10)).want(t, 414)
	p.get("/crm/v3/objects/contacts?properties="+url.QueryEscape(strings.Repeat("x", 15<<10))).want(t, 200)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{})
	p.get("/crm/v3/nothing").want(t, 404)
	p.do("PUT", "/crm/v3/objects/contacts", "{}").want(t, 405)
	p.do("DELETE", "/crm/v3/owners", "").want(t, 405)
}

func TestArchivedRecordsLeaveTheBinAfterNinetyDays(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 5})
	ids := p.IDs("contacts", 0, 5, 1)
	ok(t, p.Archive("contacts", ids[1]))
	p.Advance(89 * 24 * time.Hour)
	ok(t, p.Archive("contacts", ids[3]))
	if got := p.get("/crm/v3/objects/contacts?archived=true").ids(); len(got) != 2 {
		t.Fatalf("%v", got)
	}
	p.Advance(2 * 24 * time.Hour)
	if got := p.get("/crm/v3/objects/contacts?archived=true").ids(); !slices.Equal(got, ids[3:4]) {
		t.Fatalf("%v", got)
	}
	p.get("/crm/v3/objects/contacts/"+ids[1]+"?archived=true").want(t, 404)
}

func TestListParametersMayBeRepeated(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1})
	if got := properties(p.get("/crm/v3/objects/contacts?properties=email&properties=city,zip").results()[0]); len(got) != 3 {
		t.Fatalf("%v", got)
	}
}

func TestCloseCutsWhatHangs(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Options{Contacts: 1})
	s.Inject(simulator.Fault{Kind: simulator.FaultHang})
	p := open(t, simulator.Options{})
	p.url = must[string](t)(s.Start("127.0.0.1:0"))
	failed := make(chan error, 1)
	go func() {
		_, _, err := p.try("/crm/v3/owners")
		failed <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); s.Stats().Requests == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // polling a condition
	}
	ok(t, s.Close())
	if err := <-failed; err == nil {
		t.Fatal("the request was answered")
	}
	ok(t, s.Close())
}
