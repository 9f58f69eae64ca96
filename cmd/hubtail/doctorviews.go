package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// openRoles are those that strangers have on Supabase, each with all that it may as what it inherits.
const openRoles = `unnest(array['public', 'anon', 'authenticated'])`

// findOpenViews returns the views, of any schema, that open the tables of these schemas to strangers with their owner's rights,
// each with the roles that may read it. Postgres rule: row level security of a table does not hold for whom its owner's view is
// asked by, unless the view is made with security_invoker; a materialized view cannot be.
func findOpenViews(ctx context.Context, pool *pgxpool.Pool, schemas []string) ([]string, error) {
	rows, err := pool.Query(ctx, `with recursive reading(oid) as (
			select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = any($1) and c.relkind in ('r', 'p')
			union
			select w.ev_class from reading
			join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = reading.oid and d.classid = 'pg_rewrite'::regclass
			join pg_rewrite w on w.oid = d.objid)
		select n.nspname || '.' || c.relname || ' (' || string_agg(role, ', ' order by role) || ')'
		from reading join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace, `+openRoles+` as role
		where c.relkind in ('v', 'm')
		and not coalesce((select option_value::boolean from pg_options_to_table(c.reloptions) where option_name = 'security_invoker'), false)
		and case when role = 'public' or exists (select from pg_roles where rolname = role)
			then has_schema_privilege(role, n.oid, 'usage') and has_any_column_privilege(role, c.oid, 'select') else false end
		group by n.nspname, c.relname order by 1`, schemas)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// exposedTables returns the tables that `hubtail expose` opened, and of which the policies are the owner's own by its --policy.
func (d *doctor) exposedTables(ctx context.Context, pool *pgxpool.Pool) map[string]bool {
	tables := map[string]bool{}
	rows, err := pool.Query(ctx, `select coalesce(o.table_name, e.object), e.policy is null
		from `+d.table("exposed")+` e left join `+d.table("objects")+` o using (object)`)
	if err != nil {
		return tables // a schema from before there was such a table
	}
	var table string
	var own bool
	_, err = pgx.ForEachRow(rows, []any{&table, &own}, func() error { tables[table] = own; return nil })
	if err != nil {
		return map[string]bool{}
	}
	return tables
}
