package connector

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

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

// minCut is how many records a range must have left to be cut in two. Every cut costs a partly empty page.
const minCut = 800

// span is a range of ids still to be read, with what is known about it.
type span struct {
	schemas.Range
	object    *objectPlan
	count     float64 // records in it, as far as known
	exact     bool    // search counted it
	low, high float64 // records per id at its start and at its end, 0 if unknown
	list      *pageRequest
	search    *pageRequest
}

// left returns the records that no request in flight will bring.
func (s *span) left() float64 {
	n := s.count
	if s.list != nil {
		n -= listPage
	}
	if s.search != nil {
		n -= searchPage
	}
	return n
}

func (s *span) busy(l lane) bool {
	if l == laneList {
		return s.list != nil
	}
	return s.search != nil
}

func (s *span) idle() bool { return s.list == nil && s.search == nil }

// middle returns the id where the records left are likely cut in half: as far from either end as the record density
// there says. Ids may be skewed; a point in a gap is fine, since a list jumps over it.
func (s *span) middle(density float64) int64 {
	below, above := s.left()/2, s.left()/2
	if s.list != nil {
		below += listPage
	}
	if s.search != nil {
		above += searchPage
	}
	low, high := s.low, s.high
	if low == 0 && high == 0 {
		high = density // where records begin is not known, where they end is
	}
	var sum, n float64
	if p := below / low; low > 0 && p < s.width() {
		sum, n = sum+p, n+1
	}
	if p := above / high; high > 0 && p < s.width() {
		sum, n = sum+s.width()-p, n+1
	}
	if n == 0 {
		sum, n = s.width()/2, 1
	}
	return min(max(s.From+int64(sum/n), s.From+1), s.To-1)
}

func (s *span) width() float64 { return float64(s.To) - float64(s.From) }

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

// pageRequest is one page to read: of r, from its start by list, from its end by search.
type pageRequest struct {
	object *objectPlan
	lane   lane
	schemas.Range
	span   *span
	passed int64 // records of the range that lists received since a search was sent
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

// loadPlan chooses what to read next over all types of a run.
type loadPlan struct {
	objects []*objectPlan
}

// next returns the most useful page for a lane that is free to send, nil if there is none now. pages is how many list
// pages can be had until the end of the run; ranges are cut so that as many as cursors are listed at once.
//
// Search takes from the largest range. List takes the smallest ranges that its pages suffice to finish: so the lanes meet
// in few ranges, each of which costs a partly empty page.
func (p *loadPlan) next(l lane, pages, cursors int) *pageRequest {
	spans, unknown := p.open(l)
	if l == laneSearch && unknown != nil {
		return unknown.request(l, unknown.spans[0])
	}
	slices.SortStableFunc(spans, func(a, b *span) int { return cmp.Compare(a.left(), b.left()) })
	var best, cut *span
	busy := 0
	for _, s := range spans {
		if l == laneList && pages <= 0 && s.object.shut[laneSearch] == nil {
			continue
		}
		pages -= max(int(math.Ceil(s.left()/listPage)), 1)
		switch {
		case s.busy(l):
			busy++
			if s.object.total >= 0 {
				cut = s
			}
		case s.left() > 0 || s.idle():
			best = s
		}
	}
	if l == laneList && busy >= cursors {
		cut = nil
	}
	if busy >= maxCursors {
		return nil
	}
	full := [...]float64{listPage, searchPage}[l]
	if unknown == nil && cut != nil && cut.left() >= minCut && (best == nil || best.left() < full) {
		best = cut.object.cut(cut, l)
	}
	if best == nil {
		return nil
	}
	return best.object.request(l, best)
}

// open returns the spans that a lane may read, and a type to be searched first: the first search of a type says how much
// there is, and a small type needs no other request.
func (p *loadPlan) open(l lane) (spans []*span, unknown *objectPlan) {
	for _, o := range p.objects {
		switch {
		case o.stopped || o.done():
		case o.total < 0 && o.shut[laneSearch] == nil:
			if l == laneList || len(o.searches) == 0 {
				unknown = o
			}
		case o.shut[l] == nil:
			spans = append(spans, o.spans...)
		}
	}
	return spans, unknown
}

func (o *objectPlan) request(l lane, s *span) *pageRequest {
	q := &pageRequest{object: o, lane: l, Range: s.Range, span: s}
	o.flying++
	if l == laneList {
		s.list = q
	} else {
		s.search = q
		o.searches = append(o.searches, q)
	}
	return q
}

// cut divides a span in two and returns the half that the lane, busy in the other, can begin with.
func (o *objectPlan) cut(s *span, l lane) *span {
	at, half := s.middle(o.density), s.left()/2
	upper := &span{Range: schemas.Range{From: at, To: s.To}, object: o, count: half, high: s.high, search: s.search}
	if s.search != nil {
		s.search.span = upper
		upper.count += searchPage
	}
	s.To, s.count, s.exact, s.high, s.search = at, s.count-upper.count, false, 0, nil
	o.spans = slices.Insert(o.spans, slices.Index(o.spans, s)+1, upper)
	if l == laneList {
		return upper
	}
	return s
}

// release ends a request, answered or not.
func (o *objectPlan) release(q *pageRequest) {
	o.flying--
	if q.lane == laneList {
		q.span.list = nil
	} else {
		q.span.search = nil
		o.searches = slices.DeleteFunc(o.searches, func(x *pageRequest) bool { return x == q })
	}
}

var errPageOrder = errors.New("the records are not those asked for, by id")

// receive ends a request with its answer. It returns the ids that the answer settles, whole, and which of its records
// were still unread. An answer that cannot be trusted settles nothing and shuts the lane for the type.
func (o *objectPlan) receive(q *pageRequest, a pageIDs) (settled schemas.Range, fresh []bool) {
	o.release(q)
	settled, err := o.settles(q, a)
	if err != nil {
		o.shut[q.lane] = err
	}
	fresh = make([]bool, len(a.ids))
	n := int64(0)
	for i, id := range a.ids {
		if s := o.find(id); s != nil && id >= settled.From && id < settled.To {
			fresh[i] = true
			s.count--
			n++
			o.highest = max(o.highest, id)
		}
	}
	o.read += n
	o.subtract(settled)
	if err == nil {
		o.learn(q, a, n)
	}
	o.balance()
	return settled, fresh
}

// settles returns the ids that an answer accounts for: its records are all there are between them.
func (o *objectPlan) settles(q *pageRequest, a pageIDs) (schemas.Range, error) {
	none := schemas.Range{From: q.From, To: q.From}
	for i, id := range a.ids {
		outside := id < q.From || q.lane == laneSearch && id >= q.To
		disorder := i > 0 && (q.lane == laneList) != (id > a.ids[i-1])
		if outside || disorder {
			return none, fmt.Errorf("id %d in range %d-%d: %w", id, q.From, q.To, errPageOrder)
		}
	}
	low, high, ok := a.bounds(q.Range)
	if q.lane == laneSearch {
		return a.settledDown(q, low, ok)
	}
	switch {
	case ok && (!a.last || high < o.highest):
		return schemas.Range{From: q.From, To: high + 1}, nil
	case !ok && a.next > q.From:
		return schemas.Range{From: q.From, To: a.next}, nil
	case !ok && (!a.last || q.From <= o.highest) && o.shut[laneSearch] == nil:
		// An empty last page below a record that we have seen: it may be deleted by now. Search knows.
		return none, fmt.Errorf("list ends before id %d: %w", o.highest, errPageOrder)
	}
	return schemas.Range{From: q.From, To: maxID}, nil
}

// settledDown is settles for a search page.
func (a *pageIDs) settledDown(q *pageRequest, low int64, ok bool) (schemas.Range, error) {
	switch {
	case a.last && a.total <= int64(len(a.ids)+len(a.rejected)):
		return q.Range, nil
	case ok:
		return schemas.Range{From: low, To: q.To}, nil
	}
	return schemas.Range{From: q.From, To: q.From}, fmt.Errorf("no id in a page of %d results: %w", a.total, errPageOrder)
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
	out := make([]*span, 0, len(o.spans)+1)
	for _, s := range o.spans {
		switch {
		case r.To <= s.From || r.From >= s.To: // untouched
			out = append(out, s)
		case s.From < r.From && r.To < s.To: // a hole: both sides stay
			part := (float64(r.From) - float64(s.From)) / s.width()
			upper := &span{Range: schemas.Range{From: r.To, To: s.To}, object: o, count: s.count * (1 - part), high: s.high, search: s.search}
			if s.search != nil {
				s.search.span = upper
			}
			s.To, s.count, s.exact, s.high, s.search = r.From, s.count*part, false, 0, nil
			out = append(out, s, upper)
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
	if k := len(a.ids); k > 1 {
		width := float64(a.ids[k-1]) - float64(a.ids[0])
		o.density = float64(k-1) / max(width, -width)
	}
	if q.lane == laneList {
		q.span.low = o.density
		for _, s := range o.searches {
			if s.From < q.To && q.From < s.To {
				s.passed += n
			}
		}
		return
	}
	q.span.high = o.density
	if o.total < 0 {
		o.total = o.read - n + a.total
	}
	// The search counted its whole range: what remains of it is known exactly.
	remain, sum := float64(max(a.total-int64(len(a.ids))-q.passed, 0)), 0.0
	var inside []*span
	for _, s := range o.spans {
		if s.From >= q.From && s.To <= q.To {
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
	exact, guessed, n := 0.0, 0.0, 0.0
	for _, s := range o.spans {
		s.count = max(s.count, 0)
		if s.exact {
			exact += s.count
		} else {
			guessed, n = guessed+s.count+1, n+1
		}
	}
	if n == 0 {
		return
	}
	remain := max(float64(o.total-o.read)-exact, 0)
	if o.total < 0 {
		remain = 1e6 * n // unknown: first come, first served
	}
	for _, s := range o.spans {
		if !s.exact {
			s.count = (s.count + 1) / guessed * remain
		}
	}
}

// left returns how many records remain, as far as known.
func (p *loadPlan) left() (n float64) {
	for _, o := range p.objects {
		if !o.stopped {
			for _, s := range o.spans {
				n += s.count
			}
		}
	}
	return n
}

// searchable reports whether a type that has something left can be searched.
func (p *loadPlan) searchable() bool {
	for _, o := range p.objects {
		if !o.stopped && !o.done() && o.shut[laneSearch] == nil {
			return true
		}
	}
	return false
}

// waiting reports whether requests of the type are in flight.
func (o *objectPlan) waiting() bool { return o.flying > 0 }
