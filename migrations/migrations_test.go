package migrations_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func connect(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func value[T any](t *testing.T, db *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func TestApplyMakesTheSchemaAndIsIdempotent(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		db := connect(t, url)
		for range 2 {
			if err := migrations.Apply(t.Context(), db, `odd "Schema`); err != nil {
				t.Fatal(err)
			}
		}
		all, err := migrations.All()
		if err != nil {
			t.Fatal(err)
		}
		if n := value[int](t, db, `select count(*) from "odd ""Schema".schema_migrations`); n != len(all) {
			t.Errorf("%d migrations are recorded, there are %d", n, len(all))
		}
		if path := value[string](t, db, `show search_path`); strings.Contains(path, "odd") {
			t.Errorf("search_path stayed %s", path)
		}
	})
}

func TestProcessesMayApplyAtOnce(t *testing.T) {
	t.Parallel()
	db := connect(t, pgtest.NewDatabase(t))
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return migrations.Apply(t.Context(), db, "hubspot") })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedMigrationLeavesNothing(t *testing.T) {
	t.Parallel()
	db := connect(t, pgtest.NewDatabase(t))
	if _, err := db.Exec(t.Context(), `create schema hubspot; create table hubspot.cursors ()`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Apply(t.Context(), db, "hubspot"); err == nil || !strings.Contains(err.Error(), "0001_") {
		t.Errorf("error %v", err)
	}
	if n := value[int](t, db, `select count(*) from pg_class where relnamespace = 'hubspot'::regnamespace and relkind = 'r'`); n != 1 {
		t.Errorf("%d tables are left", n)
	}
}

func TestChangedAndNewerMigrationsAreRefused(t *testing.T) {
	t.Parallel()
	db := connect(t, pgtest.NewDatabase(t))
	if err := migrations.Apply(t.Context(), db, "hubspot"); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `update hubspot.schema_migrations set sha256 = 'x' where version = 1`)
	if err := migrations.Apply(t.Context(), db, "hubspot"); !errors.Is(err, migrations.ErrChangedMigration) {
		t.Errorf("error %v", err)
	}
	exec(t, db, `insert into hubspot.schema_migrations values (9999, 'x', 'x')`)
	if err := migrations.Apply(t.Context(), db, "hubspot"); !errors.Is(err, migrations.ErrNewerSchema) {
		t.Errorf("error %v", err)
	}
}

func TestEveryTableIsClosed(t *testing.T) {
	t.Parallel()
	db := connect(t, pgtest.NewDatabase(t))
	if err := migrations.Apply(t.Context(), db, "hubspot"); err != nil {
		t.Fatal(err)
	}
	if open := value[string](t, db, `select coalesce(string_agg(relname, ' '), '') from pg_class
		where relnamespace = 'hubspot'::regnamespace and relkind = 'r' and not relrowsecurity`); open != "" {
		t.Errorf("without row level security: %s", open)
	}
	if granted := value[string](t, db, `select coalesce(string_agg(distinct grantee || ' on ' || table_name, ', '), '')
		from information_schema.role_table_grants where table_schema = 'hubspot' and grantee <> current_user`); granted != "" {
		t.Errorf("granted: %s", granted)
	}
	for _, role := range []string{"anon", "authenticated"} {
		if value[bool](t, db, `select has_schema_privilege($1, 'hubspot', 'usage')`, role) {
			t.Errorf("%s may use the schema", role)
		}
	}
}

func TestOwningTheSchemaSuffices(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	admin := connect(t, url)
	role := "hubtail_" + value[string](t, admin, `select md5(random()::text)`)
	exec(t, admin, `create role `+role+` nologin nosuperuser nocreaterole nocreatedb nobypassrls`)
	exec(t, admin, `create schema hubspot authorization `+role)
	exec(t, admin, `revoke create, temporary on database `+value[string](t, admin, `select quote_ident(current_database())`)+` from public`)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = admin.Exec(ctx, `drop schema hubspot cascade`)
		_, _ = admin.Exec(ctx, `drop role `+role)
	})
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `set role `+role)
		return err
	}
	db, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 2 {
		if err := migrations.Apply(t.Context(), db, "hubspot"); err != nil {
			t.Fatal(err)
		}
	}
	// Without even the right to create in its schema, nothing is left to do and nothing is tried.
	exec(t, admin, `alter schema hubspot owner to current_user`)
	exec(t, admin, `grant usage on schema hubspot to `+role)
	if err := migrations.Apply(t.Context(), db, "hubspot"); err != nil {
		t.Errorf("with nothing to apply: %v", err)
	}
}

func TestSetOwnerHandsEverythingOver(t *testing.T) {
	t.Parallel()
	db := connect(t, pgtest.NewDatabase(t))
	role := "Hubtail " + value[string](t, db, `select md5(random()::text)`)
	quoted := pgx.Identifier{role}.Sanitize()
	exec(t, db, `create role `+quoted+` nologin`)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = db.Exec(ctx, `drop owned by `+quoted)
		_, _ = db.Exec(ctx, `drop role `+quoted)
	})
	owners := func(schema string) string {
		return value[string](t, db, `select coalesce(string_agg(distinct owner, ' '), '') from (
			select pg_get_userbyid(nspowner) as owner from pg_namespace where nspname = $1
			union all select pg_get_userbyid(relowner) from pg_class where relnamespace = $1::regnamespace) as owned`, schema)
	}
	if may, err := migrations.SetOwner(t.Context(), db, "fresh", role); err != nil || !may || owners("fresh") != role {
		t.Errorf("a new schema is owned by %q, error %v", owners("fresh"), err)
	}
	if err := migrations.Apply(t.Context(), db, "hubspot"); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `create table hubspot.with_sequence (id bigserial)`)
	exec(t, db, `create sequence hubspot.alone`)
	exec(t, db, `create view hubspot.seen as select id from hubspot.with_sequence`)
	for range 2 {
		if _, err := migrations.SetOwner(t.Context(), db, "hubspot", role); err != nil || owners("hubspot") != role {
			t.Errorf("owned by %q, error %v", owners("hubspot"), err)
		}
	}
	if _, err := migrations.SetOwner(t.Context(), db, "hubspot", "nobody here"); err == nil || !strings.Contains(err.Error(), "nobody here") {
		t.Errorf("error %v", err)
	}
}

func TestFilesAreNumberedAndCommented(t *testing.T) {
	t.Parallel()
	all, err := migrations.All()
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	for _, m := range all {
		if !strings.HasPrefix(m.SQL, "-- ") {
			t.Errorf("%s does not begin with why", m.Name)
		}
	}
}

func exec(t *testing.T, db *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
