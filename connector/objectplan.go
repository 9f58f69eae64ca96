package connector

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hubtail/hubtail/schemas"
)

// objectPlan is what remains of one object type. It is pure: it knows neither clocks nor connections.
type objectPlan struct {
	spans    []*span        // disjoint, ascending
	total    int64          // records at the start, -1 before the first search
	read     int64          // records received
	highest  int64          // highest id received
	density  float64        // records per id where last seen
	searches []*pageRequest // in flight
	flying   int            // requests in flight
	shut     [2]error       // why a lane cannot be used, by lane
	stopped  bool           // the type failed: nothing more is read
}

// newObjectPlan plans a type from the ranges of its cursor. total is -1 if the type was never counted.
func newObjectPlan(ranges []schemas.Range, total, read int64) *objectPlan {
	o := &objectPlan{total: total, read: read}
	for _, r := range ranges {
		o.spans = append(o.spans, &span{Range: r, object: o, count: 1})
	}
	if n := len(ranges); n > 0 && ranges[n-1].To < maxID {
		o.highest = ranges[n-1].To // an earlier search began or went on there
	}
	o.balance()
	return o
}

func (o *objectPlan) done() bool { return len(o.spans) == 0 }

// waiting reports whether requests of the type are in flight.
func (o *objectPlan) waiting() bool { return o.flying > 0 }

// request makes a request of the spans, ascending; of one for a list.
func (o *objectPlan) request(l lane, spans ...*span) *pageRequest {
	q := &pageRequest{object: o, lane: l, spans: spans}
	for _, s := range spans {
		q.ranges = append(q.ranges, s.Range)
		if l == laneList {
			s.list = q
		} else {
			s.search = q
		}
	}
	o.flying++
	if l == laneSearch {
		o.searches = append(o.searches, q)
	}
	return q
}

// cut divides a span in two, if there is an id to do it at. above is how many records the upper one has beside those that
// its search will bring.
func (o *objectPlan) cut(s *span, at int64, above float64) (lower, upper *span) {
	if at <= s.From || at >= s.To {
		return nil, nil
	}
	upper = &span{Range: schemas.Range{From: at, To: s.To}, object: o, count: above, high: s.high, search: s.search}
	if s.search != nil {
		s.search.spans[slices.Index(s.search.spans, s)] = upper
		upper.count += searchPage / float64(len(s.search.spans))
	}
	s.To, s.count, s.exact, s.high, s.search = at, s.count-upper.count, false, 0, nil
	s.known = s.low > 0
	o.spans = slices.Insert(o.spans, slices.Index(o.spans, s)+1, upper)
	return s, upper
}

// release ends a request, answered or not.
func (o *objectPlan) release(q *pageRequest) {
	o.flying--
	if q.lane == laneList {
		q.spans[0].list = nil
		return
	}
	for _, s := range q.spans {
		s.search = nil
	}
	o.searches = slices.DeleteFunc(o.searches, func(x *pageRequest) bool { return x == q })
}

var errPageOrder = errors.New("the records are not those asked for, by id")

// receive ends a request with its answer. It returns the ids that the answer settles, whole, and which of its records
// were still unread. An answer that cannot be trusted settles nothing and shuts the lane for the type.
func (o *objectPlan) receive(q *pageRequest, a pageIDs) (settled idRanges, fresh []bool) {
	o.release(q)
	settled, err := o.settles(q, a)
	if err != nil {
		o.shut[q.lane] = err
	}
	fresh = make([]bool, len(a.ids))
	n := int64(0)
	for i, id := range a.ids {
		if s := o.find(id); s != nil && settled.has(id) {
			fresh[i] = true
			s.count--
			n++
			o.highest = max(o.highest, id)
		}
	}
	o.read += n
	for _, r := range settled {
		o.subtract(r)
	}
	if err == nil && len(settled) > 0 {
		o.learn(q, a, n)
	}
	o.balance()
	return settled, fresh
}

// settles returns the ids that an answer accounts for: its records are all there are between them.
func (o *objectPlan) settles(q *pageRequest, a pageIDs) (idRanges, error) {
	for i, id := range a.ids {
		disorder := i > 0 && (q.lane == laneList) != (id > a.ids[i-1])
		if disorder || !q.covers(id) {
			return nil, fmt.Errorf("id %d in ranges %v: %w", id, q.ranges, errPageOrder)
		}
	}
	low, high, ok := a.bounds(q.ranges)
	if q.lane == laneSearch {
		return a.settledDown(q, low, ok)
	}
	switch {
	case ok && (!a.last || high < o.highest || o.shut[laneSearch] != nil):
		return idRanges{{From: q.from(), To: high + 1}}, nil
	case !ok && a.next > q.from():
		return idRanges{{From: q.from(), To: a.next}}, nil
	case !ok && (!a.last || q.from() <= o.highest) && o.shut[laneSearch] == nil:
		// An empty last page below a record that we have seen: it may be deleted by now. Search knows.
		return nil, fmt.Errorf("list ends before id %d: %w", o.highest, errPageOrder)
	case q.spans[0].ended != q.ranges[0] && o.listAlone():
		q.spans[0].ended = q.ranges[0] // once more: nobody else can say whether that is the end
		return nil, nil
	}
	return idRanges{{From: q.from(), To: maxID}}, nil
}

// listAlone reports whether search cannot tell what there is. (That it found nothing is an answer, too.)
func (o *objectPlan) listAlone() bool {
	return o.shut[laneSearch] != nil && !errors.Is(o.shut[laneSearch], errNothingFound)
}

// find returns the span that holds id, nil if the id was read.
func (o *objectPlan) find(id int64) *span {
	i, ok := slices.BinarySearchFunc(o.spans, id, func(s *span, id int64) int {
		switch {
		case s.To <= id:
			return -1
		case s.From > id:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return o.spans[i]
}

// subtract removes what was settled from the spans.
func (o *objectPlan) subtract(r schemas.Range) {
	if r.From >= r.To {
		return
	}
	if s := o.find(r.From); s != nil && s.From < r.From && r.To < s.To { // a hole: both sides stay
		o.cut(s, r.To, s.left()/2)
	}
	out := make([]*span, 0, len(o.spans))
	for _, s := range o.spans {
		switch {
		case r.To <= s.From || r.From >= s.To: // untouched
			out = append(out, s)
		case s.From < r.From:
			s.To = r.From
			out = append(out, s)
		case r.To < s.To:
			s.From = r.To
			out = append(out, s)
		}
	}
	o.spans = out
}

// learn improves what is known about the spans near a trusted answer; n of its records were fresh.
func (o *objectPlan) learn(q *pageRequest, a pageIDs, n int64) {
	if k := len(a.ids); k > 1 && len(q.spans) == 1 {
		width := float64(a.ids[k-1]) - float64(a.ids[0])
		o.density = float64(k-1) / max(width, -width)
	}
	if q.lane == laneList {
		q.spans[0].low, q.spans[0].known = o.density, true
		for _, s := range o.searches {
			if s.covers(q.from()) {
				s.passed += n
			}
		}
		return
	}
	if len(q.spans) == 1 {
		q.spans[0].high, q.spans[0].known = o.density, true
	}
	if o.total < 0 {
		o.total = o.read - n + a.total
	}
	// The search counted its whole ranges: what remains of them is known exactly.
	remain, sum := float64(max(a.total-int64(len(a.ids))-q.passed, 0)), 0.0
	var inside []*span
	for _, s := range o.spans {
		if q.ranges.has(s.From) && q.ranges.has(s.To-1) {
			inside, sum = append(inside, s), sum+max(s.count, 1)
		}
	}
	for _, s := range inside {
		s.count = max(s.count, 1) / sum * remain
		s.exact = len(inside) == 1
	}
}

// balance makes the spans' counts add up to the records that remain, changing those that nobody counted.
func (o *objectPlan) balance() {
	if o.total < 0 { // unknown: first come, first served
		for _, s := range o.spans {
			s.count = 1e6
		}
		return
	}
	remain := float64(o.total - o.read)
	sum := 0.0
	for _, s := range o.spans {
		s.count = max(s.count, 0)
		if !s.exact && s.even() {
			s.count = min(s.width()*(s.low+s.high)/2, max(remain, 0))
		}
		if s.exact || s.even() {
			remain -= s.count
		} else {
			sum += s.count + 1
		}
	}
	for _, s := range o.spans {
		if !s.exact && !s.even() {
			s.count = (s.count + 1) / sum * max(remain, 0)
		}
	}
}
