package simulator

import (
	"testing"
	"time"
)

func TestIDsAscendAndInvert(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 3, 10, 1001, 50_000} {
		ids := newIdentities(uint64(n)*31+7, n)
		last := int64(0)
		for i := range n {
			id := ids.id(i)
			if id <= last || ids.index(id) != i || ids.index(id+1) == i || ids.index(id-1) == i {
				t.Fatalf("%d of %d: id %d after %d, index %d", i, n, id, last, ids.index(id))
			}
			last = id
			if created, modified := ids.times(i); created < firstDay || modified < created || modified > lastModified {
				t.Fatalf("%d: created %d, modified %d", i, created, modified)
			}
		}
	}
}

func TestAllocatedIDsAreUniqueAndNotAscending(t *testing.T) {
	t.Parallel()
	a := allocator{seed: 5, start: 1000}
	seen, last, back := map[int64]bool{}, int64(0), 0
	for range 10_000 {
		id := a.next()
		if seen[id] || id < 1000 {
			t.Fatalf("id %d", id)
		}
		if seen[id] = true; id < last {
			back++
		}
		last = id
	}
	if back < 1000 {
		t.Fatalf("only %d of 10,000 ids are below the one before", back)
	}
}

func TestTimesPrintLikeTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for i := range int64(20_000) {
		ms := int64(mix(uint64(i)) % 253402300800000)
		want := time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
		if got := string(appendTime(nil, ms)); got != want {
			t.Fatalf("%d: %s, want %s", ms, got, want)
		}
		if back, ok := parseTime(want); !ok || back != ms {
			t.Fatalf("%s reads as %d", want, back)
		}
	}
	for text, want := range map[string]int64{"1600000000000.0": 1600000000000, "1600000000000.9": 1600000000000, "2024-12-01T00:00:00.000999Z": 1733011200000, "2024-12-01": 1733011200000, "-5": -5} {
		if got, ok := parseTime(text); !ok || got != want {
			t.Errorf("%s reads as %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"", "soon", "12x", "1.2.3", "99999999999999999999"} {
		if got, ok := parseTime(text); ok {
			t.Errorf("%s reads as %d", text, got)
		}
	}
}
