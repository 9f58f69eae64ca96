package migrations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// SetOwner makes role the owner of the schema, which it creates for that role if need be, and of every table, view and
// sequence in it: an administrator prepares what a role with no other rights then runs on. Once done, it changes nothing.
func SetOwner(ctx context.Context, db Beginner, schema, role string) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit this is a no-op, after an error the error says more
	if err := setOwner(ctx, tx, schema, role); err != nil {
		return fmt.Errorf("make %s the owner of schema %s: %w", role, schema, err)
	}
	return tx.Commit(ctx)
}

// relations are what can be owned apart from the schema. A sequence that belongs to a column follows its table.
const relations = `select c.relname, case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end
	from pg_class c where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'p', 'v', 'm', 'S')
		and pg_get_userbyid(c.relowner) <> $2
		and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i') and c.relkind = 'S')
	order by c.oid`

func setOwner(ctx context.Context, tx pgx.Tx, schema, role string) error {
	quoted, owner := pgx.Identifier{schema}.Sanitize(), pgx.Identifier{role}.Sanitize()
	var current *string
	err := tx.QueryRow(ctx, `select (select pg_get_userbyid(nspowner) from pg_namespace where oid = to_regnamespace($1))`, quoted).Scan(&current)
	switch {
	case err != nil:
		return err
	case current == nil:
		_, err = tx.Exec(ctx, `create schema `+quoted+` authorization `+owner)
	case *current != role:
		_, err = tx.Exec(ctx, `alter schema `+quoted+` owner to `+owner)
	}
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, relations, quoted, role)
	if err != nil {
		return err
	}
	var name, kind string
	var statements []string
	if _, err := pgx.ForEachRow(rows, []any{&name, &kind}, func() error {
		statements = append(statements, `alter `+kind+` `+pgx.Identifier{schema, name}.Sanitize()+` owner to `+owner)
		return nil
	}); err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
