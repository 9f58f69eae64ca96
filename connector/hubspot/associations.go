package hubspot

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/hubtail/hubtail/schemas"
)

// maxAssociationInputs is how many records one request reads the links of. HubSpot rule.
const maxAssociationInputs = 1000

// Associations returns the links of the given records to records of another type: an entry for every id, empty if it has
// none, ascending by id, category and type id, each once.
func (c *Client) Associations(ctx context.Context, from, to Object, ids []string) (map[string][]schemas.Link, error) {
	links := make(map[string][]schemas.Link, len(ids))
	pending := make([]batchInput, 0, len(ids))
	for _, id := range ids {
		if _, twice := links[id]; !twice {
			links[id] = nil
			pending = append(pending, batchInput{ID: id})
		}
	}
	// HubSpot rule: a record with many links brings a cursor, which goes into the next request.
	for len(pending) > 0 {
		n := min(len(pending), maxAssociationInputs)
		more, err := c.associations(ctx, from, to, pending[:n], links)
		if err != nil {
			return nil, err
		}
		pending = append(more, pending[n:]...)
	}
	for id, set := range links {
		slices.SortFunc(set, compareLinks)
		links[id] = slices.CompactFunc(set, func(x, y schemas.Link) bool { return compareLinks(x, y) == 0 })
	}
	return links, nil
}

func compareLinks(x, y schemas.Link) int {
	return cmp.Or(compareIDs(x.ID, y.ID), cmp.Compare(x.Category, y.Category), cmp.Compare(x.TypeID, y.TypeID))
}

// associations reads one page of each input, adds it to links and returns the inputs that have more pages.
func (c *Client) associations(ctx context.Context, from, to Object, inputs []batchInput, links map[string][]schemas.Link) (more []batchInput, err error) {
	what := fmt.Sprintf("read associations of %s to %s", from.Name, to.Name)
	body, err := json.Marshal(batchBody{Inputs: inputs})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var page linkPage
	err = c.do(ctx, &request{
		kind: kindAssociations, what: what, method: http.MethodPost, path: pathAssociations(from, to) + "/batch/read", body: body,
		read: func(body []byte) error {
			page = linkPage{}
			return page.read(body)
		},
	})
	if err != nil {
		return nil, err
	}
	cursors := make(map[string]string, len(inputs))
	for _, in := range inputs {
		cursors[in.ID] = in.After
	}
	for _, set := range page.sets {
		cursor, asked := cursors[set.from]
		if !asked {
			return nil, fmt.Errorf("%s: %w: links of %s were not asked for", what, ErrMalformed, set.from)
		}
		links[set.from] = append(links[set.from], set.links...)
		if set.after != "" {
			if set.after == cursor {
				return nil, fmt.Errorf("%s: %w: cursor of %s is %q again", what, ErrMalformed, set.from, cursor)
			}
			more = append(more, batchInput{ID: set.from, After: set.after})
		}
	}
	return more, nil
}

// linkPage is an answer to a batch read of associations.
type linkPage struct {
	sets []linkSet
}

// linkSet is one page of the links of one record.
type linkSet struct {
	from  string
	after string
	links []schemas.Link
}

func (p *linkPage) read(body []byte) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("read associations: invalid UTF-8")
	}
	s := schemas.NewScanner(body)
	results := false
	var problems []problem
	s.Object(func(key []byte) {
		switch string(key) {
		case "results":
			results = true
			s.Array(func() { p.sets = append(p.sets, readLinkSet(s)) })
		case "errors":
			s.Array(func() { problems = append(problems, readProblem(s)) })
		default:
			s.Skip()
		}
	})
	if s.Err() != nil {
		return fmt.Errorf("read associations: %w", s.Err())
	}
	if s.Peek(); s.Pos() != len(body) {
		return fmt.Errorf("read associations: text after the answer")
	}
	if !results {
		return errNoResults
	}
	for _, pr := range problems {
		// HubSpot rule: a record without links, or without itself, comes as an error.
		if pr.Category != "OBJECT_NOT_FOUND" {
			return &Error{Status: http.StatusMultiStatus, Category: pr.Category, SubCategory: pr.SubCategory, Message: pr.Message}
		}
	}
	for _, set := range p.sets {
		if _, ok := canonicalID([]byte(set.from)); !ok {
			return fmt.Errorf("read associations: id %q is not a number", set.from)
		}
		for _, l := range set.links {
			if _, ok := canonicalID([]byte(l.ID)); !ok {
				return fmt.Errorf("read associations: id %q linked to %s is not a number", l.ID, set.from)
			}
		}
	}
	return nil
}

func readLinkSet(s *schemas.Scanner) (set linkSet) {
	s.Object(func(key []byte) {
		switch string(key) {
		case "from":
			s.Object(func(key []byte) {
				if string(key) == "id" {
					set.from = s.Text()
					return
				}
				s.Skip()
			})
		case "to":
			s.Array(func() { set.links = append(set.links, readLinks(s)...) })
		case "paging":
			set.after = readAfter(s)
		default:
			s.Skip()
		}
	})
	return set
}

// readLinks reads one record linked to: a link for each type. HubSpot rule: toObjectId is a number, or a string.
func readLinks(s *schemas.Scanner) []schemas.Link {
	id := ""
	var types []schemas.Link
	s.Object(func(key []byte) {
		switch string(key) {
		case "toObjectId":
			id = s.Text()
		case "associationTypes":
			s.Array(func() { types = append(types, readLinkType(s)) })
		default:
			s.Skip()
		}
	})
	for i := range types {
		types[i].ID = id
	}
	return types
}

func readLinkType(s *schemas.Scanner) (l schemas.Link) {
	s.Object(func(key []byte) {
		switch string(key) {
		case "category":
			l.Category = s.Text()
		case "typeId":
			l.TypeID, _ = strconv.Atoi(s.Text())
		case "label":
			l.Label = s.Text()
		default:
			s.Skip()
		}
	})
	return l
}

// AssociationLabel is one type of association between two object types, in one direction.
type AssociationLabel struct {
	Category string `json:"category"` // HUBSPOT_DEFINED, USER_DEFINED, INTEGRATOR_DEFINED, WORK
	TypeID   int    `json:"typeId"`
	Label    string `json:"label"` // "" for the unlabelled type
}

// AssociationLabels returns the types of association that exist from one object type to another.
func (c *Client) AssociationLabels(ctx context.Context, from, to Object) (labels []AssociationLabel, err error) {
	err = c.do(ctx, &request{
		kind: kindLabels, what: fmt.Sprintf("read association labels of %s to %s", from.Name, to.Name), method: http.MethodGet,
		path: pathAssociations(from, to) + "/labels",
		read: func(body []byte) (err error) {
			labels, _, err = decodeResults[AssociationLabel](body)
			return err
		},
	})
	slices.SortFunc(labels, func(x, y AssociationLabel) int {
		return cmp.Or(cmp.Compare(x.Category, y.Category), cmp.Compare(x.TypeID, y.TypeID))
	})
	return labels, err
}
