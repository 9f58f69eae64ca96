package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNewDatabaseIsEmptyWithSupabaseRoles(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	if n := query[int](t, url, `select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace
		where nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`); n != 0 {
		t.Errorf("%d relations in a new database", n)
	}
	if n := query[int](t, url, `select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')`); n != 3 {
		t.Errorf("%d of the 3 Supabase roles", n)
	}
	if n := query[int](t, url, `select count(*) from pg_publication where pubname = 'supabase_realtime'`); n != 1 {
		t.Error("no publication supabase_realtime")
	}
}

func TestDatabaseIsGoneAfterItsTestWhoeverIsConnected(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("user", func(t *testing.T) {
		url := pgtest.NewDatabase(t)
		conn, err := pgx.Connect(t.Context(), url) // still open when the test ends
		if err != nil {
			t.Fatal(err)
		}
		name = conn.Config().Database
		t.Cleanup(func() {})
	})
	other := pgtest.NewDatabase(t)
	if n := query[int](t, other, "select count(*) from pg_database where datname = '"+name+"'"); n != 0 {
		t.Errorf("database %s still exists", name)
	}
}

func TestEachMajorRunsOnItsVersion(t *testing.T) {
	t.Parallel()
	ran := 0
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		ran++
		major := query[int](t, url, "select current_setting('server_version_num')::int / 10000")
		t.Logf("PostgreSQL %d", major)
		if major < 15 {
			t.Errorf("PostgreSQL %d is below what is supported", major)
		}
	})
	if ran == 0 {
		t.Error("it ran on no version")
	}
}
