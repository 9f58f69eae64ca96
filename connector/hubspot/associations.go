package hubspot

import (
	"context"
	"errors"

	"github.com/hubtail/hubtail/schemas"
)

// Associations returns the links of the given records to records of another type: an entry for every id, empty if it has
// none, ascending by id, category and type id, each once.
func (c *Client) Associations(ctx context.Context, from, to Object, ids []string) (map[string][]schemas.Link, error) {
	return nil, errors.ErrUnsupported
}

// AssociationLabel is one type of association between two object types, in one direction.
type AssociationLabel struct {
	Category string `json:"category"` // HUBSPOT_DEFINED, USER_DEFINED, INTEGRATOR_DEFINED, WORK
	TypeID   int    `json:"typeId"`
	Label    string `json:"label"` // "" for the unlabelled type
}

// AssociationLabels returns the types of association that exist from one object type to another.
func (c *Client) AssociationLabels(ctx context.Context, from, to Object) ([]AssociationLabel, error) {
	return nil, errors.ErrUnsupported
}
