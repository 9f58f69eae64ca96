package connector

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

const idProperty = "hs_object_id"

// idWalk goes through the results of a search, ascending by id.
type idWalk struct {
	last   int64     // highest id seen
	offset int       // into the results above last, while a page brings no id to go on from
	newest time.Time // newest modification time seen
	done   bool
}

func (w *idWalk) request(o hubspot.Object, filter hubspot.Filter, properties []string) hubspot.SearchRequest {
	filters := []hubspot.Filter{filter}
	if w.last > 0 {
		filters = append(filters, hubspot.Filter{Property: idProperty, Operator: "GT", Value: strconv.FormatInt(w.last, 10)})
	}
	return hubspot.SearchRequest{Object: o, Filters: filters, SortBy: idProperty, After: w.offset, Properties: properties}
}

// errPageLoop says that the walk does not get on. Trusting such pages would lose records or never end.
var errPageLoop = errors.New("results are not in the order asked for")

// step takes the next page. The last one names no next page and holds all there is, or shows nothing of the last page that
// it counts; a page that ends too early by one sign or the other is no end.
func (w *idWalk) step(p hubspot.SearchPage) error {
	before := w.last
	for _, r := range p.Records {
		id, err := strconv.ParseInt(r.ID, 10, 64)
		if err != nil || id <= w.last {
			return fmt.Errorf("id %s after %d: %w", r.ID, w.last, errPageLoop)
		}
		w.last = id
		w.newest = later(w.newest, r.UpdatedAt)
	}
	n := len(p.Records) + len(p.Rejected)
	if n == 0 {
		n = min(searchPage, p.Total-w.offset) // on behind what is hidden
		w.done = w.offset+n >= p.Total
	} else {
		w.done = p.Next == 0 && w.offset+n >= p.Total
	}
	if w.last > before || w.done {
		w.offset = 0
		return nil
	}
	if w.offset += n; w.offset >= 10_000 { // nothing but malformed and hidden records so far
		return fmt.Errorf("10,000 records after id %d that cannot be read: %w", before, errPageLoop)
	}
	return nil
}

// shownRows are the records that the answers to one request showed, by id.
type shownRows map[int64]hubspot.Record

// add takes an answer, whose ids are in order, and returns how many records no answer showed before.
func (s shownRows) add(p hubspot.SearchPage) (news int) {
	for _, r := range p.Records {
		id, _ := strconv.ParseInt(r.ID, 10, 64)
		if _, known := s[id]; !known {
			news++
		}
		s[id] = r
	}
	return news
}

// missing returns how many of the results that the last answer counts, from an offset on, no answer showed. A record whose
// id cannot be read was not shown.
func (s shownRows) missing(p hubspot.SearchPage, offset int) int {
	end := int64(math.MaxInt64)
	if p.Total-offset > searchPage { // what lies behind the page is the next one's
		end = 0
		if n := len(p.Records); n > 0 {
			end, _ = strconv.ParseInt(p.Records[n-1].ID, 10, 64)
		}
	}
	shown := 0
	for id := range s {
		if id <= end {
			shown++
		}
	}
	for _, r := range p.Rejected {
		id, err := strconv.ParseInt(r.ID, 10, 64)
		if _, known := s[id]; err == nil && (!known || id > end) {
			shown++
		}
	}
	return max(0, min(searchPage, p.Total-offset)-shown)
}

// others returns the records that the last answer lacks.
func (s shownRows) others(p hubspot.SearchPage) (records []hubspot.Record) {
	in := make(map[string]bool, len(p.Records))
	for _, r := range p.Records {
		in[r.ID] = true
	}
	for _, r := range s {
		if !in[r.ID] {
			records = append(records, r)
		}
	}
	return records
}
