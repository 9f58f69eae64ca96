package simulator_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

var noLag = simulator.Lag{Off: true}

func filters(list ...string) string {
	return `{"filterGroups":[{"filters":[` + strings.Join(list, ",") + `]}],"limit":200}`
}

func filter(name, operator, value string) string {
	return fmt.Sprintf(`{"propertyName":%q,"operator":%q,"value":%q}`, name, operator, value)
}

func between(name, low, high string) string {
	return fmt.Sprintf(`{"propertyName":%q,"operator":"BETWEEN","value":%q,"highValue":%q}`, name, low, high)
}

// everyone returns what the primary store holds, by id.
func everyone(p *portal, object string) map[string]simulator.TruthRecord {
	all := map[string]simulator.TruthRecord{}
	for r := range p.Truth(object) {
		all[r.ID] = r
	}
	return all
}

func TestSearchOperators(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{IndexLag: noLag, NoOddities: true})
	make1 := must[string](t)
	one := make1(p.Create("contacts", map[string]string{"email": "One@Example.com", "firstname": "Ada Lovelace", "numemployees": "5-25", "followercount": "10", "closedate": "2024-05-01T10:00:00.123Z"}))
	two := make1(p.Create("contacts", map[string]string{"email": "two@example.com", "firstname": "ada", "numemployees": "1-5", "followercount": "9.5"}))
	three := make1(p.Create("contacts", map[string]string{"firstname": "bob", "followercount": "1e2"}))
	for _, c := range []struct {
		filter string
		want   []string
	}{
		{filter("email", "EQ", "ONE@example.COM"), []string{one}},
		{filter("email", "NEQ", "one@example.com"), []string{two}},
		{filter("email", "HAS_PROPERTY", ""), []string{one, two}},
		{filter("email", "NOT_HAS_PROPERTY", ""), []string{three}},
		{filter("numemployees", "EQ", "1-5"), []string{two}},
		{`{"propertyName":"firstname","operator":"IN","values":["ada","bob"]}`, []string{two, three}},
		{`{"propertyName":"firstname","operator":"IN","values":["Ada","BOB"]}`, nil},
		{`{"propertyName":"firstname","operator":"NOT_IN","values":["bob"]}`, []string{one, two}},
		{filter("firstname", "CONTAINS_TOKEN", "ada"), []string{one, two}},
		{filter("firstname", "CONTAINS_TOKEN", "love*"), []string{one}},
		{filter("firstname", "CONTAINS_TOKEN", "love"), nil},
		{filter("firstname", "NOT_CONTAINS_TOKEN", "ada"), []string{three}},
		{filter("followercount", "GT", "9.5"), []string{one, three}},
		{filter("followercount", "GTE", "9.5"), []string{one, two, three}},
		{filter("followercount", "LT", "10"), []string{two}},
		{filter("followercount", "LTE", "10"), []string{one, two}},
		{between("followercount", "9.5", "10"), []string{one, two}},
		{between("closedate", "1714557600123", "1714557600123"), []string{one}},
		{filter("closedate", "EQ", "2024-05-01T03:00:00.123-07:00"), []string{one}},
		{filter("closedate", "GTE", "2024-05-01T10:00:00.123999Z"), []string{one}}, // finer digits are cut off
		{filter("hs_object_id", "EQ", two), []string{two}},
		{fmt.Sprintf(`{"propertyName":"hs_object_id","operator":"IN","values":[%q,%q]}`, one, three), []string{one, three}},
	} {
		a := p.search("contacts", filters(c.filter)).want(t, 200)
		got := a.ids()
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) || a.total() != len(c.want) {
			t.Errorf("%s: %v of %d, want %v", c.filter, got, a.total(), c.want)
		}
	}
}

func TestSearchGroupsAreAlternatives(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 300, IndexLag: noLag})
	ids := p.IDs("contacts", 0, 300, 1)
	a := p.search("contacts", fmt.Sprintf(`{"filterGroups":[{"filters":[%s]},{"filters":[%s,%s]}],"sorts":[{"propertyName":"hs_object_id","direction":"DESCENDING"}]}`,
		filter("hs_object_id", "LTE", ids[2]), filter("hs_object_id", "GTE", ids[1]), filter("hs_object_id", "LT", ids[5]))).want(t, 200)
	want := slices.Clone(ids[:5])
	slices.Reverse(want)
	if !slices.Equal(a.ids(), want) {
		t.Fatalf("%v, want %v", a.ids(), want)
	}
	bare := p.search("contacts", `{"filters":[`+filter("hs_object_id", "EQ", ids[9])+`]}`).ids()
	if !slices.Equal(bare, ids[9:10]) {
		t.Fatalf("bare filters: %v", bare)
	}
}

func TestSearchRefusals(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 20})
	f := filter("email", "EQ", "x")
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat(f+",", n), ",") }
	group := func(n int) string { return `{"filters":[` + many(n) + `]}` }
	groups := func(list ...string) string { return `{"filterGroups":[` + strings.Join(list, ",") + `]}` }
	p.search("contacts", groups(group(6), group(6), group(6))).want(t, 200)
	p.search("contacts", groups(group(1), group(1), group(1), group(1), group(1))).want(t, 200)
	for what, body := range map[string]string{
		"six groups":             groups(group(1), group(1), group(1), group(1), group(1), group(1)),
		"seven filters":          groups(group(7)),
		"nineteen filters":       groups(group(6), group(6), group(6), group(1)),
		"two sorts":              `{"sorts":[{"propertyName":"email"},{"propertyName":"hs_object_id"}]}`,
		"unknown sort":           `{"sorts":[{"propertyName":"nope"}]}`,
		"unknown direction":      `{"sorts":[{"propertyName":"email","direction":"UP"}]}`,
		"limit 201":              `{"limit":201}`,
		"beyond 10,000":          `{"limit":100,"after":"9901"}`,
		"at 10,000":              `{"limit":1,"after":"10000"}`,
		"unknown property":       filters(filter("nope", "EQ", "1")),
		"unknown operator":       filters(filter("email", "LIKE", "1")),
		"no value":               filters(`{"propertyName":"email","operator":"EQ"}`),
		"no high value":          filters(`{"propertyName":"createdate","operator":"BETWEEN","value":"1"}`),
		"no values":              filters(`{"propertyName":"email","operator":"IN"}`),
		"date that is none":      filters(filter("createdate", "GT", "yesterday")),
		"number that is none":    filters(filter("followercount", "GT", "many")),
		"id that is none":        filters(filter("hs_object_id", "GT", "abc")),
		"long query":             `{"query":"` + strings.Repeat("x", 3001) + `"}`,
		"long values":            filters(filter("email", "EQ", strings.Repeat("x", 3001))),
		"not JSON":               `{"limit":`,
		"object as value":        filters(`{"propertyName":"email","operator":"EQ","value":{}}`),
		"negative after":         `{"after":"-1"}`,
		"association that isn't": filters(filter("associations.nothing", "EQ", "1")),
	} {
		if a := p.search("contacts", body); a.status != 400 || a.text("category") != "VALIDATION_ERROR" {
			t.Errorf("%s: status %d %.200s", what, a.status, a.raw)
		}
	}
	if a := p.search("contacts", `{"after":"abc"}`).want(t, 400); !strings.Contains(a.text("message"), "Cannot deserialize value of type") {
		t.Errorf("after that is no number: %s", a.raw)
	}
	p.search("contacts", `{"limit":100,"after":"9900"}`).want(t, 200)
	p.search("contacts", filters(filter("createdate", "GT", "0"))).want(t, 500)
	p.search("emails", filters(filter("hs_email_html", "HAS_PROPERTY", ""))).want(t, 400)
	p.search("calls", filters(filter("hs_body_preview_html", "HAS_PROPERTY", ""))).want(t, 400)
	p.search("calls", filters(filter("hs_body_preview", "HAS_PROPERTY", ""))).want(t, 200)
}

func TestSearchTakesLenientForms(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 30})
	for _, body := range []string{`{}`, `{"filters":[],"sorts":[],"after":"","limit":"30"}`, `{"filterGroups":[{"filters":[]}],"limit":30,"after":0}`} {
		if a := p.search("contacts", body).want(t, 200); a.total() != 30 {
			t.Errorf("%s: total %d", body, a.total())
		}
	}
	req := p.post("/crm/v3/objects/contacts/search", "{}")
	req.want(t, 200)
}

func TestSearchPagesByOffset(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 450})
	var ids []string
	after := "0"
	for after != "" {
		a := p.search("contacts", `{"sorts":[{"propertyName":"hs_object_id","direction":"ASCENDING"}],"limit":200,"after":"`+after+`"}`).want(t, 200)
		ids = append(ids, a.ids()...)
		if a.total() != 450 {
			t.Fatalf("total %d", a.total())
		}
		if after = a.after(); after != "" && after != strconv.Itoa(len(ids)) {
			t.Fatalf("after %s, want the offset %d", after, len(ids))
		}
		if strings.Contains(string(a.raw), `"link"`) {
			t.Fatal("search paging has a link")
		}
	}
	if !slices.Equal(ids, p.IDs("contacts", 0, 450, 1)) {
		t.Fatalf("%d ids", len(ids))
	}
}

func TestSearchByLastModifiedIsExact(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 2500, IndexLag: noLag})
	for i, id := range p.IDs("contacts", 0, 300, 7) {
		ok(t, p.Update("contacts", id, map[string]string{"city": strconv.Itoa(i)}))
	}
	low, high := at("2021-01-01T00:00:00Z"), time.Now().Add(time.Hour)
	for _, from := range []time.Time{low, at("2024-06-01T00:00:00Z"), at("2026-01-01T00:00:00Z")} {
		want := 0
		for _, r := range everyone(p, "contacts") {
			if !r.UpdatedAt.Before(from) && !r.UpdatedAt.After(high) {
				want++
			}
		}
		f := between("lastmodifieddate", strconv.FormatInt(from.UnixMilli(), 10), strconv.FormatInt(high.UnixMilli(), 10))
		for _, sort := range []string{"lastmodifieddate", "hs_object_id", "email", "createdate"} {
			for _, direction := range []string{"ASCENDING", "DESCENDING"} {
				body := fmt.Sprintf(`{"filterGroups":[{"filters":[%s]}],"sorts":[{"propertyName":%q,"direction":%q}],"limit":200,"properties":[%q]}`, f, sort, direction, sort)
				a := p.search("contacts", body).want(t, 200)
				if a.total() != want {
					t.Fatalf("%s %s from %s: total %d, want %d", sort, direction, from, a.total(), want)
				}
				checkSorted(t, a, sort, direction)
			}
		}
	}
}

func checkSorted(t *testing.T, a answer, sort, direction string) {
	t.Helper()
	var last string
	for i, r := range a.results() {
		v, _ := properties(r)[sort].(string)
		if sort == "hs_object_id" {
			v = fmt.Sprintf("%020s", v)
		}
		if i > 0 && v != "" && last != "" && ((direction == "ASCENDING" && v < last) || (direction == "DESCENDING" && v > last)) {
			t.Fatalf("%s %s: %q after %q", sort, direction, v, last)
		}
		last = v
	}
}

func TestSearchTiesComeInAnotherOrderEachTime(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1000, IndexLag: noLag})
	ids := p.IDs("contacts", 0, 600, 1)
	stamp := must[time.Time](t)(p.UpdateMany("contacts", ids, map[string]string{"city": "X"}, time.Time{}))
	body := fmt.Sprintf(`{"filterGroups":[{"filters":[%s]}],"sorts":[{"propertyName":"lastmodifieddate","direction":"ASCENDING"}],"limit":200}`,
		filter("lastmodifieddate", "GTE", strconv.FormatInt(stamp.UnixMilli(), 10)))
	a, b := p.search("contacts", body), p.search("contacts", body)
	if a.total() != 600 || slices.Equal(a.ids(), b.ids()) {
		t.Fatalf("total %d; the same order twice: %v", a.total(), slices.Equal(a.ids(), b.ids()))
	}
	t.Run("and all are found by id within the millisecond", func(t *testing.T) {
		var got []string
		for last := "1"; ; last = got[len(got)-1] {
			a := p.search("contacts", fmt.Sprintf(`{"filterGroups":[{"filters":[%s,%s]}],"sorts":[{"propertyName":"hs_object_id","direction":"ASCENDING"}],"limit":200}`,
				filter("lastmodifieddate", "EQ", strconv.FormatInt(stamp.UnixMilli(), 10)), filter("hs_object_id", "GT", last)))
			if len(a.ids()) == 0 {
				break
			}
			got = append(got, a.ids()...)
		}
		if !slices.Equal(got, ids) {
			t.Fatalf("%d of %d", len(got), len(ids))
		}
	})
}

func TestSearchDefaultOrderIsCreationNotID(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 2000})
	a := p.search("contacts", `{"limit":200}`)
	var created []string
	for _, r := range a.results() {
		created = append(created, r["createdAt"].(string))
	}
	if !slices.IsSorted(created) {
		t.Fatal("not by creation")
	}
	if slices.IsSortedFunc(a.ids(), func(a, b string) int { return int(number(t, a) - number(t, b)) }) {
		t.Fatal("by id: ids must not ascend with creation")
	}
}

func TestSearchContactsByTheWrongTimePropertyFindsNothing(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 100, Deals: 100})
	f := filters(filter("hs_lastmodifieddate", "GTE", "1000"))
	if a := p.search("contacts", f).want(t, 200); a.total() != 0 {
		t.Fatalf("contacts: %d", a.total())
	}
	if a := p.search("deals", f).want(t, 200); a.total() != 100 {
		t.Fatalf("deals: %d", a.total())
	}
}

func TestSearchNeverShowsArchived(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 10}) // with index lag: archiving does not wait for it
	id := p.IDs("contacts", 4, 1, 1)[0]
	ok(t, p.Archive("contacts", id))
	if a := p.search("contacts", `{}`); a.total() != 9 || slices.Contains(a.ids(), id) {
		t.Fatalf("total %d", a.total())
	}
	ok(t, p.Restore("contacts", id))
	p.FlushIndex()
	if a := p.search("contacts", `{}`); a.total() != 10 {
		t.Fatalf("restored: total %d", a.total())
	}
}

func TestSearchCapsAtTenThousand(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 10_500})
	a := p.search("contacts", `{"limit":200,"after":"9800"}`).want(t, 200)
	if a.after() != "10000" || a.total() != 10_500 {
		t.Fatalf("after %q, total %d", a.after(), a.total())
	}
	p.search("contacts", `{"limit":200,"after":"10000"}`).want(t, 400)
}

func TestSearchByAssociationAndText(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 50, Companies: 5, IndexLag: noLag})
	company := p.IDs("companies", 0, 1, 1)[0]
	links := must[[]simulator.Link](t)(p.Links("companies", company, "contacts"))
	if a := p.search("contacts", filters(filter("associations.companies", "EQ", company))).want(t, 200); a.total() != len(links) || len(links) == 0 {
		t.Fatalf("%d contacts, want %d", a.total(), len(links))
	}
	id := must[string](t)(p.Create("contacts", map[string]string{"firstname": "Zarathustra", "email": "zara@thustra.example"}))
	if got := p.search("contacts", `{"query":"zarath"}`).ids(); !slices.Equal(got, []string{id}) {
		t.Fatalf("query found %v", got)
	}
}
