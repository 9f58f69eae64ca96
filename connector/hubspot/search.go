package hubspot

import (
	"context"
	"errors"
)

// SearchRequest asks for one page of the records that meet all filters.
type SearchRequest struct {
	Object     Object
	Filters    []Filter // at most 6, all must hold
	SortBy     string   // property; "" means creation, oldest first
	Descending bool
	Limit      int // 1-200; 0 means 200
	After      int // offset; HubSpot answers 400 at 10,000 and beyond
	Properties []string
}

// Filter is one condition of a search.
type Filter struct {
	Property  string
	Operator  string // EQ NEQ LT LTE GT GTE BETWEEN IN NOT_IN HAS_PROPERTY NOT_HAS_PROPERTY CONTAINS_TOKEN NOT_CONTAINS_TOKEN
	Value     string
	HighValue string   // for BETWEEN, which includes both ends
	Values    []string // for IN and NOT_IN
}

// Search reads one page.
func (c *Client) Search(ctx context.Context, req SearchRequest) (SearchPage, error) {
	return SearchPage{}, errors.ErrUnsupported
}
