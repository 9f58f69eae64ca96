package sink

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// readerTables are the static tables that a reader may read, beside the tables of records. The others hold what was not
// applied or is of use to nobody but the sink.
var readerTables = []string{"objects", "properties", "links", "link_sets", "pipelines", "pipeline_stages", "cursors", "sync_logs"}

// AddReader lets a role read the tables of records, those of object types that come later too, links, pipelines, properties,
// watermarks and runs, and change nothing. `grant ROLE to current_user; drop owned by ROLE` takes it back.
func AddReader(ctx context.Context, pool *pgxpool.Pool, schema, role string) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		return execAll(ctx, tx, ddlTimeouts, ReaderSQL(schema, role))
	})
	if err != nil {
		return fmt.Errorf("let %s read schema %s: %w", role, schema, err)
	}
	return nil
}

// ReaderSQL returns what AddReader does as one statement for a console that runs SQL. The role must exist, and the schema be
// migrated.
func ReaderSQL(schema, role string) string {
	static := make([]string, len(readerTables))
	for i, name := range readerTables {
		static[i] = plain(name)
	}
	return strings.NewReplacer("{schema}", plain(schema), "{role}", plain(role), "{policy}", plain(readerPolicy(role)),
		"{static}", strings.Join(static, ", ")).Replace(readerSQL)
}

const readerSQL = `do $hubtail$
declare
  hub  constant text := {schema};
  eyes constant name := {role};
  name text;
begin
  execute format('grant usage on schema %I to %I', hub, eyes);
  execute format('insert into %I.readers values (%L) on conflict do nothing', hub, eyes);
  for name in execute format('select table_name from %I.objects union all select unnest($1)', hub) using array[{static}] loop
    continue when to_regclass(format('%I.%I', hub, name)) is null;
    execute format('grant select on %I.%I to %I', hub, name, eyes);
    if not exists (select from pg_policy where polrelid = to_regclass(format('%I.%I', hub, name)) and polname = {policy}) then
      execute format('create policy %I on %I.%I for select to %I using (true)', {policy}, hub, name, eyes);
    end if;
  end loop;
end
$hubtail$;
`

// plain returns text as a string constant inside of a dollar-quoted body.
func plain(text string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(clean(text), "$hubtail$", ""), "'", "''") + "'"
}

// readerPolicy is the name of the policy that shows a reader all rows.
func readerPolicy(role string) string { return cutName("hubtail_reader_"+role, maxName) }

// openToReaders lets the readers read a new table.
func (a *Applier) openToReaders(ctx context.Context, tx pgx.Tx, table string) error {
	rows, err := tx.Query(ctx, `select role from `+quote(a.schema, "readers")+` join pg_roles on rolname = role order by 1`)
	if err != nil {
		return fmt.Errorf("look for readers: %w", err)
	}
	readers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for readers: %w", err)
	}
	for _, role := range readers {
		t := quote(a.schema, table)
		err := execAll(ctx, tx, fmt.Sprintf("grant select on %s to %s", t, quote(role)),
			fmt.Sprintf("create policy %s on %s for select to %s using (true)", quote(readerPolicy(role)), t, quote(role)))
		if err != nil {
			return fmt.Errorf("let %s read %s: %w", role, table, err)
		}
	}
	return nil
}
