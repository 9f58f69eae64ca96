package proof

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// link is a row of the table links, between two object types.
type link struct {
	from, to int64
	category string
	typeID   int64
	label    string
}

func (l link) compare(other link) int {
	return cmp.Or(cmp.Compare(l.from, other.from), cmp.Compare(l.to, other.to), cmp.Compare(l.category, other.category), cmp.Compare(l.typeID, other.typeID))
}

// CompareLinks compares the table links with the simulator's ground truth, for every pair of the given object types. A
// link of a type in one direction counts as a record.
func CompareLinks(ctx context.Context, conn *pgx.Conn, schema, baseURL string, objects ...string) (Result, error) {
	result := Result{Object: "links"}
	for _, from := range objects {
		for _, to := range objects {
			if err := result.compareLinks(ctx, conn, schema, baseURL, from, to); err != nil {
				return result, fmt.Errorf("compare links of %s to %s: %w", from, to, err)
			}
		}
	}
	return result, nil
}

func (r *Result) compareLinks(ctx context.Context, conn *pgx.Conn, schema, baseURL, from, to string) error {
	want, err := trueLinks(ctx, baseURL, from, to)
	if err != nil {
		return err
	}
	have, err := storedLinks(ctx, conn, schema, from, to)
	if err != nil {
		return err
	}
	r.Source, r.Rows = r.Source+len(want), r.Rows+len(have)
	for len(want) > 0 || len(have) > 0 {
		order := 0
		switch {
		case len(have) == 0:
			order = -1
		case len(want) == 0:
			order = 1
		default:
			order = want[0].compare(have[0])
		}
		switch {
		case order < 0:
			r.Missing++
			r.example("link of %s %d to %s %d, type %d, is missing in the table", from, want[0].from, to, want[0].to, want[0].typeID)
			want = want[1:]
			continue
		case order > 0:
			r.Extra++
			r.example("link of %s %d to %s %d, type %d, is in the table only", from, have[0].from, to, have[0].to, have[0].typeID)
			have = have[1:]
			continue
		case want[0].label != have[0].label:
			r.Different++
			r.example("link of %s %d to %s %d, type %d, is labelled %q, the source says %q", from, have[0].from, to, have[0].to, have[0].typeID, have[0].label, want[0].label)
		default:
			r.Values++
		}
		want, have = want[1:], have[1:]
	}
	return nil
}

func trueLinks(ctx context.Context, baseURL, from, to string) ([]link, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+"/_control/truth/"+from+"/links/"+to, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var links []link
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var raw struct {
			ID, To string
			Types  []struct {
				Category, Label string
				TypeID          int64
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &raw); err != nil {
			return nil, err
		}
		a, errA := strconv.ParseInt(raw.ID, 10, 64)
		b, errB := strconv.ParseInt(raw.To, 10, 64)
		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}
		for _, t := range raw.Types {
			links = append(links, link{a, b, t.Category, t.TypeID, t.Label})
		}
	}
	slices.SortFunc(links, link.compare)
	return links, lines.Err()
}

func storedLinks(ctx context.Context, conn *pgx.Conn, schema, from, to string) ([]link, error) {
	rows, err := conn.Query(ctx, `select from_id, to_id, category, type_id, coalesce(label, '') from `+pgx.Identifier{schema, "links"}.Sanitize()+`
		where from_object = $1 and to_object = $2`, from, to)
	if err != nil {
		return nil, err
	}
	var links []link
	var l link
	_, err = pgx.ForEachRow(rows, []any{&l.from, &l.to, &l.category, &l.typeID, &l.label}, func() error {
		links = append(links, l)
		return nil
	})
	slices.SortFunc(links, link.compare)
	return links, err
}
