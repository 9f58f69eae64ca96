package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// maxColumns is how many columns a table gets at most. Postgres: 1,600, those that were dropped included; some are left
// for the owner's own. Properties beyond it are in _extra.
const maxColumns = 1_500

// ddlTimeouts bound how long a change of a table waits for readers (behind it, everybody waits) and how long it takes.
const ddlTimeouts = `select set_config('lock_timeout', '2s', true), set_config('statement_timeout', '10min', true)`

// changeTable runs a change of an object type's table in one transaction, alone: writers of rows hold the same lock
// shared. The lock belongs to the transaction, so that it works through a transaction pooler too.
func (a *Applier) changeTable(ctx context.Context, object string, change func(tx pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, ddlTimeouts); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(`+lockKey+`)`, a.schema, object); err != nil {
			return err
		}
		return change(tx)
	})
	a.catalogue.forget(object)
	if err != nil {
		return fmt.Errorf("change table of %s: %w", object, err)
	}
	return nil
}

// lockKey is the advisory lock of an object type's table: $1 is the schema, $2 the object type.
const lockKey = `hashtextextended('hubtail ' || $1 || '.' || $2, 0)`

// createTable creates the table for an object type, with system columns only: definitions add the others, and until they
// come all values are in _extra.
func (a *Applier) createTable(ctx context.Context, object string) (*table, error) {
	err := a.changeTable(ctx, object, func(tx pgx.Tx) error { return a.ensureTable(ctx, tx, object, "") })
	if err != nil {
		return nil, err
	}
	t, err := a.catalogue.load(ctx, a.pool, object)
	if err == nil && t == nil {
		err = errors.New("the row in objects is gone")
	}
	if err != nil {
		return nil, fmt.Errorf("create table of %s: %w", object, err)
	}
	return t, nil
}

// ensureTable creates the table unless it is there, closed like the static tables.
func (a *Applier) ensureTable(ctx context.Context, tx pgx.Tx, object, typeID string) error {
	var name string
	err := tx.QueryRow(ctx, `select table_name from `+quote(a.schema, "objects")+` where object = $1`, object).Scan(&name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		name, err = newTableName(ctx, tx, a.schema, object)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into `+quote(a.schema, "objects")+` (object, object_type_id, table_name) values ($1, nullif($2, ''), $3)`,
			clean(object), typeID, name); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	var exists, lz4 bool
	err = tx.QueryRow(ctx, `select to_regclass($1) is not null,
		exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any(enumvals))`,
		quote(a.schema, name)).Scan(&exists, &lz4)
	if err != nil || exists {
		return err
	}
	if err := execAll(ctx, tx, createTableSQL(a.schema, name, object, typeID, lz4), a.closeTableSQL(ctx, tx, name)); err != nil {
		return err
	}
	return a.openToReaders(ctx, tx, name)
}

// newTableName returns a name that is free in the schema.
func newTableName(ctx context.Context, db queryer, schema, object string) (string, error) {
	rows, err := db.Query(ctx, `select relname from pg_class where relnamespace = to_regnamespace($1)`, quote(schema))
	if err != nil {
		return "", err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	taken := make(map[string]bool, len(names))
	for _, n := range names {
		taken[n] = true
	}
	return tableName(object, func(name string) bool { return taken[name] }), err
}

// createTableSQL returns the table of an object type without its properties. Wide columns come first, which saves the
// gaps between them. lz4 makes long texts and _extra a quarter smaller and almost twice as fast to write.
func createTableSQL(schema, name, object, typeID string, lz4 bool) string {
	compression := ""
	if lz4 {
		compression = " compression lz4"
	}
	comment := "HubSpot " + object
	if typeID != "" {
		comment += " (" + typeID + ")"
	}
	t := quote(schema, name)
	return fmt.Sprintf(`create table %[1]s (
	id bigint primary key,
	_seq bigint not null,
	_merged_into bigint,
	_created_at timestamptz,
	_updated_at timestamptz,
	_archived_at timestamptz,
	_synced_at timestamptz not null default now(),
	_archived boolean not null default false,
	_purged boolean not null default false,
	_extra jsonb%[2]s
) with (autovacuum_vacuum_scale_factor = 0.05);
comment on table %[1]s is %[3]s;
comment on column %[1]s._seq is 'stream sequence of the event this row is from';
comment on column %[1]s._merged_into is 'id of the record that this one was merged into';
comment on column %[1]s._purged is 'deleted for privacy: no values are kept';
comment on column %[1]s._extra is 'property values that have no column or do not fit its type, as HubSpot''s text';
`, t, compression, literal(comment))
}

// closeTableSQL turns row level security on, and takes what rights Supabase's public roles may have by default.
func (a *Applier) closeTableSQL(ctx context.Context, tx pgx.Tx, name string) string {
	t := quote(a.schema, name)
	sql := fmt.Sprintf("alter table %s enable row level security;\nrevoke all on table %s from public;\n", t, t)
	rows, err := tx.Query(ctx, `select rolname from pg_roles where rolname in ('anon', 'authenticated')`)
	if err != nil {
		return sql // the transaction is aborted: the next statement says why
	}
	roles, _ := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, role := range roles {
		sql += fmt.Sprintf("revoke all on table %s from %s;\n", t, quote(role))
	}
	return sql
}

// execAll sends statements without parameters in one message each.
func execAll(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, sql := range statements {
		if strings.TrimSpace(sql) == "" {
			continue
		}
		if _, err := tx.Conn().PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return err
		}
	}
	return nil
}
