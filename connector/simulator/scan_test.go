package simulator_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// condition is a filter and what it means.
type condition struct {
	json  string
	holds func(simulator.TruthRecord) bool
}

// randomCondition makes a filter whose meaning is easy to state.
func randomCondition(rng *rand.Rand, ids []string) condition {
	id, err := strconv.ParseInt(ids[rng.IntN(len(ids))], 10, 64)
	if err != nil {
		panic(err)
	}
	moment := at("2019-01-01T00:00:00Z").Add(time.Duration(rng.Int64N(int64(7 * 365 * 24 * time.Hour)))).Truncate(time.Millisecond)
	ms := strconv.FormatInt(moment.UnixMilli(), 10)
	of := func(r simulator.TruthRecord) int64 {
		n, _ := strconv.ParseInt(r.ID, 10, 64)
		return n
	}
	switch rng.IntN(7) {
	case 0:
		return condition{filter("hs_object_id", "GT", strconv.FormatInt(id, 10)), func(r simulator.TruthRecord) bool { return of(r) > id }}
	case 1:
		return condition{filter("hs_object_id", "LTE", strconv.FormatInt(id, 10)), func(r simulator.TruthRecord) bool { return of(r) <= id }}
	case 2:
		return condition{filter("hs_lastmodifieddate", "GTE", ms), func(r simulator.TruthRecord) bool { return !r.UpdatedAt.Before(moment) }}
	case 3:
		return condition{filter("hs_lastmodifieddate", "LT", ms), func(r simulator.TruthRecord) bool { return r.UpdatedAt.Before(moment) }}
	case 4:
		return condition{filter("createdate", "LTE", ms), func(r simulator.TruthRecord) bool { return !r.CreatedAt.After(moment) }}
	case 5:
		return condition{filter("amount", "GT", "500000"), func(r simulator.TruthRecord) bool {
			n, err := strconv.ParseFloat(r.Properties["amount"], 64)
			return err == nil && n > 500000
		}}
	}
	return condition{filter("dealstage", "EQ", "closedwon"), func(r simulator.TruthRecord) bool { return r.Properties["dealstage"] == "closedwon" }}
}

// A search answers what a scan of all records would, whatever index it goes by, while records come, change and go.
func TestSearchEqualsAScan(t *testing.T) {
	t.Parallel()
	o := simulator.Options{Deals: 600, Contacts: 10, IndexLag: noLag, NoOddities: true}
	o.LiveMix = simulator.LiveMix{Update: 10, Create: 3, Archive: 2, Restore: 1, Merge: 1}
	p := open(t, o)
	live, rng := p.NewLive(), rand.New(rand.NewPCG(5, 6))
	for round := range 30 {
		for range 40 {
			live.Step()
		}
		ids := p.IDs("deals", 0, 5000, 1)
		var groups []string
		var meaning [][]condition
		for range 1 + rng.IntN(3) {
			var list []condition
			var texts []string
			for range rng.IntN(4) {
				list = append(list, randomCondition(rng, ids))
				texts = append(texts, list[len(list)-1].json)
			}
			meaning = append(meaning, list)
			groups = append(groups, `{"filters":[`+strings.Join(texts, ",")+`]}`)
		}
		var want []string
		for r := range p.Truth("deals") {
			live := !r.Archived && r.MergedInto == "" && !r.Purged
			if live && slices.ContainsFunc(meaning, func(list []condition) bool {
				return !slices.ContainsFunc(list, func(c condition) bool { return !c.holds(r) })
			}) {
				want = append(want, r.ID)
			}
		}
		sort := []string{"hs_object_id", "hs_lastmodifieddate", "createdate", "amount", "dealname"}[round%5]
		var got []string
		for after := "0"; after != ""; {
			a := p.search("deals", fmt.Sprintf(`{"filterGroups":[%s],"sorts":[%q],"limit":200,"after":%q}`, strings.Join(groups, ","), sort, after)).want(t, 200)
			if a.total() != len(want) {
				t.Fatalf("%v sorted by %s: total %d, want %d", groups, sort, a.total(), len(want))
			}
			got = append(got, a.ids()...)
			after = a.after()
		}
		if sort == "hs_object_id" && !slices.Equal(got, want) {
			t.Fatalf("%v: other records", groups)
		}
	}
}
