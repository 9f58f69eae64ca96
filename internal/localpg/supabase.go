package localpg

import (
	"context"
	"fmt"
)

// supabaseRoles are the roles behind Supabase's API, as Supabase creates them:
// nobody logs in as them, the API switches to them per request.
const supabaseRoles = `
do $$
begin
  if not exists (select from pg_roles where rolname = 'anon') then
    create role anon nologin noinherit;
  end if;
  if not exists (select from pg_roles where rolname = 'authenticated') then
    create role authenticated nologin noinherit;
  end if;
  if not exists (select from pg_roles where rolname = 'service_role') then
    create role service_role nologin noinherit bypassrls;
  end if;
exception
  -- Another connection was faster; roles belong to the whole cluster.
  when duplicate_object or unique_violation then null;
end
$$`

// supabaseDefaults live in a database, so they go into template1: every
// database created later has them.
const supabaseDefaults = `
do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
end
$$;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role`

// AddSupabaseRoles gives the cluster of dsn, and its databases created from now
// on, what a Supabase project has. Calling it again changes nothing.
func AddSupabaseRoles(ctx context.Context, dsn string) error {
	conn, err := connect(ctx, WithDatabase(dsn, "template1"))
	if err != nil {
		return fmt.Errorf("add supabase roles: %w", err)
	}
	defer closeConn(ctx, conn)
	// One transaction with one lock: parallel callers take turns.
	for _, statement := range []string{
		"begin",
		"select pg_advisory_xact_lock(hashtext('hubtail supabase roles'))",
		"set local client_min_messages = error", // wal_level below logical is fine here
		supabaseRoles,
		supabaseDefaults,
		"commit",
	} {
		if _, err := conn.PgConn().Exec(ctx, statement).ReadAll(); err != nil {
			return fmt.Errorf("add supabase roles: %w", err)
		}
	}
	return nil
}

// EnsureSupabaseRoles calls AddSupabaseRoles unless the roles exist. It keeps
// away from template1 then: a connection there holds up CREATE DATABASE.
func EnsureSupabaseRoles(ctx context.Context, dsn string) error {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	var there bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_roles where rolname = 'service_role')").Scan(&there); err != nil {
		return fmt.Errorf("look for supabase roles: %w", err)
	}
	if there {
		return nil
	}
	return AddSupabaseRoles(ctx, dsn)
}
