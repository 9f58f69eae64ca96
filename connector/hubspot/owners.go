package hubspot

import (
	"context"
	"errors"
)

// Owners returns the portal's owners, ascending by id: the active ones, or the deactivated ones. Their properties are email,
// first_name, last_name, type, user_id, user_id_including_inactive and teams (JSON text).
func (c *Client) Owners(ctx context.Context, archived bool) ([]Record, error) {
	return nil, errors.ErrUnsupported
}
