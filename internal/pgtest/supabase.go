package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Supabase is a database with what matters of a Supabase project: an administrator who is no superuser but owns the
// database and the publication, and schemas of Supabase's own that nobody else has business in. Roles belong to the
// cluster, so that they have names of their own here.
type Supabase struct {
	Admin     string // URL of the administrator, postgres on Supabase
	Superuser string // URL of the superuser, whom nobody has on Supabase
	AdminRole string

	t     testing.TB
	roles []string
}

// NewSupabase returns a fresh project.
func NewSupabase(t testing.TB) *Supabase {
	t.Helper()
	return supabaseOn(t, NewDatabase(t))
}

// EachSupabase runs test as a subtest on each version of Majors, with a fresh project.
func EachSupabase(t *testing.T, test func(t *testing.T, s *Supabase)) {
	t.Helper()
	EachMajor(t, func(t *testing.T, url string) { test(t, supabaseOn(t, url)) })
}

func supabaseOn(t testing.TB, database string) *Supabase {
	t.Helper()
	s := &Supabase{Superuser: database, t: t}
	t.Cleanup(s.dropRoles) // before the database goes, and after the connections of the test
	s.AdminRole = s.Role("admin")
	s.Admin = s.As(s.AdminRole, "password")
	s.Exec(`create role ` + s.AdminRole + ` login password 'password' nosuperuser createdb createrole replication bypassrls;
		alter database ` + pgx.Identifier{s.database()}.Sanitize() + ` owner to ` + s.AdminRole + `;
		alter publication supabase_realtime owner to ` + s.AdminRole + `;
		grant anon, authenticated, service_role to ` + s.AdminRole + ` with admin option;
		create schema auth; create table auth.users (id int, email text); create schema storage; create table storage.objects (id int);
		create function auth.jwt() returns jsonb language sql stable as $$ select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb $$;
		grant usage on schema auth to anon, authenticated, service_role;
		alter default privileges for role ` + s.AdminRole + ` in schema public grant all on tables to anon, authenticated, service_role;
		create table public.profiles (id int)`)
	return s
}

// Role returns a name that no other test uses, for a role that is dropped when the test ends.
func (s *Supabase) Role(name string) string {
	role := "hubtail_" + name + "_" + strings.ToLower(rand.Text()[:10])
	s.roles = append(s.roles, role)
	return role
}

// As returns the database's address for another role.
func (s *Supabase) As(role, password string) string {
	u, err := url.Parse(s.Superuser)
	if err != nil {
		s.t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// Exec runs SQL as the superuser.
func (s *Supabase) Exec(sql string) {
	s.t.Helper()
	if err := s.exec(s.Superuser, sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// Console runs SQL as the administrator, as Supabase's SQL editor does.
func (s *Supabase) Console(sql string) {
	s.t.Helper()
	if err := s.exec(s.Admin, sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

func (s *Supabase) exec(database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

func (s *Supabase) database() string {
	cfg, err := pgx.ParseConfig(s.Superuser)
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg.Database
}

func (s *Supabase) dropRoles() {
	for _, role := range slices.Backward(s.roles) { // a role is dropped before the one that granted it
		quoted := pgx.Identifier{role}.Sanitize()
		err := s.exec(s.Superuser, fmt.Sprintf(`do $$ begin
			if exists (select from pg_roles where rolname = '%s') then
				execute 'reassign owned by %s to current_user';
				execute 'drop owned by %[2]s';
			end if;
		end $$`, role, quoted))
		if err == nil {
			err = s.exec(s.Superuser, `drop role if exists `+quoted)
		}
		if err != nil {
			s.t.Errorf("drop role %s: %v", role, err)
		}
	}
}
