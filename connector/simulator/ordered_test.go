package simulator

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestOrderedEqualsASortedSlice(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var plain []entry
	for i := range 5000 {
		plain = append(plain, entry{int64(i / 7), int64(i)})
	}
	var o ordered
	o.fill(plain)
	for range 15_000 {
		e := entry{rng.Int64N(900), rng.Int64N(8000)}
		i, found := slices.BinarySearchFunc(plain, e, compareEntries)
		if rng.IntN(2) == 0 {
			o.add(e)
			if !found {
				plain = slices.Insert(plain, i, e)
			}
			continue
		}
		if len(plain) > 0 && rng.IntN(2) == 0 {
			i = rng.IntN(len(plain))
			e, found = plain[i], true
		}
		o.remove(e)
		if found {
			plain = slices.Delete(plain, i, i+1)
		}
	}
	if o.n != len(plain) || !slices.Equal(o.slice(nil, 0, o.n), plain) {
		t.Fatalf("%d entries, want %d", o.n, len(plain))
	}
	for range 1000 {
		e := entry{rng.Int64N(1000), rng.Int64N(9000)}
		want, _ := slices.BinarySearchFunc(plain, e, compareEntries)
		if got := o.rank(e); got != want {
			t.Fatalf("rank of %v is %d, want %d", e, got, want)
		}
		from := rng.IntN(len(plain))
		to := min(from+rng.IntN(3000), len(plain))
		if !slices.Equal(o.slice(nil, from, to), plain[from:to]) {
			t.Fatalf("slice %d to %d", from, to)
		}
	}
	for _, e := range plain {
		o.remove(e)
	}
	if o.n != 0 || len(o.chunks) != 0 {
		t.Fatalf("%d left", o.n)
	}
	o.add(entry{1, 1})
	if o.n != 1 || o.rank(entry{2, 0}) != 1 {
		t.Fatal("an emptied set does not grow again")
	}
}
