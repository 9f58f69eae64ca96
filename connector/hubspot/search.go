package hubspot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// maxSearchPage is how many records a search page has at most. HubSpot rule.
const maxSearchPage = 200

// SearchRequest asks for one page of the records that meet all filters, or those of one of several groups. Archived records are never found, and changed ones
// only when HubSpot's index has caught up with them.
type SearchRequest struct {
	Object  Object
	Filters []Filter // at most 6, all must hold
	// AnyOf are groups of filters of which one must hold whole, instead of Filters: at most 5, with 6 filters each and 18 in
	// all. An empty one always holds.
	AnyOf      [][]Filter
	SortBy     string // property; "" means creation, oldest first
	Descending bool
	Limit      int // 1-200; 0 means 200
	After      int // offset; HubSpot refuses 10,000 and beyond
	Properties []string
	Claim      func(*SearchRequest) bool // as in ListRequest
}

// Filter is one condition of a search.
type Filter struct {
	Property  string
	Operator  string // EQ NEQ LT LTE GT GTE BETWEEN IN NOT_IN HAS_PROPERTY NOT_HAS_PROPERTY CONTAINS_TOKEN NOT_CONTAINS_TOKEN
	Value     string // dates in epoch milliseconds, not before the first second of 1970
	HighValue string // for BETWEEN, which includes both ends
	Values    []string
}

type searchBody struct {
	FilterGroups []filterGroup `json:"filterGroups,omitempty"`
	Sorts        []sortRule    `json:"sorts,omitempty"`
	Properties   []string      `json:"properties,omitempty"`
	Limit        int           `json:"limit"`
	After        string        `json:"after,omitempty"`
}

type filterGroup struct {
	Filters []filterBody `json:"filters"`
}

type filterBody struct {
	Property  string   `json:"propertyName"`
	Operator  string   `json:"operator"`
	Value     string   `json:"value,omitempty"`
	HighValue string   `json:"highValue,omitempty"`
	Values    []string `json:"values,omitempty"`
}

type sortRule struct {
	Property  string `json:"propertyName"`
	Direction string `json:"direction"`
}

// Search reads one page.
func (c *Client) Search(ctx context.Context, req SearchRequest) (page SearchPage, err error) {
	r := &request{kind: kindSearch, what: "search " + req.Object.Name, method: http.MethodPost}
	r.read = func(body []byte) error {
		if page, err = readSearchPage(req.Object, body); err != nil {
			return err
		}
		if page.Next != 0 && page.Next <= req.After {
			return fmt.Errorf("offset of the next page is %d after %d", page.Next, req.After)
		}
		return nil
	}
	build := func() {
		r.path = c.objects(req.Object) + "/search"
		r.body, _ = json.Marshal(req.body()) // strings and numbers: it cannot fail
	}
	if claim := req.Claim; claim != nil {
		r.claim = func() bool {
			ok := claim(&req)
			build()
			return ok
		}
	} else {
		build()
	}
	err = c.do(ctx, r)
	return page, err
}

func (r *SearchRequest) body() searchBody {
	b := searchBody{Properties: r.Properties, Limit: clampLimit(r.Limit, maxSearchPage)}
	if r.After > 0 {
		b.After = strconv.Itoa(r.After)
	}
	groups := r.AnyOf
	if len(r.Filters) > 0 {
		groups = [][]Filter{r.Filters}
	}
	if slices.ContainsFunc(groups, func(g []Filter) bool { return len(g) == 0 }) {
		groups = nil
	}
	for _, filters := range groups {
		group := filterGroup{}
		for _, f := range filters {
			group.Filters = append(group.Filters, filterBody(f))
		}
		b.FilterGroups = append(b.FilterGroups, group)
	}
	if r.SortBy != "" {
		rule := sortRule{Property: r.SortBy, Direction: "ASCENDING"}
		if r.Descending {
			rule.Direction = "DESCENDING"
		}
		b.Sorts = []sortRule{rule}
	}
	return b
}
