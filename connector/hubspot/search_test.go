package hubspot_test

import (
	"slices"
	"testing"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
)

// TestSearchReadsSeveralRangesAtOnce asks for three ranges of ids in one request, as the end of a full read does.
func TestSearchReadsSeveralRangesAtOnce(t *testing.T) {
	sim, client := portal(t, simulator.Options{Deals: 100, IndexLag: simulator.Lag{Off: true}})
	deals, _ := hubspot.ObjectByName("deals")
	ids := sim.IDs("deals", 0, 100, 1)
	within := func(from, to string) []hubspot.Filter {
		return []hubspot.Filter{{Property: "hs_object_id", Operator: "GTE", Value: from}, {Property: "hs_object_id", Operator: "LT", Value: to}}
	}
	read := func(anyOf ...[]hubspot.Filter) (found []string) {
		t.Helper()
		page, err := client.Search(t.Context(), hubspot.SearchRequest{Object: deals, AnyOf: anyOf, SortBy: "hs_object_id", Limit: 200})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Records {
			found = append(found, r.ID)
		}
		return found
	}

	want := slices.Concat(ids[:10], ids[20:30], ids[90:])
	got := read(within(ids[0], ids[10]), within(ids[20], ids[30]), []hubspot.Filter{{Property: "hs_object_id", Operator: "GTE", Value: ids[90]}})
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := read(within(ids[0], ids[10]), nil); len(got) != 100 {
		t.Errorf("a group without filters found %d records, want all 100", len(got))
	}
}
