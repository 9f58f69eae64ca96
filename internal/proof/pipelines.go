package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

type apiPipeline struct {
	apiStage
	Stages []apiStage
}

type apiStage struct {
	ID, Label            string
	DisplayOrder         int
	Archived             bool
	CreatedAt, UpdatedAt time.Time
	Metadata             map[string]string
}

// state is what counts of a pipeline or stage, so that different ones have different texts.
func (s apiStage) state() string {
	return fmt.Sprintf("%q %d %v %q %s %s", s.Label, s.DisplayOrder, s.Archived, s.Metadata,
		s.CreatedAt.UTC().Format(time.RFC3339Nano), s.UpdatedAt.UTC().Format(time.RFC3339Nano))
}

// ComparePipelines compares the pipelines and stages of an object type with HubSpot's API. A pipeline counts as a record
// and so does a stage; ones archived in the tables that HubSpot no longer answers are history, not a difference.
func ComparePipelines(ctx context.Context, conn *pgx.Conn, schema, object, baseURL, token string) (Result, error) {
	result := Result{Object: object + " pipelines"}
	var answer struct{ Results []apiPipeline }
	if err := get(ctx, baseURL+"/crm/v3/pipelines/"+object, token, &answer); err != nil {
		return result, fmt.Errorf("read pipelines of %s: %w", object, err)
	}
	want := map[string]string{}
	for _, p := range answer.Results {
		want[p.ID] = p.state()
		for _, s := range p.Stages {
			want[p.ID+"/"+s.ID] = s.state()
		}
	}
	have, err := storedPipelines(ctx, conn, schema, object)
	if err != nil {
		return result, fmt.Errorf("read pipelines of %s: %w", object, err)
	}
	result.Source, result.Rows = len(want), len(have)
	for id, state := range want {
		switch stored, ok := have[id]; {
		case !ok:
			result.Missing++
			result.example("pipeline or stage %s is missing in the table", id)
		case stored.state != state:
			result.Different++
			result.example("pipeline or stage %s is %s, HubSpot says %s", id, stored.state, state)
		default:
			result.Values++
		}
		delete(have, id)
	}
	maps.DeleteFunc(have, func(_ string, p storedPipeline) bool { return p.archived })
	result.Extra = len(have)
	for _, id := range slices.Sorted(maps.Keys(have)) {
		result.example("pipeline or stage %s is in the table only", id)
	}
	return result, nil
}

type storedPipeline struct {
	state    string
	archived bool
}

func storedPipelines(ctx context.Context, conn *pgx.Conn, schema, object string) (map[string]storedPipeline, error) {
	table := func(name string) string { return pgx.Identifier{schema, name}.Sanitize() }
	rows, err := conn.Query(ctx, "select id, label, display_order, archived, created_at, updated_at, null from "+table("pipelines")+" where object = $1 "+
		"union all select pipeline_id || '/' || id, label, display_order, archived, created_at, updated_at, metadata::text from "+table("pipeline_stages")+" where object = $1", object)
	if err != nil {
		return nil, err
	}
	have := map[string]storedPipeline{}
	var s apiStage
	var created, updated *time.Time
	var metadata *string
	_, err = pgx.ForEachRow(rows, []any{&s.ID, &s.Label, &s.DisplayOrder, &s.Archived, &created, &updated, &metadata}, func() error {
		s.CreatedAt, s.UpdatedAt, s.Metadata = orZero(created), orZero(updated), nil
		if metadata != nil {
			if err := json.Unmarshal([]byte(*metadata), &s.Metadata); err != nil {
				return err
			}
		}
		have[s.ID] = storedPipeline{s.state(), s.Archived}
		return nil
	})
	return have, err
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
