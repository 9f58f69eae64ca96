package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// get reads a JSON answer of the HubSpot API.
func get(ctx context.Context, url, token string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// Owners reads the owners, deactivated ones included, from HubSpot's own API: they are no CRM objects.
func Owners(ctx context.Context, baseURL, token string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var all []Record
		for _, archived := range []bool{false, true} {
			records, err := readOwners(ctx, baseURL, token, archived)
			if err != nil {
				yield(Record{}, fmt.Errorf("read owners: %w", err))
				return
			}
			all = append(all, records...)
		}
		number := func(r Record) int64 { n, _ := strconv.ParseInt(r.ID, 10, 64); return n }
		slices.SortFunc(all, func(a, b Record) int { return int(number(a) - number(b)) })
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func readOwners(ctx context.Context, baseURL, token string, archived bool) (records []Record, err error) {
	after := ""
	for {
		var answer struct {
			Results []struct {
				ID, Email, Type, FirstName, LastName string
				UserID, UserIDIncludingInactive      json.Number
				CreatedAt, UpdatedAt                 time.Time
				Archived                             bool
				Teams                                json.RawMessage
			}
			Paging struct{ Next struct{ After string } }
		}
		url := fmt.Sprintf("%s/crm/v3/owners?limit=100&archived=%v&after=%s", baseURL, archived, after)
		if err := get(ctx, url, token, &answer); err != nil {
			return nil, err
		}
		for _, o := range answer.Results {
			r := Record{ID: o.ID, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt, Archived: o.Archived, Properties: map[string]string{}}
			for name, value := range map[string]string{
				"email": o.Email, "type": o.Type, "first_name": o.FirstName, "last_name": o.LastName,
				"user_id": o.UserID.String(), "user_id_including_inactive": o.UserIDIncludingInactive.String(), "teams": teams(o.Teams),
			} {
				if value != "" {
					r.Properties[name] = value
				}
			}
			records = append(records, r)
		}
		if after = answer.Paging.Next.After; after == "" {
			return records, nil
		}
	}
}

// teams returns the teams as compact JSON, "" if there are none.
func teams(raw json.RawMessage) string {
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil || compact.String() == "[]" || compact.String() == "null" {
		return ""
	}
	return compact.String()
}
