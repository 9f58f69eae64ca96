package sink_test

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

type sinkMessage = sink.Message

func links(t *testing.T, seq uint64, from, to string, set ...schemas.Link) sink.Message {
	return control(t, seq, &schemas.Links{Portal: portal, From: "contacts", ID: from, To: to, Links: set})
}

func TestASetOfLinksIsReplacedWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	have := `select coalesce(string_agg(concat_ws('/', from_id, to_object, to_id, type_id, label), ' ' order by 1, from_id, to_object, to_id, type_id), '') from hubspot.links`
	one, two := schemas.Link{ID: "10", Category: "HUBSPOT_DEFINED", TypeID: 1, Label: "Primary"}, schemas.Link{ID: "11", Category: "HUBSPOT_DEFINED", TypeID: 279}
	also := schemas.Link{ID: "10", Category: "HUBSPOT_DEFINED", TypeID: 279}
	b.apply(links(t, 1, "1", "companies", one, also, two, two), links(t, 2, "1", "deals", two), links(t, 3, "2", "companies", one))
	b.want("1/companies/10/1/Primary 1/companies/10/279 1/companies/11/279 1/deals/11/279 2/companies/10/1/Primary", have)
	kept := b.value(`select xmin from hubspot.links where from_id = 1 and to_id = 11 and to_object = 'companies'`)
	one.Label = "Other"
	b.apply(links(t, 4, "1", "companies", one, two))
	b.want("1/companies/10/1/Other 1/companies/11/279 1/deals/11/279 2/companies/10/1/Primary", have)
	b.want(kept, `select xmin from hubspot.links where from_id = 1 and to_id = 11 and to_object = 'companies'`)
	b.apply(links(t, 6, "1", "companies"), links(t, 7, "9", "deals"))
	b.apply(links(t, 5, "1", "companies", one, two))
	b.want("1/deals/11/279 2/companies/10/1/Primary", have)
	b.apply(links(t, 8, "x", "companies", one), links(t, 9, "1", "companies", schemas.Link{ID: "y"}))
	b.want("2", `select count(*) from hubspot.dead_letters`)
}

func TestPipelinesAreReplacedAndGoneOnesArchived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stage := func(id, label string) schemas.Stage {
		return schemas.Stage{ID: id, Label: label, Metadata: map[string]string{"isClosed": "false"}, UpdatedAt: time.UnixMilli(1_700_000_000_000)}
	}
	pipelines := func(seq uint64, p ...schemas.Pipeline) sink.Message {
		return control(t, seq, &schemas.Pipelines{Portal: portal, Object: "deals", Pipelines: p})
	}
	b.apply(pipelines(1, schemas.Pipeline{ID: "default", Label: "Sales", Stages: []schemas.Stage{stage("1", "New"), stage("2", "Won")}}, schemas.Pipeline{ID: "x", Label: "Old\x00"}))
	b.apply(pipelines(3, schemas.Pipeline{ID: "default", Label: "Sales!", DisplayOrder: 2, Stages: []schemas.Stage{stage("1", "Fresh")}}))
	b.apply(pipelines(2, schemas.Pipeline{ID: "default", Label: "late"}))
	b.want("default Sales! 2 f, x Old\uFFFD 0 t", `select string_agg(concat_ws(' ', id, label, display_order, archived), ', ' order by id) from hubspot.pipelines where object = 'deals'`)
	b.want("1 Fresh f false, 2 Won t false", `select string_agg(concat_ws(' ', id, label, archived, metadata ->> 'isClosed'), ', ' order by id) from hubspot.pipeline_stages`)
}

func TestARunBecomesOneSyncLogsRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	run := control(t, 1, &schemas.Run{
		RunID: "r1", Portal: portal, Object: "contacts", SyncType: "full", Status: "partial", StartedAt: start, CompletedAt: start.Add(1500 * time.Millisecond),
		Counts: schemas.Counts{Fetched: 10, Created: 1, Updated: 2, Unchanged: 6, Deleted: 0, Failed: 1, APICalls: 3}, Error: "one failed",
	})
	b.apply(run)
	b.apply(run)
	b.want("contacts full 1.500 10 1 2 6 0 1 3 partial one failed", `select concat_ws(' ', object_type, sync_type, duration_seconds, records_fetched, records_created, records_updated,
		records_unchanged, records_deleted, records_failed, api_calls, status, error_message) from hubspot.sync_logs`)
	// The old scripts' monitoring queries, as they are.
	for _, old := range []string{
		`SELECT * FROM sync_logs ORDER BY sync_started_at DESC LIMIT 10;`,
		`SELECT object_type, COUNT(*), AVG(duration_seconds), SUM(records_updated), SUM(records_failed) FROM sync_logs GROUP BY object_type;`,
		`SELECT * FROM sync_logs WHERE status != 'success';`,
	} {
		conn, err := b.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `set search_path = hubspot`); err != nil {
			t.Fatal(err)
		}
		if tag, err := conn.Exec(t.Context(), old); err != nil || tag.RowsAffected() != 1 {
			t.Errorf("%s: %v, %v", old, tag, err)
		}
		conn.Release()
	}
	b.apply(control(t, 2, &schemas.Run{
		RunID: "r2", Portal: portal, Object: "contacts", SyncType: "incremental", Status: "success", StartedAt: start, CompletedAt: start.Add(time.Minute),
		CompleteThrough: start.Add(-time.Minute),
	}))
	b.want("r1  r2 2025-12-31 23:59:00", `select string_agg(concat(run_id, ' ', complete_through at time zone 'UTC'), ' ' order by run_id) from hubspot.sync_logs`)
}

func TestAWatermarkIsVisibleWithTheRowsItPromises(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cursor := func(seq uint64, through time.Time, backfill *schemas.Backfill) sink.Message {
		return control(t, seq, &schemas.Cursor{Portal: portal, Object: "contacts", Instance: "i", At: at, CompleteThrough: through, Backfill: backfill})
	}
	b.apply(event("contacts", 1, 1, nil), cursor(2, time.Time{}, &schemas.Backfill{RunID: "r", Ranges: []schemas.Range{{From: 0, To: 5}}, Total: 7}))
	b.want("7", `select backfill ->> 'total' from hubspot.cursors where complete_through is null`)
	b.apply(event("contacts", 2, 3, nil), cursor(4, at, nil))
	b.apply(cursor(3, at.Add(-time.Hour), nil))
	b.want("2026-01-01 00:00:00 4", `select concat(complete_through at time zone 'UTC', ' ', _seq) from hubspot.cursors where backfill is null`)
}
