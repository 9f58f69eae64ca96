package connector

import (
	"cmp"
	"math"
	"slices"
)

const (
	// minCut is how many records a range must have left to be cut in two: every cut costs a partly empty page.
	minCut = 600
	// overlapped is how many records below the start of a search the next one begins that does not wait for it. It brings
	// 200; the rest is for the error of the guess.
	overlapped = 180
)

// loadPlan chooses what to read next over all types of a run.
type loadPlan struct {
	objects []*objectPlan
}

// nextSearch returns the most useful page to search, nil if there is none; free is how many searches may be sent now,
// parallel how many must be in flight to use their quota. Search takes from the fullest range that no other search is
// taking from.
func (p *loadPlan) nextSearch(free, parallel int) *pageRequest {
	spans, unknown := p.open(laneSearch)
	if unknown != nil {
		return unknown.request(laneSearch, unknown.spans[0])
	}
	var best, busy *span
	requests, inFlight := 0, 0 // requests is how many bring all the rest
	for _, s := range spans {
		requests += int(math.Ceil(max(s.left(), 0) / overlapped))
		switch {
		case s.search != nil:
			busy = fuller(busy, s)
			inFlight++
		case s.left() > 0 || s.idle():
			best = fuller(best, s)
		}
	}
	switch {
	case best != nil && best.left() >= searchPage:
	case inFlight < parallel && busy != nil && busy.left() >= minCut && !p.counting():
		best, _ = busy.object.cut(busy, busy.middle(busy.object.density), busy.left()/2)
	case best == nil && busy != nil && busy.left() > 0 && busy.high > 0 && requests <= free:
		// The last pages need not wait for each other: the next one begins where this one will likely have ended.
		at := busy.To - int64(min(overlapped/busy.high, busy.width()))
		best, _ = busy.object.cut(busy, at, overlapped-searchPage)
	}
	if best == nil {
		return nil
	}
	return best.object.request(laneSearch, p.together(best)...)
}

// together returns the span with others of its type whose rest fits the same search page, ascending.
func (p *loadPlan) together(s *span) []*span {
	chosen, room := []*span{s}, searchPage-s.left()
	rest := slices.Clone(s.object.spans)
	slices.SortStableFunc(rest, func(a, b *span) int { return cmp.Compare(b.left(), a.left()) })
	for _, other := range rest {
		if n := other.left(); other != s && other.search == nil && (n > 0 || other.idle()) && n <= room && len(chosen) < searchRanges {
			chosen, room = append(chosen, other), room-max(n, 0)
		}
	}
	slices.SortFunc(chosen, func(a, b *span) int { return cmp.Compare(a.From, b.From) })
	return chosen
}

// nextList returns the most useful page to list, nil if there is none. pages is how many pages can be had until the end of
// the run, math.MaxInt if more than matters; ranges are cut so that as many as cursors are listed at once.
//
// Near the end list takes the smallest ranges that its pages suffice to finish, so that the lanes meet in few ranges. What is
// less than a page it leaves to search, which reads the rests of several ranges at once.
func (p *loadPlan) nextList(pages, cursors int) *pageRequest {
	spans, _ := p.open(laneList)
	slices.SortStableFunc(spans, func(a, b *span) int { return cmp.Compare(a.left(), b.left()) })
	var best, smallest, busy *span
	inFlight, plenty := 0, pages == math.MaxInt
	for _, s := range spans {
		switch {
		case s.list != nil:
			inFlight++
			if s.known {
				busy = fuller(busy, s)
			}
		case s.left() > 0 || s.idle():
			best = fuller(best, s)
			if smallest == nil && pages > 0 && s.left() >= listPage {
				smallest = s
			}
		}
		pages -= max(int(math.Ceil(s.left()/listPage)), 1)
	}
	share := max(minCut, p.left()/float64(cursors)) // for each cursor; less is not cut
	switch {
	case inFlight >= maxCursors:
		return nil
	case smallest != nil && !plenty:
		best = smallest
	case best != nil && plenty:
	case inFlight >= cursors:
		return nil
	case best != nil && best.left() >= listPage:
	case busy != nil && busy.left() >= share && !p.counting():
		_, best = busy.object.cut(busy, busy.middle(busy.object.density), busy.left()/2)
	}
	if best == nil {
		return nil
	}
	return best.object.request(laneList, best)
}

func fuller(a, b *span) *span {
	if a == nil || b.left() > a.left() {
		return b
	}
	return a
}

// counting reports whether the first search of a type is still to be answered: only then is it known what is worth cutting.
func (p *loadPlan) counting() bool {
	return slices.ContainsFunc(p.objects, func(o *objectPlan) bool {
		return !o.stopped && !o.done() && o.total < 0 && o.shut[laneSearch] == nil
	})
}

// open returns the ranges that a lane may read, and a type to be searched before: the first search of a type says how much
// there is, and a small type needs no other request.
func (p *loadPlan) open(l lane) (spans []*span, first *objectPlan) {
	for _, o := range p.objects {
		switch {
		case o.stopped || o.done():
		case o.total < 0 && o.shut[laneSearch] == nil:
			if l == laneSearch && len(o.searches) == 0 {
				first = o
			}
		case o.shut[l] == nil:
			spans = append(spans, o.spans...)
		}
	}
	return spans, first
}

// left returns how many records no request in flight will bring, as far as known.
func (p *loadPlan) left() (n float64) {
	for _, o := range p.objects {
		if !o.stopped {
			for _, s := range o.spans {
				n += max(s.left(), 0)
			}
		}
	}
	return n
}

// searchable reports whether a type that has something left can be searched.
func (p *loadPlan) searchable() bool {
	return slices.ContainsFunc(p.objects, func(o *objectPlan) bool {
		return !o.stopped && !o.done() && o.shut[laneSearch] == nil
	})
}
