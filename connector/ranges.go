package connector

import (
	"math"
	"sort"

	"github.com/hubtail/hubtail/schemas"
)

// maxID ends the range of a type whose highest id is not known yet.
const maxID = math.MaxInt64

// idRanges is a set of record ids as disjoint, ascending, half-open ranges, as a cursor stores it.
type idRanges []schemas.Range

// has reports whether id is in the set.
func (s idRanges) has(id int64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].To > id })
	return i < len(s) && s[i].From <= id
}

// without returns the set less r. The receiver stays as it is.
func (s idRanges) without(r schemas.Range) idRanges {
	out := make(idRanges, 0, len(s)+1)
	for _, x := range s {
		if r.To <= x.From || r.From >= x.To || r.From >= r.To {
			out = append(out, x)
			continue
		}
		if x.From < r.From {
			out = append(out, schemas.Range{From: x.From, To: r.From})
		}
		if r.To < x.To {
			out = append(out, schemas.Range{From: r.To, To: x.To})
		}
	}
	return out
}
