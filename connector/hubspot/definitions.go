package hubspot

import (
	"context"
	"errors"

	"github.com/hubtail/hubtail/schemas"
)

// Properties returns the property definitions of an object type, ascending by name, without archived and sensitive ones.
func (c *Client) Properties(ctx context.Context, object Object) ([]schemas.Property, error) {
	return nil, errors.ErrUnsupported
}

// Pipelines returns the pipelines of an object type with their stages, in display order.
func (c *Client) Pipelines(ctx context.Context, object Object) ([]schemas.Pipeline, error) {
	return nil, errors.ErrUnsupported
}

// CustomObjects returns the custom object types of the portal, ascending by name. They are named "p_<name>", so that one
// called like a standard type does not clash with it.
func (c *Client) CustomObjects(ctx context.Context) ([]Object, error) {
	return nil, errors.ErrUnsupported
}
