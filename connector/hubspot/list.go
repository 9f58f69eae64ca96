package hubspot

import (
	"context"
	"errors"
)

// ListRequest asks for one page of an object type, ascending by id.
type ListRequest struct {
	Object     Object
	After      string   // cursor from Page.Next, "" for the first page
	Limit      int      // 1-100; 0 means 100
	Properties []string // nil means the object's default properties
	Archived   bool     // only the records in the recycle bin
}

// List reads one page.
func (c *Client) List(ctx context.Context, req ListRequest) (Page, error) {
	return Page{}, errors.ErrUnsupported
}
