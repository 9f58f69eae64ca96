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

// pageRequest is one page to read: of r, from its start by list, from its end by search.
type pageRequest struct {
	object *objectPlan
	lane   lane
	schemas.Range
	span   *span
	at     time.Time // when it was sent, as far as known
	passed int64     // records of the range that lists received since a search was sent
}

// pageIDs are the ids of an answer.
type pageIDs struct {
	ids      []int64 // of the records, in the answer's order
	rejected []int64 // of malformed records, 0 for one whose id is unreadable
	total    int64   // results of a search
	next     int64   // cursor of a list, if it is an id; else 0
	last     bool    // HubSpot says that nothing follows
}

// bounds returns the lowest and the highest id; ok is false if there is none. The id of a malformed record counts only
// if there is no other, and only inside the range asked for: it may be the very thing that is wrong.
func (a *pageIDs) bounds(asked schemas.Range) (low, high int64, ok bool) {
	if len(a.ids) > 0 {
		return slices.Min(a.ids), slices.Max(a.ids), true
	}
	for _, id := range a.rejected {
		if id >= asked.From && id < asked.To && id > 0 {
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
func (a *pageIDs) settledDown(q *pageRequest, low int64, ok bool) (schemas.Range, error) {
	switch {
	case !ok && len(a.rejected) == 0 && q.From == 0 && q.To == maxID:
		return schemas.Range{}, errNothingFound
	case a.last && a.total <= int64(len(a.ids)+len(a.rejected)):
		return q.Range, nil
	case ok:
		return schemas.Range{From: low, To: q.To}, nil
	}
	return schemas.Range{From: q.From, To: q.From}, fmt.Errorf("no id in a page of %d results: %w", a.total, errPageOrder)
}
