package migrations

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/jackc/pgx/v5"
)

//go:embed *.sql
var files embed.FS

// Beginner starts transactions: a *pgxpool.Pool or a *pgx.Conn.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// ErrNewerSchema says that the schema was migrated by a newer hubtail, which this one must not write to.
var ErrNewerSchema = errors.New("the schema was migrated by a newer hubtail: upgrade this one")

// ErrChangedMigration says that a migration was applied from a file with other content than the one embedded here.
var ErrChangedMigration = errors.New("the migration was applied from other content")

// Migration is one file.
type Migration struct {
	Version int
	Name    string // the file name
	SQL     string
	SHA256  string // of SQL, in hexadecimal
}

// All returns the migrations in the order of their numbers.
func All() ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	all := make([]Migration, len(names))
	for i, name := range names { // Glob returns names in order
		sql, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		version, err := strconv.Atoi(name[:4])
		if err != nil || i > 0 && version <= all[i-1].Version {
			return nil, fmt.Errorf("migration %s: want a number of its own", name)
		}
		sum := sha256.Sum256(sql)
		all[i] = Migration{Version: version, Name: name, SQL: string(sql), SHA256: hex.EncodeToString(sum[:])}
	}
	return all, nil
}

// Apply brings the schema, which it creates if need be, to the newest version. Each file is one transaction.
func Apply(ctx context.Context, db Beginner, schema string) error {
	all, err := All()
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := apply(ctx, db, schema, m, all[len(all)-1].Version); err != nil {
			return fmt.Errorf("migrate schema %s, %s: %w", schema, m.Name, err)
		}
	}
	return nil
}

func apply(ctx context.Context, db Beginner, schema string, m Migration, newest int) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit this is a no-op, after an error the error says more
	if err := prepare(ctx, tx, schema); err != nil {
		return err
	}
	applied, err := isApplied(ctx, tx, m, newest)
	if err != nil || applied {
		return err
	}
	// The simple protocol, because a file has many statements.
	if _, err := tx.Conn().PgConn().Exec(ctx, m.SQL).ReadAll(); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into schema_migrations (version, name, sha256) values ($1, $2, $3)`,
		m.Version, m.Name, m.SHA256); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// prepare takes the lock, makes the schema and its list of migrations, and points search_path there, all for this
// transaction only. Nothing is created that exists: "create ... if not exists" needs the right to create all the same.
func prepare(ctx context.Context, tx pgx.Tx, schema string) error {
	quoted := pgx.Identifier{schema}.Sanitize()
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('hubtail migrate ' || $1, 0))`, schema); err != nil {
		return err
	}
	var schemaExists, listExists bool
	err := tx.QueryRow(ctx, `select to_regnamespace($1) is not null, to_regclass($1 || '.schema_migrations') is not null`,
		quoted).Scan(&schemaExists, &listExists)
	if err != nil {
		return err
	}
	if !schemaExists {
		if _, err := tx.Exec(ctx, `create schema `+quoted); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `select set_config('search_path', $1, true), set_config('lock_timeout', '10s', true), set_config('statement_timeout', '10min', true)`, quoted); err != nil {
		return err
	}
	if listExists {
		return nil
	}
	_, err = tx.Exec(ctx, `create table schema_migrations (
		version integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`)
	return err
}

func isApplied(ctx context.Context, tx pgx.Tx, m Migration, newest int) (bool, error) {
	var last int
	var sum *string
	err := tx.QueryRow(ctx, `select coalesce(max(version), 0), max(sha256) filter (where version = $1) from schema_migrations`,
		m.Version).Scan(&last, &sum)
	switch {
	case err != nil:
		return false, err
	case last > newest:
		return false, fmt.Errorf("version %d, known here: %d: %w", last, newest, ErrNewerSchema)
	case sum == nil:
		return false, nil
	case *sum != m.SHA256:
		return false, fmt.Errorf("sha256 %s, here %s: %w", *sum, m.SHA256, ErrChangedMigration)
	}
	return true, nil
}
