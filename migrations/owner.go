package migrations

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// SetOwner makes role the owner of the schema, which it creates for that role if need be, and of every table, view and
// sequence in it, and in the schemas that hubtail made beside it (copies of a rebuild, views for Supabase's Data API): an
// administrator prepares what a role with no other rights then runs on. Once done, it changes nothing.
//
// The role may create schemas afterwards, which a rebuild does; mayCreate is false if this one had no right to grant that.
func SetOwner(ctx context.Context, db Beginner, schema, role string) (mayCreate bool, err error) {
	tx, err := db.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit this is a no-op, after an error the error says more
	if _, err := tx.Conn().PgConn().Exec(ctx, OwnerSQL(schema, role)).ReadAll(); err != nil {
		return false, fmt.Errorf("make %s the owner of schema %s: %w", role, schema, err)
	}
	if err := tx.QueryRow(ctx, `select has_database_privilege($1, current_database(), 'create')`, role).Scan(&mayCreate); err != nil {
		return false, err
	}
	return mayCreate, tx.Commit(ctx)
}

// OwnerSQL returns what SetOwner does as one statement for a console that runs SQL. The role must exist.
func OwnerSQL(schema, role string) string {
	return strings.NewReplacer("{schema}", literal(schema), "{role}", literal(role)).Replace(ownerSQL)
}

// A sequence that belongs to a column follows its table.
const ownerSQL = `do $hubtail$
declare
  hub  constant text := {schema};
  hand constant name := {role};
  spaces name[] := array[hub::name];
  found name[];
  space name;
  r record;
begin
  if to_regnamespace(quote_ident(hub)) is null then
    execute format('create schema %I authorization %I', hub, hand);
  end if;
  if to_regclass(format('%I.copies', hub)) is not null then
    execute format('select array_agg(schema_name::name) from %I.copies', hub) into found;
    spaces := spaces || coalesce(found, array[]::name[]);
  end if;
  if to_regclass(format('%I.exposed', hub)) is not null then
    execute format('select array_agg(distinct api_schema::name) from %I.exposed where made ? ''schema''', hub) into found;
    spaces := spaces || coalesce(found, array[]::name[]);
  end if;
  foreach space in array spaces loop
    continue when to_regnamespace(quote_ident(space)) is null;
    if (select pg_get_userbyid(nspowner) from pg_namespace where nspname = space) <> hand then
      execute format('alter schema %I owner to %I', space, hand);
    end if;
    for r in
      select c.relname, case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end as kind
      from pg_class c where c.relnamespace = to_regnamespace(quote_ident(space)) and c.relkind in ('r', 'p', 'v', 'm', 'S')
        and pg_get_userbyid(c.relowner) <> hand
        and not (c.relkind = 'S' and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')))
      order by c.oid
    loop
      execute format('alter %s %I.%I owner to %I', r.kind, space, r.relname, hand);
    end loop;
  end loop;
  if not has_database_privilege(hand, current_database(), 'create') then
    begin
      execute format('grant create on database %I to %I', current_database(), hand);
    exception when insufficient_privilege then
      raise notice '% may not create schemas, which hubtail rebuild needs', hand;
    end;
  end if;
end
$hubtail$;
`

// RoleSQL returns a statement that creates a role that may log in, unless it exists, and, if member is set, makes whoever
// runs it a member of it, who may then administrate what the role owns: Supabase's postgres is no superuser.
func RoleSQL(role, password string, connections int, member bool) string {
	membership := ""
	if member {
		membership = roleMemberSQL
	}
	return strings.NewReplacer("{role}", literal(role), "{password}", literal(password), "{connections}", strconv.Itoa(connections)).Replace(
		roleSQL + membership + "end\n$hubtail$;\n")
}

const roleSQL = `do $hubtail$
begin
  if not exists (select from pg_roles where rolname = {role}) then
    execute format('create role %I login password %L connection limit {connections}', {role}, {password});
  end if;
`

const roleMemberSQL = `  if current_user <> {role} and not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('grant %I to %I', {role}, current_user);
  end if;
`

// literal returns text as a string constant inside of a dollar-quoted body.
func literal(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\x00", ""), "$hubtail$", "")
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}
