package hubspot

import (
	"context"
	"errors"
)

// BatchReadRequest asks for records by id, any number of them.
type BatchReadRequest struct {
	Object     Object
	IDs        []string
	Properties []string
	Archived   bool // only records in the recycle bin; the others count as missing
}

// BatchRead reads the records with the given ids.
func (c *Client) BatchRead(ctx context.Context, req BatchReadRequest) (Batch, error) {
	return Batch{}, errors.ErrUnsupported
}
