// Package pgtest gives tests a real PostgreSQL: one cluster per test run, one
// fresh database per test, so that all tests run in parallel.
//
// `make test` starts PostgreSQL 17 and 15 once for all packages (see command
// internal/cmd/withpg) and says so in the environment. A plain `go test` of one
// package starts its own on first use.
//
// Promises:
//   - a new database is empty but for what every Supabase project has (roles
//     anon, authenticated, service_role, publication supabase_realtime), and is
//     gone after the test, whoever is still connected
//     (TestNewDatabaseIsEmptyWithSupabaseRoles,
//     TestDatabaseIsGoneAfterItsTestWhoeverIsConnected);
//   - no PostgreSQL means a failure with the ways to get one, never a skip;
//   - clusters started here are stopped by Main before the process ends, and
//     goroutines that tests leave behind fail the package;
//   - DATABASE_URL is never used: it may be somebody's real database.
//
// NewSupabase gives a database with an administrator who is no superuser, as a
// Supabase project has it, and StartPooler a PgBouncer before a database.
//
// A package that uses it has:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
package pgtest
