package simulator_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

func (p *portal) control(path, body string) answer {
	p.t.Helper()
	token := p.token
	p.token = "" // no token is needed
	defer func() { p.token = token }()
	return p.post("/_control/"+path, body).want(p.t, 200)
}

func TestTruthEqualsTheAPI(t *testing.T) {
	t.Parallel()
	o := simulator.Options{Contacts: 350, Deals: 40, Companies: 20, CustomObjects: []simulator.CustomObject{{Name: "car", Count: 30}}}
	o.LiveMix = simulator.LiveMix{Update: 40, Create: 10, Bulk: 1, Archive: 5, Restore: 2, Merge: 3, Purge: 1, Link: 5, Unlink: 3, Recalculate: 5}
	p := open(t, o)
	live := p.NewLive()
	for range 500 {
		live.Step()
	}
	for _, object := range []string{"contacts", "deals", "companies", "p_car"} {
		names := allNamesOf(p, object)
		var ids []string
		for record := range p.Truth(object) {
			ids = append(ids, record.ID)
		}
		if !slices.IsSortedFunc(ids, func(a, b string) int { return int(number(t, a) - number(t, b)) }) {
			t.Fatalf("%s: truth is not ascending", object)
		}
		truth := everyone(p, object)
		seen := 0
		for _, archived := range []string{"false", "true"} {
			for after := "0"; after != ""; {
				a := p.get("/crm/v3/objects/"+object+"?limit=100&archived="+archived+"&after="+after+"&properties="+names).want(t, 200)
				for _, r := range a.results() {
					checkTruth(t, r, truth[r["id"].(string)])
					seen++
				}
				after = a.after()
			}
		}
		gone := 0
		for _, r := range truth {
			if r.Purged || r.MergedInto != "" {
				gone++
			}
		}
		if seen+gone != len(truth) {
			t.Errorf("%s: lists show %d, truth has %d of which %d gone", object, seen, len(truth), gone)
		}
	}
	if live.Stats.Merged == 0 || live.Stats.Purged == 0 || live.Stats.Archived == 0 {
		t.Fatalf("too little happened: %+v", live.Stats)
	}
}

func allNamesOf(p *portal, object string) string {
	var names []string
	for _, r := range p.get("/crm/v3/properties/" + object).results() {
		names = append(names, r["name"].(string))
	}
	return strings.ReplaceAll(strings.Join(names, ","), " ", "%20")
}

func checkTruth(t *testing.T, r map[string]any, truth simulator.TruthRecord) {
	t.Helper()
	filled := 0
	for name, v := range properties(r) {
		s, _ := v.(string)
		want := strings.ToValidUTF8(truth.Properties[name], "\ufffd")
		if strings.ToValidUTF8(s, "\ufffd") != want && !strings.Contains(want, "\ufffd") {
			t.Errorf("%v %s: %q, truth %q", r["id"], name, s, want)
		}
		if s != "" {
			filled++
		}
	}
	const layout = "2006-01-02T15:04:05.000Z"
	if filled != len(truth.Properties) || r["updatedAt"] != truth.UpdatedAt.Format(layout) || r["createdAt"] != truth.CreatedAt.Format(layout) || r["archived"] != truth.Archived {
		t.Errorf("%v: %d values, truth has %d; %v %v", r["id"], filled, len(truth.Properties), r["updatedAt"], truth.UpdatedAt)
	}
}

func TestTruthOverHTTP(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 500, NoOddities: true})
	ids := p.IDs("contacts", 0, 4, 1)
	ok(t, p.Archive("contacts", ids[0]))
	winner := must[string](t)(p.Merge("contacts", ids[1], ids[2]))
	truth := everyone(p, "contacts")
	lines := 0
	scanner := bufio.NewScanner(bytes.NewReader(p.get("/_control/truth/contacts").want(t, 200).raw))
	scanner.Buffer(nil, 1<<20)
	for ; scanner.Scan(); lines++ {
		var r struct {
			ID                   string
			Properties           map[string]string
			CreatedAt, UpdatedAt time.Time
			Archived             bool
			ArchivedAt           *time.Time
			MergedInto           string
		}
		if err := json.Unmarshal(scanner.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		want := truth[r.ID]
		if len(r.Properties) != len(want.Properties) || !r.UpdatedAt.Equal(want.UpdatedAt) || r.Archived != want.Archived || r.MergedInto != want.MergedInto {
			t.Fatalf("%+v, want %+v", r, want)
		}
		if (r.ID == ids[0]) != (r.ArchivedAt != nil) || (r.ID == ids[1]) && r.MergedInto != winner {
			t.Fatalf("%+v", r)
		}
	}
	if lines != 501 {
		t.Fatalf("%d lines", lines)
	}
	counts := p.get("/_control/truth").want(t, 200).body["objects"].([]any)[0].(map[string]any)
	if jsonText(counts) != `{"archived":1,"gone":2,"live":498,"object":"contacts"}` {
		t.Fatalf("%v", counts)
	}
	p.get("/_control/truth/butterflies").want(t, 404)
}

func TestControlOverHTTP(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 60, Companies: 3, Owners: 2})
	id := p.control("create", `{"object":"contacts","properties":{"email":"c@d.example","followercount":3}}`).text("id")
	company := p.IDs("companies", 0, 1, 1)[0]
	p.control("update", `{"object":"contacts","id":"`+id+`","properties":{"city":"Oslo"}}`)
	p.control("update", `{"object":"contacts","id":"`+id+`","silent":true,"properties":{"custom_calculated":"9"}}`)
	p.control("link", `{"object":"contacts","id":"`+id+`","to":"companies","toId":"`+company+`"}`)
	if links := p.get("/_control/links/contacts/" + id + "/companies").body["links"].([]any); len(links) != 1 {
		t.Fatalf("%v", links)
	}
	p.control("unlink", `{"object":"contacts","id":"`+id+`","to":"companies","toId":"`+company+`"}`)
	a := p.control("update", `{"object":"contacts","n":50,"properties":{"city":"Bulk"},"at":"2026-06-01T00:00:00.123Z"}`)
	if a.text("at") != "2026-06-01T00:00:00.123Z" {
		t.Fatalf("%s", a.raw)
	}
	same := 0
	for _, r := range everyone(p, "contacts") {
		if r.UpdatedAt.Equal(time.UnixMilli(1780272000123)) {
			same++
		}
	}
	if same != 50 {
		t.Fatalf("%d records share the millisecond", same)
	}
	p.control("archive", `{"object":"contacts","id":"`+id+`"}`)
	p.control("restore", `{"object":"contacts","id":"`+id+`"}`)
	winner := p.control("merge", `{"object":"contacts","id":"`+id+`","other":"`+p.IDs("contacts", 0, 1, 1)[0]+`"}`).text("id")
	p.control("purge", `{"object":"contacts","id":"`+winner+`"}`)
	p.control("property", `{"object":"deals","name":"fresh","type":"number","label":"F"}`)
	p.get("/crm/v3/properties/deals/fresh").want(t, 200)
	p.control("owner", `{"id":"41629779","email":"gone@x.example","archived":true}`)
	if got := p.get("/crm/v3/owners?archived=true").ids(); len(got) != 1 {
		t.Fatalf("%v", got)
	}
	p.control("pipelines", `{"object":"deals","pipelines":[{"id":"x","label":"New","stages":[]}]}`)
	if got := p.get("/crm/v3/pipelines/deals").ids(); !slices.Equal(got, []string{"x"}) {
		t.Fatalf("%v", got)
	}
	before := p.Now()
	p.control("clock", `{"advance":"24h"}`)
	if d := p.Now().Sub(before); d < 24*time.Hour {
		t.Fatalf("clock moved by %s", d)
	}
	p.control("index/flush", `{}`)
	if a := p.get("/_control/index"); a.body["pending"].(json.Number) != "0" {
		t.Fatalf("%s", a.raw)
	}
	p.control("index/wait", `{}`)
	p.control("faults", `{"kind":"status","status":503,"count":1}`)
	p.get("/crm/v3/owners").want(t, 503)
	p.control("access", `{"deny":"crm.objects.owners.read"}`)
	p.get("/crm/v3/owners").want(t, 403)
	p.control("access", `{"revoke":"pat-simulator"}`)
	p.get("/crm/v3/owners").want(t, 401)
	p.control("live?rate=1000&for=50ms", "")
	if p.Stats().Changes == 0 {
		t.Fatal("live changed nothing")
	}
	p.post("/_control/archive", `{"object":"contacts","id":"1"}`).want(t, 404)
}

func TestSameSeedSameAccount(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	o := simulator.Options{Contacts: 200, Deals: 50, Now: clock.Now, Seed: 7, LiveMix: simulator.LiveMix{Update: 5, Create: 3, Archive: 1, Merge: 1, Link: 2}}
	digest := func(o simulator.Options) string {
		p := open(t, o)
		live := p.NewLive()
		for range 300 {
			live.Step()
		}
		return string(p.get("/_control/truth/contacts").raw) + string(p.get("/_control/truth/deals").raw)
	}
	a := digest(o)
	if a != digest(o) {
		t.Error("the same seed gives other data")
	}
	o.Seed = 8
	if a == digest(o) {
		t.Error("another seed gives the same data")
	}
}

func TestBaseDataLooksLikeAPortal(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 5_000})
	filled, shared, ids := 0, map[int64]int{}, int64(0)
	for r := range p.Truth("contacts") {
		filled += len(r.Properties)
		shared[r.UpdatedAt.UnixMilli()]++
		ids = max(ids, number(t, r.ID))
		if r.UpdatedAt.Before(r.CreatedAt) || r.UpdatedAt.After(at("2025-10-02T00:00:00Z")) {
			t.Fatalf("%+v", r)
		}
	}
	if n := filled / 5_000; n < 40 || n > 60 {
		t.Errorf("%d values per contact", n)
	}
	most := 0
	for _, n := range shared {
		most = max(most, n)
	}
	if most < 300 || len(strconv.FormatInt(ids, 10)) != 12 {
		t.Errorf("at most %d records share a millisecond, greatest id %d", most, ids)
	}
}

func TestLiveKeepsItsRate(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.DemoOptions())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if got := p.Live(ctx, 1000).Changes(); got < 100 || got > 1500 {
		t.Fatalf("%d changes in 0.3 s at 1,000 per second", got)
	}
}

func TestBadOptionsAreReported(t *testing.T) {
	t.Parallel()
	for _, o := range []simulator.Options{{TimeZone: "Mars/Olympus"}, {Records: map[string]int{"butterflies": 3}}} {
		s := simulator.New(o)
		if _, err := s.Start("127.0.0.1:0"); err == nil {
			t.Errorf("%+v: no error", o)
		}
		ok(t, s.Close())
	}
}

func TestStartServesUntilClose(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Options{Contacts: 1, Latency: -1})
	url := must[string](t)(s.Start("127.0.0.1:0"))
	p := open(t, simulator.Options{})
	p.url = url
	p.get("/crm/v3/objects/contacts").want(t, 200)
	if _, err := s.Start("127.0.0.1:0"); err == nil {
		t.Error("started twice")
	}
	ok(t, s.Close())
	if _, _, err := p.try("/crm/v3/owners"); err == nil {
		t.Error("still serving after Close")
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	r := receive(t)
	o := simulator.Options{Contacts: 3000, Companies: 300, Deals: 300, Calls: 300, Webhooks: quick(r.URL), IndexLag: simulator.Lag{Min: time.Millisecond, Max: 5 * time.Millisecond}}
	o.LiveMix = simulator.LiveMix{Update: 40, Create: 10, Bulk: 1, Archive: 5, Restore: 3, Merge: 3, Purge: 1, Link: 5, Unlink: 3, Recalculate: 5}
	p := open(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { p.Live(ctx, 2000) })
	for i := range 6 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				object := []string{"contacts", "companies", "deals"}[n%3]
				ids := p.IDs(object, n%100, 50, 1)
				switch (n + i) % 6 {
				case 0:
					p.get("/crm/v3/objects/"+object+"?limit=100&associations=contacts,companies").want(t, 200)
				case 1:
					p.search(object, `{"limit":50,"query":"a"}`).want(t, 200)
				case 2:
					p.batch(object, "", "", ids...)
				case 3:
					p.post("/crm/v4/associations/"+object+"/contacts/batch/read", `{"inputs":[`+inputs(ids...)+`]}`)
				case 4:
					ok(t, p.DefineProperty(object, simulator.Property{Name: "p" + strconv.Itoa(n%5), Label: strconv.Itoa(n)}))
					p.get("/crm/v3/properties/"+object).want(t, 200)
				case 5:
					p.Stats()
					p.search(object, filters(filter("hs_object_id", "GT", "5000"))).want(t, 200)
				}
			}
		})
	}
	all.Wait()
	settled(t, p)
}

func TestReadsSeeEveryChangeAtOnce(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 50}) // with index lag
	id := p.IDs("contacts", 20, 1, 1)[0]
	for i := range 5 {
		want := strconv.Itoa(i)
		ok(t, p.Update("contacts", id, map[string]string{"city": want}))
		single := p.get("/crm/v3/objects/contacts/" + id + "?properties=city").body
		listed := p.get("/crm/v3/objects/contacts?limit=1&properties=city&after=" + id).results()[0]
		batched := p.batch("contacts", "", `,"properties":["city"]`, id).results()[0]
		for _, r := range []map[string]any{single, listed, batched} {
			if properties(r)["city"] != want || r["id"] != id {
				t.Fatalf("%v, want city %s", r, want)
			}
		}
	}
}

func TestTruthIsOneMoment(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 300})
	ids := p.IDs("contacts", 0, 300, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var changes sync.WaitGroup
	changes.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := p.UpdateMany("contacts", ids, map[string]string{"city": strconv.Itoa(i)}, time.Time{}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		cities := map[string]bool{}
		for r := range p.Truth("contacts") {
			cities[r.Properties["city"]] = true
		}
		if len(cities) > 1 && len(cities) < 10 { // before the first change every contact has its own
			t.Errorf("the truth has %d moments: %v", len(cities), cities)
		}
	}
	cancel()
	changes.Wait()
}
