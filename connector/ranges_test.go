package connector

import (
	"math/rand/v2"
	"testing"

	"github.com/hubtail/hubtail/schemas"
)

func TestRangesAreASetOfIDs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		set := idRanges{{From: 0, To: 100}}
		want := map[int64]bool{}
		for id := range int64(100) {
			want[id] = true
		}
		for range 20 {
			r := schemas.Range{From: rng.Int64N(100), To: rng.Int64N(101)}
			before := len(set)
			next := set.without(r)
			if len(set) != before {
				t.Fatal("without changed its receiver")
			}
			set = next
			for id := r.From; id < r.To; id++ {
				delete(want, id)
			}
			for id := range int64(100) {
				if set.has(id) != want[id] {
					t.Fatalf("after removing %v: has(%d) is %v", r, id, set.has(id))
				}
			}
			end := int64(0)
			for _, x := range set {
				if x.From < end || x.To <= x.From {
					t.Fatalf("range %v is empty or out of order", x)
				}
				end = x.To
			}
		}
	}
}
