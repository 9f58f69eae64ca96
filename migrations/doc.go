// Package migrations holds the static tables of hubtail's schema as plain SQL files, embedded, and the runner that
// applies them.
//
// A file is NNNN_name.sql, with a number that no other has, never changed once released and never undone: the way back is
// a new file. A number that was never used leaves a gap, which means nothing. A file names no schema: the runner sets
// search_path for its transaction, so that the schema is a setting. The tables of HubSpot's object types are not here: the
// sink creates them from the property definitions in the log.
//
// Promises:
//
//   - Apply is idempotent, and safe to call from several processes at once: a transaction-level advisory lock, which also
//     works through a transaction pooler, lets one of them work (TestApplyMakesTheSchemaAndIsIdempotent,
//     TestProcessesMayApplyAtOnce).
//   - A file is applied in one transaction together with its entry in schema_migrations: all of it or nothing
//     (TestAFailedMigrationLeavesNothing).
//   - A file that differs from what was applied under its number is refused, by its SHA-256
//     (TestChangedAndNewerMigrationsAreRefused).
//   - A database that a newer hubtail has migrated is refused, not guessed at (TestChangedAndNewerMigrationsAreRefused).
//   - Row level security is on for every table, without a policy, and nothing is granted to public, anon or
//     authenticated: Supabase's Data API shows nothing until the owner says so (TestEveryTableIsClosed).
//   - A role that owns the schema (and nothing else) suffices; when nothing is left to apply, no DDL is sent
//     (TestOwningTheSchemaSuffices).
//   - SetOwner hands everything in the schema to such a role, however it came to be (TestSetOwnerHandsEverythingOver).
package migrations
