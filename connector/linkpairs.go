package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// linkType is an object type whose records' links are read.
type linkType struct {
	*follower
	pairs []*linkPair // in the order of the configuration; replaced as a whole

	follow *logWalk // over what changed; nil before the first look
	sweep  *logWalk // over all records; nil between two sweeps
	todo   []walked // taken from follow and not read yet
	read   uint64   // links of all that changed up to this sequence of the log are read
	moved  time.Time
	dirty  time.Time // since when events may wait in the log; zero if none do
	cost   int64     // requests of the sweep under way
	turned int64     // requests of the last one

	retryAt time.Time
	wait    time.Duration
	trouble string // what went wrong last, "" since it went well
}

// linkPair is a direction in which records of two object types are associated.
type linkPair struct {
	to      *linkType
	refused string // why HubSpot does not show the links, "" if it does
	inputs  int    // records per request
}

// pairTo returns the pair to another type, nil if there is none.
func (t *linkType) pairTo(to *linkType) *linkPair {
	if i := slices.IndexFunc(t.pairs, func(p *linkPair) bool { return p.to == to }); i >= 0 {
		return t.pairs[i]
	}
	return nil
}

// open returns the pairs that HubSpot shows, of those named; all if names is nil.
func (t *linkType) open(names []string) (open []*linkPair) {
	for _, p := range t.pairs {
		if p.refused == "" && (names == nil || slices.Contains(names, p.to.object.Name)) {
			open = append(open, p)
		}
	}
	return open
}

func namesOf(pairs []*linkPair) []string {
	names := make([]string, len(pairs))
	for i, p := range pairs {
		names[i] = p.to.object.Name
	}
	slices.Sort(names)
	return names
}

// refusals returns what HubSpot does not show and why, for the cursor.
func (t *linkType) refusals() map[string]string {
	var refused map[string]string
	for _, p := range t.pairs {
		if p.refused != "" {
			if refused == nil {
				refused = make(map[string]string)
			}
			refused[p.to.object.Name] = p.refused
		}
	}
	return refused
}

// linkChoice says which pairs are to be read.
type linkChoice struct {
	none  bool
	pairs [][2]*linkType // nil means all that HubSpot has
}

// ErrUnknownPair says that the configuration names associations of object types that are not read.
var ErrUnknownPair = errors.New("unknown associations")

// chooseLinks reads Config.Associations.
func chooseLinks(types []*linkType, names []string) (c linkChoice, err error) {
	find := func(name string) *linkType {
		if i := slices.IndexFunc(types, func(t *linkType) bool { return isNamed(t.object, name) }); i >= 0 {
			return types[i]
		}
		return nil
	}
	switch {
	case len(names) == 0 || len(names) == 1 && names[0] == "all":
		return c, nil
	case len(names) == 1 && names[0] == "none":
		return linkChoice{none: true}, nil
	}
	for _, name := range names {
		from, to, _ := strings.Cut(name, ":")
		pair := [2]*linkType{find(from), find(to)}
		if pair[0] == nil || pair[1] == nil {
			return c, fmt.Errorf("%w %q: name two of the object types that are read, as in contacts:companies, or all, or none", ErrUnknownPair, name)
		}
		c.pairs = append(c.pairs, pair)
	}
	return c, nil
}

// discoveries is how many requests a day the search for pairs may cost: new ones are rare.
const discoveries = 300

// discover finds out which pairs there are. HubSpot rule: associations go both ways, so that one question per two types
// will do, and types that cannot be associated have no labels. It costs one request per two types, itself included, unless
// the configuration names the pairs.
func (r *linkReader) discover(ctx context.Context) error {
	asked, both := 0, r.choice.pairs
	refused := map[[2]*linkType]string{}
	if both == nil {
		for i, from := range r.types {
			for _, to := range r.types[i:] {
				asked++
				labels, err := r.labels.AssociationLabels(ctx, from.object, to.object)
				switch {
				case errors.Is(err, hubspot.ErrForbidden):
					refused[[2]*linkType{from, to}] = refusal(err)
				case errors.Is(err, hubspot.ErrInvalid), errors.Is(err, hubspot.ErrNotFound):
					continue
				case err != nil:
					return fmt.Errorf("discover associations: %w", err)
				case len(labels) == 0:
					continue
				}
				both = append(both, [2]*linkType{from, to})
			}
		}
	}
	for _, t := range r.types {
		r.setPairs(t, both, refused)
	}
	every := r.source.cfg.DefinitionsInterval
	r.discoverAt = time.Now().Add(max(every, 24*time.Hour*time.Duration(asked)/discoveries))
	return nil
}

// recall takes the pairs from the cursors, which costs nothing, for a run that ends soon. It reports false, and nothing is
// known, if a sweep is due, which looks for new ones, or an object type may have pairs that no sweep has seen.
func (r *linkReader) recall() bool {
	if r.choice.pairs != nil {
		return false
	}
	var both [][2]*linkType
	var swept time.Time // when the last sweep began
	refused := map[[2]*linkType]string{}
	for _, from := range r.types {
		links := from.log.Cursor().Links
		if links == nil || links.Sweep == nil {
			continue
		}
		swept = later(swept, links.Sweep.StartedAt)
		for _, to := range r.types {
			pair := [2]*linkType{from, to}
			if refused[pair] = links.Refused[to.object.Name]; refused[pair] != "" || slices.Contains(links.To, to.object.Name) {
				both = append(both, pair)
			}
		}
	}
	for _, t := range r.types {
		r.setPairs(t, both, refused)
	}
	turn, now := r.turn(), r.source.cfg.Client.Now()
	for _, t := range r.types {
		c := t.log.Cursor()
		if c.Links == nil && c.BackfilledAt.After(swept) || c.Links != nil && c.Links.Sweep != nil && !now.Before(c.Links.Sweep.StartedAt.Add(turn)) {
			return false
		}
	}
	r.discovered = len(both) > 0
	return r.discovered
}

// setPairs gives a type its pairs, and says what is refused, once.
func (r *linkReader) setPairs(t *linkType, both [][2]*linkType, refused map[[2]*linkType]string) {
	var pairs []*linkPair
	for _, b := range both {
		to := b[1]
		if to == t {
			to = b[0]
		} else if b[0] != t {
			continue
		}
		if slices.ContainsFunc(pairs, func(p *linkPair) bool { return p.to == to }) {
			continue
		}
		p := &linkPair{to: to, inputs: firstInputs}
		old := t.pairTo(to)
		if old != nil {
			p.inputs = old.inputs
		}
		if p.refused = refused[b]; p.refused != "" && (old == nil || old.refused != p.refused) {
			r.logger.Warn("links cannot be read, everything else goes on", "from", t.object.Name, "to", to.object.Name, "reason", p.refused)
		}
		pairs = append(pairs, p)
	}
	t.pairs = pairs
}

// refuse takes a pair out until it is looked for again.
func (r *linkReader) refuse(t *linkType, p *linkPair, err error) {
	p.refused = refusal(err)
	if key := [2]string{t.object.Name, p.to.object.Name}; r.told[key] != p.refused {
		r.told[key] = p.refused
		r.logger.Warn("links cannot be read, everything else goes on", "from", t.object.Name, "to", p.to.object.Name, "reason", p.refused)
	}
}

// refusal says why HubSpot refuses, without what differs from answer to answer.
func refusal(err error) string {
	answer := (*hubspot.Error)(nil)
	switch {
	case errors.As(err, &answer) && len(answer.Scopes) > 0:
		return "the token lacks one of the scopes " + strings.Join(answer.Scopes, ", ")
	case errors.Is(err, hubspot.ErrForbidden):
		return "the token lacks a scope"
	case answer != nil:
		return answer.Message
	}
	return err.Error()
}

// missing returns the open pairs whose links were not read for every record yet.
func (t *linkType) missing(c schemas.Cursor) []string {
	open := namesOf(t.open(nil))
	if c.Links == nil {
		return open
	}
	return slices.DeleteFunc(open, func(name string) bool { return slices.Contains(c.Links.To, name) })
}

// loaded reports whether the links to another type were read for every record.
func (t *linkType) loaded(to *linkType) bool {
	p := t.pairTo(to)
	links := t.log.Cursor().Links
	return p != nil && p.refused == "" && links != nil && slices.Contains(links.To, to.object.Name)
}
