package connector

import (
	"context"
	"errors"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

const (
	// firstInputs is how many records the first request for a pair asks for; what it brings decides about the next.
	firstInputs = 250
	// maxInputs is the most that one request can ask for. HubSpot rule.
	maxInputs = 1000
	// linksPerRequest bounds an answer: with 100 bytes a link, about 5 MB.
	linksPerRequest = 50_000
)

// readSets reads the links of records over the given pairs and appends the sets that changed. Where back is set, the sets
// of the records at the other end of what changed are read, too (linkEnd).
func (r *linkReader) readSets(ctx context.Context, client *hubspot.Client, t *linkType, records []walked, pairs []*linkPair, back bool) error {
	var live, gone []string
	for _, w := range records {
		if _, ok := parseID(w.id); !ok {
			continue // HubSpot would refuse all of the request
		}
		if w.gone() {
			gone = append(gone, w.id)
		} else {
			live = append(live, w.id)
		}
	}
	for _, p := range pairs {
		if len(gone) == 0 { // HubSpot shows no links of what it does not show itself
			break
		}
		empty := make(map[string][]schemas.Link, len(gone))
		for _, id := range gone {
			empty[id] = nil
		}
		if err := r.appendSets(ctx, client, t, p, empty, back); err != nil {
			return err
		}
	}
	reads := make([]*setsRead, len(pairs))
	for i, p := range pairs {
		reads[i] = &setsRead{pair: p, rest: live}
	}
	for {
		var round errgroup.Group
		asked := false
		for _, s := range reads {
			if s.sets = nil; len(s.rest) == 0 || s.pair.refused != "" {
				continue
			}
			asked = true
			round.Go(func() error {
				s.next(ctx, client, t)
				return nil
			})
		}
		if !asked {
			return nil
		}
		_ = round.Wait() // each read holds its own error
		for _, s := range reads {
			if err := r.take(t, s); err != nil {
				return err
			}
			if err := r.appendSets(ctx, client, t, s.pair, s.sets, back); err != nil {
				return err
			}
		}
	}
}

// setsRead is the reading of one pair's links of some records: the pairs of a type are read side by side.
type setsRead struct {
	pair *linkPair
	rest []string // ids not asked for yet

	sets map[string][]schemas.Link // of the last request
	err  error
}

// next asks HubSpot for the links of the next records, as many as one request may bring.
func (s *setsRead) next(ctx context.Context, client *hubspot.Client, t *linkType) {
	n := min(len(s.rest), s.pair.inputs)
	s.sets, s.err = client.Associations(ctx, t.object, s.pair.to.object, s.rest[:n])
	s.rest = s.rest[n:]
}

// take takes an answer into account: what it cost, how large the next one may be, or that HubSpot refuses, which closes the
// pair and is no error.
func (r *linkReader) take(t *linkType, s *setsRead) error {
	if err := s.err; err != nil {
		s.err = nil
		if errors.Is(err, hubspot.ErrForbidden) || errors.Is(err, hubspot.ErrInvalid) || errors.Is(err, hubspot.ErrNotFound) {
			r.refuse(t, s.pair, err)
			return nil
		}
		return err
	}
	if s.sets == nil {
		return nil
	}
	total, longest := 0, 0
	for _, set := range s.sets {
		total, longest = total+len(set), max(longest, len(set))
	}
	p := s.pair
	p.inputs = min(maxInputs, 4*p.inputs)
	if total > 0 {
		p.inputs = max(1, min(p.inputs, linksPerRequest*len(s.sets)/total))
	}
	r.cost += 1 + int64(max(longest-1, 0)/linksPage)
	return nil
}

// linksPage is how many links of one record an answer holds. HubSpot rule.
const linksPage = 500

// appendSets appends the sets that differ from the log's. Where back is set, and the links of the other direction are known,
// the records at the other end are looked at first.
func (r *linkReader) appendSets(ctx context.Context, client *hubspot.Client, t *linkType, p *linkPair, sets map[string][]schemas.Link, back bool) error {
	if back && p.to.loaded(t) {
		return r.appendEnds(ctx, client, t, p, sets)
	}
	changed, err := t.changedSets(ctx, p.to.object.Name, sets)
	if err != nil || len(changed) == 0 {
		return err
	}
	news := make([]*schemas.Links, len(changed))
	for i, c := range changed {
		news[i] = c.links
	}
	_, err = t.log.Append(ctx, page{Origin: schemas.OriginPoll, Links: news}, nil)
	return err
}

// changedSet is a set of links that differs from the log's, and the ids at the other end of links that came, went or changed.
type changedSet struct {
	links *schemas.Links
	ends  []string
}

// changedSets returns the sets that differ from the log's, ascending by id.
func (t *linkType) changedSets(ctx context.Context, to string, sets map[string][]schemas.Link) (changes []changedSet, err error) {
	l := t.log
	entries := make([]*entry, 0, len(sets))
	for _, id := range slices.Sorted(maps.Keys(sets)) {
		links := &schemas.Links{Portal: l.portal, From: l.object.Name, ID: id, To: to, Links: sets[id]}
		e := l.linksEntry(links, l.now())
		if e.links == nil { // too large: its dead letter says so, once
			changes = append(changes, changedSet{links: links})
			continue
		}
		entries = append(entries, e)
	}
	if err := l.lookup(ctx, entries, false); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.judge(reading{}); e.verdict == changed {
			changes = append(changes, changedSet{e.links, linkEnds(e)})
		}
	}
	return changes, nil
}

// linkEnds returns the ids of links that are in the new set or the last one only, or differ.
func linkEnds(e *entry) []string {
	before := map[schemas.Link]bool{}
	if e.last.seq > 0 {
		if c, err := schemas.DecodeControl(e.last.msg); err == nil {
			for _, link := range c.(*schemas.Links).Links {
				before[link] = true
			}
		}
	}
	ends := make(map[string]bool)
	for _, link := range e.links.Links {
		if before[link] {
			delete(before, link)
		} else {
			ends[link.ID] = true
		}
	}
	for link := range before {
		ends[link.ID] = true
	}
	return slices.Sorted(maps.Keys(ends))
}
