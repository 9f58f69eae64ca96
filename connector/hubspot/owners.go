package hubspot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/hubtail/hubtail/schemas"
)

type ownerBody struct {
	ID                      text            `json:"id"`
	Email                   string          `json:"email"`
	Type                    string          `json:"type"`
	FirstName               string          `json:"firstName"`
	LastName                string          `json:"lastName"`
	UserID                  text            `json:"userId"`
	UserIDIncludingInactive text            `json:"userIdIncludingInactive"`
	CreatedAt               moment          `json:"createdAt"`
	UpdatedAt               moment          `json:"updatedAt"`
	Archived                bool            `json:"archived"`
	Teams                   json.RawMessage `json:"teams"`
}

// Owners returns the portal's owners, ascending by id: the active ones, or the deactivated ones. Their properties are email,
// first_name, last_name, type, user_id, user_id_including_inactive and teams (JSON text). Paging that goes round in circles
// is an error, and a full page that names no next one is read again before it counts as the last.
func (c *Client) Owners(ctx context.Context, archived bool) ([]Record, error) {
	var owners []Record
	seen, ends := map[string]bool{"": true}, 0
	for after := ""; ; {
		path := pathOwners + "?limit=100&archived=" + strconv.FormatBool(archived)
		if after != "" {
			path += "&after=" + url.QueryEscape(after)
		}
		var page []Record
		var next string
		err := c.do(ctx, &request{kind: kindOwners, what: "read owners", method: http.MethodGet, path: path, read: func(body []byte) (err error) {
			if page, next, err = readOwners(body); err != nil {
				return err
			}
			if next != "" && seen[next] {
				return fmt.Errorf("cursor of the next page is %q again", next)
			}
			return nil
		}})
		if err != nil {
			return nil, err
		}
		if next == "" && len(page) >= maxPage && ends < 2 {
			ends++
			continue
		}
		owners = append(owners, page...)
		if next == "" {
			slices.SortFunc(owners, func(x, y Record) int { return compareIDs(x.ID, y.ID) })
			return slices.CompactFunc(owners, func(x, y Record) bool { return x.ID == y.ID }), nil
		}
		after, ends = next, 0
		seen[next] = true
	}
}

func readOwners(body []byte) (owners []Record, next string, err error) {
	list, next, err := decodeResults[ownerBody](body)
	if err != nil {
		return nil, "", err
	}
	for i := range list {
		id, ok := canonicalID([]byte(list[i].ID))
		if !ok {
			return nil, "", fmt.Errorf("owner id %q is not a number", list[i].ID)
		}
		owners = append(owners, list[i].record(id))
	}
	return owners, next, nil
}

func (b *ownerBody) record(id string) Record {
	teams := ""
	if len(b.Teams) > 0 && b.Teams[0] == '[' {
		var compact bytes.Buffer
		if json.Compact(&compact, b.Teams) == nil && compact.String() != "[]" {
			teams = compact.String()
		}
	}
	return Record{
		ID: id, CreatedAt: b.CreatedAt.Time, UpdatedAt: b.UpdatedAt.Time, Archived: b.Archived,
		Properties: schemas.MakeProperties(map[string]string{
			"email": b.Email, "first_name": b.FirstName, "last_name": b.LastName, "type": b.Type,
			"user_id": string(b.UserID), "user_id_including_inactive": string(b.UserIDIncludingInactive), "teams": teams,
		}),
	}
}
