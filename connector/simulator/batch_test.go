package simulator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/connector/simulator"
)

func inputs(ids ...string) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = fmt.Sprintf(`{"id":%q}`, id)
	}
	return strings.Join(list, ",")
}

func (p *portal) batch(object, query, more string, ids ...string) answer {
	p.t.Helper()
	return p.post("/crm/v3/objects/"+object+"/batch/read"+query, `{"inputs":[`+inputs(ids...)+`]`+more+`}`)
}

func TestBatchRead(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 200})
	ids := p.IDs("contacts", 0, 101, 1)
	t.Run("all found is 200 in another order", func(t *testing.T) {
		a := p.batch("contacts", "", `,"properties":["email"]`, ids[:100]...).want(t, 200)
		got := a.ids()
		if slices.Equal(got, ids[:100]) || a.text("status") != "COMPLETE" {
			t.Fatal("results in the order of the inputs")
		}
		slices.SortFunc(got, func(a, b string) int { return int(number(t, a) - number(t, b)) })
		if !slices.Equal(got, ids[:100]) || len(properties(a.results()[0])) != 1 {
			t.Fatalf("%d results", len(got))
		}
	})
	t.Run("too many is 400", func(t *testing.T) {
		p.batch("contacts", "", "", ids...).want(t, 400)
		p.batch("contacts", "", `,"propertiesWithHistory":["email"]`, ids[:51]...).want(t, 400)
		p.batch("contacts", "", `,"propertiesWithHistory":["email"]`, ids[:50]...).want(t, 200)
		p.batch("contacts", "", "").want(t, 400)
	})
	t.Run("missing ones make one error in a 207", func(t *testing.T) {
		a := p.batch("contacts", "", "", ids[0], "77", "nonsense", ids[1], "78").want(t, 207)
		failures := a.body["errors"].([]any)
		missing := failures[0].(map[string]any)["context"].(map[string]any)["ids"].([]any)
		if len(a.ids()) != 2 || len(failures) != 1 || len(missing) != 3 || failures[0].(map[string]any)["category"] != "OBJECT_NOT_FOUND" {
			t.Fatalf("%s", a.raw)
		}
	})
	t.Run("duplicates come once", func(t *testing.T) {
		if a := p.batch("contacts", "", "", ids[0], ids[0]).want(t, 200); len(a.ids()) != 1 {
			t.Fatalf("%v", a.ids())
		}
	})
	t.Run("archived only when asked for", func(t *testing.T) {
		ok(t, p.Archive("contacts", ids[9]))
		p.batch("contacts", "", "", ids[9]).want(t, 207)
		if a := p.batch("contacts", "?archived=true", "", ids[9], ids[8]).want(t, 207); len(a.ids()) != 1 || a.results()[0]["archived"] != true {
			t.Fatalf("%s", a.raw)
		}
	})
	t.Run("by unique property", func(t *testing.T) {
		email := everyone(p, "contacts")[ids[3]].Properties["email"]
		if email == "" {
			t.Fatal("pick another contact: this one has no email")
		}
		if got := p.batch("contacts", "", `,"idProperty":"email"`, email).want(t, 200).ids(); got[0] != ids[3] {
			t.Fatalf("%v", got)
		}
		p.batch("contacts", "", `,"idProperty":"city"`, "x").want(t, 400)
	})
	t.Run("content type must be JSON", func(t *testing.T) {
		p.do("POST", "/crm/v3/objects/contacts/batch/read", "").want(t, 415)
	})
}

func TestHistoryIsNewestFirst(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 30})
	id := p.IDs("contacts", 0, 1, 1)[0]
	ok(t, p.Update("contacts", id, map[string]string{"lifecyclestage": "customer-x"}))
	a := p.batch("contacts", "", `,"propertiesWithHistory":["lifecyclestage"]`, id).want(t, 200)
	versions := a.results()[0]["propertiesWithHistory"].(map[string]any)["lifecyclestage"].([]any)
	if versions[0].(map[string]any)["value"] != "customer-x" {
		t.Fatalf("%v", versions)
	}
}

func TestMergedIDsResolveToTheWinner(t *testing.T) {
	t.Parallel()
	for _, intoPrimary := range []bool{false, true} {
		t.Run(fmt.Sprint("into primary ", intoPrimary), func(t *testing.T) {
			p := open(t, simulator.Options{Contacts: 20, Companies: 4, MergeIntoPrimary: intoPrimary, IndexLag: noLag})
			ids := p.IDs("contacts", 0, 3, 1)
			a := p.post("/crm/v3/objects/contacts/merge", fmt.Sprintf(`{"primaryObjectId":%q,"objectIdToMerge":%q}`, ids[0], ids[1])).want(t, 200)
			winner := a.text("id")
			if (winner == ids[0]) != intoPrimary {
				t.Fatalf("winner %s of %v", winner, ids[:2])
			}
			for _, id := range ids[:2] {
				if got := p.get("/crm/v3/objects/contacts/"+id).want(t, 200).text("id"); got != winner {
					t.Errorf("GET %s gives %s", id, got)
				}
				if got := p.batch("contacts", "", "", id).want(t, 200).ids(); got[0] != winner {
					t.Errorf("batch read of %s gives %v", id, got)
				}
			}
			merged := properties(p.get("/crm/v3/objects/contacts/" + winner + "?properties=hs_merged_object_ids").body)["hs_merged_object_ids"]
			want := ids[0] + ";" + ids[1]
			if intoPrimary {
				want = ids[1]
			}
			if merged != want {
				t.Errorf("hs_merged_object_ids %v, want %s", merged, want)
			}
			list := p.get("/crm/v3/objects/contacts?limit=100").ids()
			if slices.Contains(list, ids[1]) || !slices.Contains(list, winner) || p.search("contacts", `{}`).total() != len(list) {
				t.Errorf("lists %v", list)
			}
			if got := p.get("/crm/v3/objects/contacts?archived=true").ids(); len(got) != 0 {
				t.Errorf("archived list shows merged-away records: %v", got)
			}
			if truth := everyone(p, "contacts")[ids[1]]; truth.MergedInto != winner {
				t.Errorf("truth: %+v", truth)
			}
			// A chain of merges resolves to its end.
			last := must[string](t)(p.Merge("contacts", ids[2], winner))
			if got := p.get("/crm/v3/objects/contacts/"+ids[1]).want(t, 200).text("id"); got != last {
				t.Errorf("after a second merge %s gives %s, want %s", ids[1], got, last)
			}
			if truth := everyone(p, "contacts")[ids[1]]; truth.MergedInto != last {
				t.Errorf("truth after a second merge: %+v", truth)
			}
			// And with its end, all that is left of it is gone.
			ok(t, p.Purge("contacts", last))
			if truth := everyone(p, "contacts")[ids[1]]; !truth.Purged || truth.MergedInto != "" || len(truth.Properties) > 0 {
				t.Errorf("truth after the winner's privacy deletion: %+v", truth)
			}
			if got := p.batch("contacts", "", "", ids[1]).want(t, 207).ids(); len(got) != 0 {
				t.Errorf("after the winner's privacy deletion %s gives %v", ids[1], got)
			}
		})
	}
}

func TestMergeRefusals(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 3})
	id := p.IDs("contacts", 0, 1, 1)[0]
	p.post("/crm/v3/objects/contacts/merge", fmt.Sprintf(`{"primaryObjectId":%q,"objectIdToMerge":%q}`, id, id)).want(t, 400)
	p.post("/crm/v3/objects/contacts/merge", fmt.Sprintf(`{"primaryObjectId":%q,"objectIdToMerge":"99"}`, id)).want(t, 404)
}

func TestPrivacyDeletionLeavesNothing(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 20, Companies: 2, IndexLag: noLag})
	id := p.IDs("contacts", 2, 1, 1)[0]
	p.post("/crm/v3/objects/contacts/gdpr-delete", fmt.Sprintf(`{"objectId":%q}`, id)).want(t, 204)
	p.get("/crm/v3/objects/contacts/"+id).want(t, 404)
	p.get("/crm/v3/objects/contacts/"+id+"?archived=true").want(t, 404)
	p.batch("contacts", "?archived=true", "", id).want(t, 207)
	if p.search("contacts", `{}`).total() != 19 || len(p.get("/crm/v3/objects/contacts?archived=true").ids()) != 0 {
		t.Fatal("still listed")
	}
	truth := everyone(p, "contacts")[id]
	if !truth.Purged || len(truth.Properties) != 0 {
		t.Fatalf("truth %+v", truth)
	}
	p.post("/crm/v3/objects/deals/gdpr-delete", `{"objectId":"1"}`).want(t, 404)
}

func TestWritesAreChecked(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 2})
	a := p.post("/crm/v3/objects/contacts", `{"properties":{"email":"new@example.com","firstname":"New"}}`).want(t, 201)
	id := a.text("id")
	p.post("/crm/v3/objects/contacts", `{"properties":{"email":"new@example.com"}}`).want(t, 409)
	if a := p.post("/crm/v3/objects/contacts", `{"properties":{"nope":"1"}}`).want(t, 400); !strings.Contains(a.text("message"), "PROPERTY_DOESNT_EXIST") {
		t.Fatalf("%s", a.raw)
	}
	p.post("/crm/v3/objects/contacts", `{"properties":{"hs_object_id":"1"}}`).want(t, 400)
	p.do("PATCH", "/crm/v3/objects/contacts/"+id, `{"properties":{"firstname":""}}`).want(t, 200)
	if v := properties(p.get("/crm/v3/objects/contacts/" + id).body)["firstname"]; v != nil && v != "" {
		t.Fatalf("cleared value reads %v", v)
	}
	p.do("PATCH", "/crm/v3/objects/contacts/5", `{"properties":{"firstname":"x"}}`).want(t, 404)
	p.post("/crm/v3/objects/contacts/batch/archive", `{"inputs":[`+inputs(id)+`]}`).want(t, 204)
	p.get("/crm/v3/objects/contacts/"+id).want(t, 404)
}

func TestMergedIDsCanBeMissingInBatchReads(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 5, MergedIDsMissing: true})
	ids := p.IDs("contacts", 0, 2, 1)
	winner := must[string](t)(p.Merge("contacts", ids[0], ids[1]))
	if a := p.batch("contacts", "", "", ids[0], winner).want(t, 207); !slices.Equal(a.ids(), []string{winner}) {
		t.Fatalf("%s", a.raw)
	}
	p.get("/crm/v3/objects/contacts/"+ids[0]).want(t, 200)
}
