package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/migrations"
)

// checkRights looks at what the role may do in its schema, and whether it may more than it needs.
func checkRights(ctx context.Context, d *doctor, f *findings) {
	pool, err := d.pool()
	if err != nil {
		return
	}
	var role, owner string
	var exists, owns, creates, super, createsSchemas bool
	err = pool.QueryRow(ctx, `select current_user, n.oid is not null, coalesce(pg_get_userbyid(n.nspowner), ''),
			coalesce(pg_has_role(n.nspowner, 'usage'), false), coalesce(has_schema_privilege(n.oid, 'create'), false),
			r.rolsuper, has_database_privilege(current_database(), 'create')
		from pg_roles r left join pg_namespace n on n.nspname = $1 where r.rolname = current_user`, d.schema).
		Scan(&role, &exists, &owner, &owns, &creates, &super, &createsSchemas)
	if err != nil {
		f.unanswered("rights", err)
		return
	}
	administrator := fmt.Sprintf("as an administrator: `hubtail migrate --owner %s`, or run what `hubtail migrate --owner %[1]s --print` prints", role)
	switch {
	case !exists && createsSchemas:
		f.ok("%s may create schema %s, which is not there yet", role, d.schema)
	case !exists:
		f.fail(fmt.Sprintf("there is no schema %s, and %s may not create it", d.schema, role), "the sink cannot start", administrator)
	case owns && creates:
		f.ok("%s owns schema %s", role, d.schema)
		if !createsSchemas {
			f.none("%s may not create schemas: for `hubtail rebuild` an administrator makes %s_rebuild, or runs `hubtail migrate --owner %[1]s`", role, d.schema)
		}
	default:
		f.fail(fmt.Sprintf("schema %s belongs to %s, not to %s", d.schema, owner, role),
			"the sink adds columns and tables as HubSpot gets new properties and types: it needs to own them", administrator)
	}
	if exists {
		checkTableOwners(ctx, pool, d, f, role)
	}
	if super {
		f.warn(role+" is a superuser", "the sink needs to own one schema and no more; who gets hold of this URL has everything",
			"make a role of its own: `hubtail migrate --owner ROLE --print` prints the SQL")
	}
}

// checkTableOwners finds tables that somebody else made or took over: the sink cannot change those.
func checkTableOwners(ctx context.Context, pool *pgxpool.Pool, d *doctor, f *findings, role string) {
	var foreign []string
	err := pool.QueryRow(ctx, `select coalesce(array_agg(c.relname::text || ' (' || pg_get_userbyid(c.relowner) || ')' order by 1), '{}')
		from pg_class c where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'p') and not pg_has_role(c.relowner, 'usage')
		and (c.relname = any($2) or exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = '_seq'))`,
		pgx.Identifier{d.schema}.Sanitize(), []string{"objects", "cursors", "positions", "installation", "schema_migrations"}).Scan(&foreign)
	if err == nil && len(foreign) > 0 {
		f.fail("tables of others: "+strings.Join(foreign[:min(5, len(foreign))], ", "), "the sink cannot add columns to tables that it does not own",
			"as an administrator: `hubtail migrate --owner "+role+"`")
	}
}

// checkMigrations compares the schema with the one that this program knows.
func checkMigrations(ctx context.Context, d *doctor, f *findings) {
	pool, err := d.pool()
	if err != nil {
		return
	}
	all, err := migrations.All()
	if err != nil {
		return
	}
	applied := map[int]string{}
	rows, err := pool.Query(ctx, "select version, sha256 from "+d.table("schema_migrations"))
	var version int
	var sum string
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&version, &sum}, func() error { applied[version] = sum; return nil })
	}
	switch codeOf(err) {
	case "42P01", "3F000":
		f.none("schema %s has no hubtail tables yet: the sink makes them when it starts, `hubtail migrate` now", d.schema)
		return
	case codeNoRight:
		f.fail("this role may not read "+d.schema+".schema_migrations", "it is not the sink's role", "connect as the owner of the schema")
		return
	}
	if err != nil {
		f.unanswered("version of the schema", err)
		return
	}
	judgeMigrations(f, all, applied, d.schema)
}

func judgeMigrations(f *findings, all []migrations.Migration, applied map[int]string, schema string) {
	var missing, changed []string
	for _, m := range all {
		switch sum, ok := applied[m.Version]; {
		case !ok:
			missing = append(missing, m.Name)
		case sum != m.SHA256:
			changed = append(changed, m.Name)
		}
		delete(applied, m.Version)
	}
	newest := all[len(all)-1].Version
	for version := range applied {
		if version > newest {
			f.fail(fmt.Sprintf("schema %s is at version %d, this hubtail knows %d", schema, version, newest),
				"a newer hubtail has migrated it: this one refuses to write", "upgrade this hubtail")
			return
		}
	}
	switch {
	case len(changed) > 0:
		f.fail("applied from other content: "+strings.Join(changed, ", "), "the tables may not be what this program expects: the sink refuses them",
			"use a released hubtail, or a new schema: --schema NAME")
	case len(missing) > 0:
		f.warn("not applied yet: "+strings.Join(missing, ", "), "other sinks of this version apply them when they start", "`hubtail migrate`, or start the sink")
	default:
		f.ok("version %d, as this program wants it", newest)
	}
}

// checkClosed looks for tables that Supabase's public API, or anybody, could read without the owner's will.
func checkClosed(ctx context.Context, d *doctor, f *findings) {
	pool, err := d.pool()
	if err != nil {
		return
	}
	schemas, exposing := d.schemas(ctx, pool), d.exposedTables(ctx, pool)
	views, err := findOpenViews(ctx, pool, schemas)
	if err != nil {
		f.unanswered("views of the tables", err)
		return
	}
	rows, err := pool.Query(ctx, `select n.nspname::text, c.relname::text, c.relrowsecurity,
			array(select role from `+openRoles+` as role where case when role = 'public' or exists (select from pg_roles where rolname = role)
				then has_any_column_privilege(role, c.oid, 'select, insert, update') or has_table_privilege(role, c.oid, 'delete') else false end
				order by role),
			array(select p.polname::text from pg_policy p where p.polrelid = c.oid
				and (0 = any(p.polroles) or p.polroles && array(select oid from pg_roles where rolname in ('anon', 'authenticated'))))
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p') and n.nspname = any($1) order by 1, 2`, schemas)
	if err != nil {
		f.unanswered("row level security", err)
		return
	}
	var schema, table string
	var secured bool
	var granted, policies []string
	var open, naked, exposed, foreign []string
	tables := 0
	_, err = pgx.ForEachRow(rows, []any{&schema, &table, &secured, &granted, &policies}, func() error {
		tables++
		name := schema + "." + table
		switch {
		case !secured && len(granted) > 0:
			open = append(open, name+" ("+strings.Join(granted, ", ")+")")
		case !secured:
			naked = append(naked, name)
		case len(policies) > 0 && len(granted) > 0:
			own, ours := exposing[table]
			if ours && (own || len(policies) == 1 && policies[0] == "hubtail_expose") {
				exposed = append(exposed, name)
			} else {
				foreign = append(foreign, name+" ("+strings.Join(granted, ", ")+")")
			}
		}
		return nil
	})
	if err != nil || tables == 0 {
		return
	}
	some := func(list []string) string {
		if len(list) > 5 {
			return fmt.Sprintf("%s and %d more", strings.Join(list[:5], ", "), len(list)-5)
		}
		return strings.Join(list, ", ")
	}
	enable := func(list []string) string {
		name, _, _ := strings.Cut(list[0], " ")
		return "alter table " + name + " enable row level security; (each of them)"
	}
	if len(open) > 0 {
		f.fail("readable without row level security: "+some(open), "on Supabase anybody with the public anon key reads them, if the schema is exposed", enable(open)+"; revoke all on them from public, anon, authenticated")
	}
	if len(naked) > 0 {
		f.warn("without row level security: "+some(naked), "a grant to anon or authenticated, by hand or by default privileges, would open them whole", enable(naked))
	}
	if len(views) > 0 {
		name, _, _ := strings.Cut(views[0], " (")
		f.fail("views that read the tables with their owner's rights: "+some(views), "row level security does not hold in them: on Supabase anybody with the public anon key reads them, if their schema is exposed",
			"alter view "+name+" set (security_invoker = on); or revoke all on "+name+" from public, anon, authenticated; (each of them; a materialized view can only be revoked)")
	}
	if len(foreign) > 0 {
		f.warn("opened by policies that `hubtail expose` did not make: "+some(foreign), "they show what their conditions say, all rows where that is true",
			"look at them in pg_policies; `hubtail expose` opens a table so that it is known, and closed again as a whole")
	}
	if len(open)+len(naked)+len(views)+len(foreign) == 0 {
		text := ""
		if len(exposed) > 0 {
			text = "; opened by policies: " + some(exposed)
		}
		f.ok("row level security is on for all %d tables%s", tables, text)
	}
}

// schemas are ours and those of copies that were filled from the same log.
func (d *doctor) schemas(ctx context.Context, pool *pgxpool.Pool) []string {
	all := []string{d.schema}
	rows, err := pool.Query(ctx, "select schema_name from "+d.table("copies"))
	if err != nil {
		return all
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return all // there is no such table yet
	}
	return append(all, names...)
}
