package sink

import (
	"context"
	"fmt"
	"strings"
)

// staticRefusedSQL describes which static tables of the schema $4 have something of the owner's on them, and dead letters because
// of it. (The migrations put no constraint but the key on them, and no trigger.) Of some object types only pipelines are made.
const staticRefusedSQL = `select coalesce(array_agg(distinct format('%s (%s)', t.name, d.reason)), '{}')
	from (values ('_pipelines', 'pipelines'), ('_pipelines', 'pipeline_stages'), ('_cursor', 'cursors'), ('_run', 'sync_logs')) t(kind, name),
	lateral (select to_regclass(quote_ident($4) || '.' || t.name) as oid) c, {letters} d
	where split_part(d.subject, '.', 3) = t.kind and d.stream = $1 and d.origin = 'sink' and d.sqlstate is not null
	and ($2 or t.kind = '_pipelines' and d.object = any($3))
	and (exists (select from pg_constraint k where k.conrelid = c.oid and k.contype in ('c', 'u', 'f', 'x'))
	or exists (select from pg_index i where i.indrelid = c.oid and i.indisunique and not i.indisprimary)
	or exists (select from pg_trigger g where g.tgrelid = c.oid and not g.tgisinternal and g.tgenabled <> 'D'))`

// noStaticRefused refuses a rebuild that could not end: rows of the static tables come at the swap, all or none.
func (r *rebuilding) noStaticRefused(ctx context.Context) error {
	if !r.sameLog {
		return nil
	}
	var refused []string
	err := r.pool.QueryRow(ctx, strings.ReplaceAll(staticRefusedSQL, "{letters}", quote(r.live, "dead_letters")), r.a.stream, r.whole(), r.objects, r.live).Scan(&refused)
	if err != nil {
		return fmt.Errorf("look for what the static tables refused: %w", err)
	}
	if len(refused) > 0 {
		return fmt.Errorf("what is on these tables refuses messages that the log has, and would refuse the tables that a rebuild makes of it: %s: see to that, then run `hubtail dead-letters redrive`, then this again",
			joinShort(refused))
	}
	return nil
}
