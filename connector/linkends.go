package connector

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// linkEnd is one end of a pair while the sets of both ends are read until they agree.
//
// A link is in two sets, and they cannot be read at one moment. Where a set changed, the sets at the other ends of its
// changes are therefore read after it; where those changed, likewise; and where one has a link that the other has not, the
// one that was read first is read again. So whatever is in the log, somebody looked at its other end afterwards: a record
// whose set is, when word of its change comes at last, as the log has it has nothing more to tell.
//
// Nothing is appended before all of it agrees. What was found last is in the log first: after a crash in between, the
// change is found again from where it was found this time.
type linkEnd struct {
	t    *linkType
	pair *linkPair
	sets map[string]*endSet // what was read, by the record's id
}

// endSet is the set of one record at one end.
type endSet struct {
	reads int // how often it was read
	depth int // how many sets led to it
	// What the last reading brought: the set, if it differs from the log's, else only whether it has the links that were
	// asked about. Of unchanged sets, which can be large, nothing more is kept.
	news *schemas.Links
	has  map[string]bool
}

// mostReads bounds how often a set is read to agree with others. HubSpot shows what still does not agree to the next sweep.
const mostReads = 4

func newLinkEnd(t *linkType, p *linkPair) *linkEnd {
	return &linkEnd{t: t, pair: p, sets: make(map[string]*endSet)}
}

// appendEnds appends the sets of a pair, as far as they differ from the log's, and all that follows from them at both ends.
func (r *linkReader) appendEnds(ctx context.Context, client *hubspot.Client, t *linkType, p *linkPair, sets map[string][]schemas.Link) error {
	here := newLinkEnd(t, p)
	there := here
	if p.to != t {
		there = newLinkEnd(p.to, p.to.pairTo(t))
	}
	ends := []*linkEnd{here, there}
	doubts, err := here.compare(ctx, there, sets, nil, 0)
	for depth := 1; len(doubts) > 0 && err == nil; depth++ {
		here, there = there, here
		doubts, err = r.readEnds(ctx, client, here, there, doubts, depth)
	}
	if err != nil {
		return err
	}
	for depth := slices.Max([]int{ends[0].depth(), ends[1].depth()}); depth >= 0; depth-- {
		if err := ends[depth%2].append(ctx, depth); err != nil {
			return err
		}
	}
	return nil
}

// doubts are ids whose sets are to be read, with those at the other end that they have to agree with.
type doubts map[string][]string

// readEnds reads the sets in doubt and returns those at the other end that are in doubt because of them.
func (r *linkReader) readEnds(ctx context.Context, client *hubspot.Client, here, there *linkEnd, asked doubts, depth int) (doubts, error) {
	next := make(doubts)
	s := &setsRead{pair: here.pair, rest: slices.Sorted(maps.Keys(asked))}
	for len(s.rest) > 0 && s.pair.refused == "" {
		s.next(ctx, client, here.t)
		if err := r.take(here.t, s); err != nil {
			return nil, err
		}
		more, err := here.compare(ctx, there, s.sets, asked, depth)
		if err != nil {
			return nil, err
		}
		for id, about := range more {
			next[id] = append(next[id], about...)
		}
	}
	return next, nil
}

// compare notes what sets are by now, and returns what is in doubt at the other end: of links that came, went or changed,
// and of those asked about, what was not read yet or does not agree.
func (e *linkEnd) compare(ctx context.Context, other *linkEnd, sets map[string][]schemas.Link, asked doubts, depth int) (doubts, error) {
	changes, err := e.t.changedSets(ctx, other.t.object.Name, sets)
	if err != nil {
		return nil, err
	}
	news := make(map[string]changedSet, len(changes))
	for _, c := range changes {
		news[c.links.ID] = c
	}
	next := make(doubts)
	for id, links := range sets {
		set := e.sets[id]
		if set == nil {
			set = &endSet{depth: depth}
			e.sets[id] = set
		}
		set.reads++
		set.news, set.has = news[id].links, nil
		if set.news == nil && len(asked[id]) > 0 {
			set.has = make(map[string]bool, len(asked[id]))
		}
		for _, about := range slices.Concat(news[id].ends, asked[id]) {
			has := hasLink(links, about)
			if set.has != nil {
				set.has[about] = has
			}
			if !other.agrees(about, id, has) {
				next[about] = append(next[about], id)
			}
		}
	}
	return next, nil
}

// agrees reports whether the set of a record is known to have a link, or not to have it. It also does once the set was read
// often enough.
func (e *linkEnd) agrees(id, to string, want bool) bool {
	set := e.sets[id]
	switch {
	case set == nil:
		return false
	case set.reads >= mostReads:
		return true
	case set.news != nil:
		return hasLink(set.news.Links, to) == want
	}
	has, known := set.has[to]
	return known && has == want
}

// hasLink reports whether a set has a link to a record. The set has been encoded: its links ascend by id, as text.
func hasLink(links []schemas.Link, to string) bool {
	_, found := slices.BinarySearchFunc(links, to, func(l schemas.Link, id string) int { return strings.Compare(l.ID, id) })
	return found
}

// depth returns how many sets led to the farthest one.
func (e *linkEnd) depth() (depth int) {
	for _, set := range e.sets {
		depth = max(depth, set.depth)
	}
	return depth
}

// append appends the sets that changed, of one depth.
func (e *linkEnd) append(ctx context.Context, depth int) error {
	var news []*schemas.Links
	for _, id := range slices.Sorted(maps.Keys(e.sets)) {
		if set := e.sets[id]; set.news != nil && set.depth == depth {
			news = append(news, set.news)
		}
	}
	if len(news) == 0 {
		return nil
	}
	_, err := e.t.log.Append(ctx, page{Origin: schemas.OriginPoll, Links: news}, nil)
	return err
}
