package sink

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/schemas"
)

// queueControl adds the statements for everything in the segment that is not a record. Everything up to position is in
// the tables once they are run.
func (a *Applier) queueControl(batch *pgconn.Batch, s *segment, position uint64) {
	if len(s.links) > 0 {
		queueLinks(batch, a.schema, s.links)
	}
	for _, object := range slices.Sorted(maps.Keys(s.pipelines)) {
		p := s.pipelines[object]
		queuePipelines(batch, a.schema, p.value, int64(p.seq))
	}
	for _, d := range s.dead {
		d.queue(batch, a.schema, a.stream)
	}
	for _, g := range s.groups {
		for _, d := range g.dead {
			d.queue(batch, a.schema, a.stream)
		}
	}
	queueErasures(batch, a.schema, s.groups)
	a.queueProgress(batch, s, position)
}

// queueCursor notes how far the source is. It is only for a cursor that the position has reached: what its watermark
// promises is in the tables.
func queueCursor(batch *pgconn.Batch, schema string, c *schemas.Cursor, seq int64) {
	var backfill []byte
	if c.Backfill != nil {
		backfill, _ = json.Marshal(c.Backfill) // plain fields always marshal
	}
	p := &params{}
	p.text(c.Object).time(c.CompleteThrough).time(c.PolledTo).time(c.BackfilledAt).json(cleanJSON(backfill))
	p.textOrNull(clean(c.Instance)).time(c.At).int8(seq)
	p.queue(batch, `insert into `+quote(schema, "cursors")+` as c
(object, complete_through, polled_to, backfilled_at, backfill, instance, at, _seq) values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (object) do update set complete_through = excluded.complete_through, polled_to = excluded.polled_to,
backfilled_at = excluded.backfilled_at, backfill = excluded.backfill, instance = excluded.instance, at = excluded.at, _seq = excluded._seq
where c._seq < excluded._seq`)
}

// queueRun adds a sync_logs row, once per run.
func queueRun(batch *pgconn.Batch, schema string, r *schemas.Run, seq int64) {
	p := &params{}
	p.text(clean(r.RunID)).text(r.Object).text(clean(r.SyncType)).time(r.StartedAt).time(r.CompletedAt)
	p.int8(r.Fetched).int8(r.Created).int8(r.Updated).int8(r.Unchanged).int8(r.Deleted).int8(r.Failed).int8(r.APICalls)
	p.text(r.Status).textOrNull(clean(r.Error)).int8(seq).time(r.CompleteThrough)
	p.queue(batch, `insert into `+quote(schema, "sync_logs")+` (run_id, object_type, sync_type, sync_started_at, sync_completed_at,
duration_seconds, records_fetched, records_created, records_updated, records_unchanged, records_deleted, records_failed,
api_calls, status, error_message, _seq, complete_through)
values ($1, $2, $3, $4, $5, extract(epoch from $5 - $4), $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
on conflict (run_id) do nothing`)
}

// queuePipelines replaces an object type's pipelines and stages. One that is gone from HubSpot stays, archived, because
// records may still name it.
func queuePipelines(batch *pgconn.Batch, schema string, p *schemas.Pipelines, seq int64) {
	type stage struct {
		PipelineID string `json:"pipeline_id"`
		schemas.Stage
	}
	pipelines, stages := []schemas.Pipeline{}, []stage{}
	for _, pipeline := range p.Pipelines {
		for _, s := range pipeline.Stages {
			stages = append(stages, stage{pipeline.ID, s})
		}
		pipeline.Stages = nil
		pipelines = append(pipelines, pipeline)
	}
	pipelineJSON, _ := json.Marshal(pipelines) // plain fields always marshal
	stageJSON, _ := json.Marshal(stages)

	(&params{}).text(p.Object).int8(seq).queue(batch,
		`update `+quote(schema, "objects")+` set pipelines_seq = $2 where object = $1 and pipelines_seq < $2`)
	current := `exists (select from ` + quote(schema, "objects") + ` where object = $1 and pipelines_seq = $2)`
	sql := strings.NewReplacer("{pipelines}", quote(schema, "pipelines"), "{stages}", quote(schema, "pipeline_stages"), "{current}", current)
	(&params{}).text(p.Object).int8(seq).json(cleanJSON(pipelineJSON)).queue(batch, sql.Replace(
		`insert into {pipelines} (object, id, label, display_order, archived, created_at, updated_at, _seq)
select $1, r.id, r.label, r.display_order, coalesce(r.archived, false), r.created_at, r.updated_at, $2
from jsonb_to_recordset($3) as r(id text, label text, display_order int, archived boolean, created_at timestamptz, updated_at timestamptz)
where {current}
on conflict (object, id) do update set label = excluded.label, display_order = excluded.display_order,
archived = excluded.archived, created_at = excluded.created_at, updated_at = excluded.updated_at, _seq = excluded._seq`))
	(&params{}).text(p.Object).int8(seq).json(cleanJSON(stageJSON)).queue(batch, sql.Replace(
		`insert into {stages} (object, pipeline_id, id, label, display_order, archived, metadata, created_at, updated_at, _seq)
select $1, r.pipeline_id, r.id, r.label, r.display_order, coalesce(r.archived, false), r.metadata, r.created_at, r.updated_at, $2
from jsonb_to_recordset($3) as r(pipeline_id text, id text, label text, display_order int, archived boolean, metadata jsonb,
created_at timestamptz, updated_at timestamptz)
where {current}
on conflict (object, pipeline_id, id) do update set label = excluded.label, display_order = excluded.display_order,
archived = excluded.archived, metadata = excluded.metadata, created_at = excluded.created_at, updated_at = excluded.updated_at, _seq = excluded._seq`))
	for _, table := range []string{"{pipelines}", "{stages}"} {
		(&params{}).text(p.Object).int8(seq).queue(batch, sql.Replace(
			`update `+table+` set archived = true, _seq = $2 where object = $1 and _seq < $2 and {current}`))
	}
}

// cleanJSON replaces what jsonb cannot hold in text that json.Marshal made.
func cleanJSON(text []byte) []byte {
	if text == nil {
		return nil
	}
	return []byte(strings.ReplaceAll(string(text), `\u0000`, `\ufffd`))
}

// checkLinks refuses ids that the table cannot hold.
func checkLinks(l *schemas.Links) error {
	if n, err := strconv.ParseInt(l.ID, 10, 64); err != nil || strconv.FormatInt(n, 10) != l.ID {
		return fmt.Errorf("record id %q is not a number", l.ID)
	}
	for _, link := range l.Links {
		if _, err := strconv.ParseInt(link.ID, 10, 64); err != nil {
			return fmt.Errorf("linked record id %q is not a number", link.ID)
		}
		if link.TypeID != int(int32(link.TypeID)) {
			return fmt.Errorf("association type %d is out of range", link.TypeID)
		}
	}
	return nil
}
