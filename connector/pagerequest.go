package connector

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// lane is one of the two ways to read records by id.
type lane int

const (
	laneList   lane = iota // upward from the start of a range, on the burst quota
	laneSearch             // downward from the end of a range, on the search quota
)

// HubSpot rule: "up to 100" records a list page, 200 results a search page.
const (
	listPage   = 100
	searchPage = 200
)

// searchRanges is how many ranges one search may read. HubSpot rule: "a maximum of 5" filter groups, OR-ed; of 6 filters
// each, 18 in all.
const searchRanges = 5

// pageRequest is one page to read: by list from the start of a range, by search from the end of one, or of several.
type pageRequest struct {
	object *objectPlan
	lane   lane
	ranges idRanges  // what to read of; one for a list
	spans  []*span   // that they belong to, in the same order
	at     time.Time // when it was sent, as far as known
	passed int64     // records of the ranges that lists received since a search was sent
}

func (q *pageRequest) from() int64 { return q.ranges[0].From }

// covers reports whether an answer may hold the id. A list goes on beyond the end of its range.
func (q *pageRequest) covers(id int64) bool {
	if q.lane == laneList {
		return id >= q.from()
	}
	return q.ranges.has(id)
}

// everything is all ids there can be.
var everything = schemas.Range{From: 0, To: maxID}

// pageIDs are the ids of an answer.
type pageIDs struct {
	ids      []int64 // of the records, in the answer's order
	rejected []int64 // of malformed records, 0 for one whose id is unreadable
	total    int64   // results of a search
	next     int64   // cursor of a list, if it is an id; else 0
	last     bool    // HubSpot says that nothing follows
}

// bounds returns the lowest and the highest id; ok is false if there is none. The id of a malformed record counts only
// if there is no other, and only inside the ranges asked for: it may be the very thing that is wrong.
func (a *pageIDs) bounds(asked idRanges) (low, high int64, ok bool) {
	if len(a.ids) > 0 {
		return slices.Min(a.ids), slices.Max(a.ids), true
	}
	for _, id := range a.rejected {
		if asked.has(id) && id > 0 {
			if !ok {
				low, high, ok = id, id, true
			}
			low, high = min(low, id), max(high, id)
		}
	}
	return low, high, ok
}

// errNothingFound says that search knows no record at all. One list page has to confirm it: a full read must not end with
// nothing because of one wrong answer.
var errNothingFound = errors.New("search finds no record")

// settledDown is settles for a search page.
func (a *pageIDs) settledDown(q *pageRequest, low int64, ok bool) (idRanges, error) {
	switch {
	case !ok && a.total == 0 && len(a.rejected) == 0 && q.ranges[0] == everything:
		return nil, errNothingFound
	case a.last && a.total <= int64(len(a.ids)+len(a.rejected)):
		return q.ranges, nil
	case ok:
		return q.ranges.without(schemas.Range{From: 0, To: low}), nil
	}
	return nil, fmt.Errorf("no id in a page of %d results: %w", a.total, errPageOrder)
}
