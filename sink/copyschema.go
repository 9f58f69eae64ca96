package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// allCopies are the kinds of copies.
var allCopies = []CopyKind{CopyShadow, CopyOld, CopyAsOf}

// checkCopySchema refuses a schema that may not be dropped or filled for the live tables: the live one itself, and any that holds
// something and is not registered as a copy of theirs, of one of the kinds. One that is registered may have been dropped by
// hand, and made under the name since for something else: then its tables are not those of migrations, or another installation's.
func checkCopySchema(ctx context.Context, db queryer, live, schema string, kinds ...CopyKind) error {
	if schema == live {
		return fmt.Errorf("schema %s has the live tables: it is no copy, name another one: %w", schema, ErrCopyTaken)
	}
	var kind, held, registered *string
	var migrated bool
	// Postgres rule: whatever is in a schema depends on it; a default right, which may stay, does so automatically.
	err := db.QueryRow(ctx, `select c.kind, c.installation::text,
		coalesce((select min(relname) from pg_class where relnamespace = n.oid and relkind in ('r', 'p', 'v', 'm', 'f', 'S')),
			(select min(pg_describe_object(classid, objid, objsubid)) from pg_depend
			 where refclassid = 'pg_namespace'::regclass and refobjid = n.oid and deptype <> 'a')),
		to_regclass($3) is not null
		from (select to_regnamespace($1)::oid as oid) n left join `+quote(live, "copies")+` c on c.schema_name = $2`,
		quote(schema), schema, quote(schema, "schema_migrations")).Scan(&kind, &registered, &held, &migrated)
	switch {
	case err != nil:
		return fmt.Errorf("look what schema %s is: %w", schema, err)
	case kind != nil && !slices.Contains(kinds, CopyKind(*kind)):
		return fmt.Errorf("schema %s has %s: %w; name another one", schema, CopyKind(*kind).described(), ErrCopyTaken)
	case held == nil:
		return nil
	case kind == nil || !migrated:
		return fmt.Errorf("schema %s has %s and is no copy of these tables: %w; name another one", schema, *held, ErrCopyTaken)
	}
	is, err := copyIdentity(ctx, db, schema)
	if err != nil {
		return err
	}
	if registered == nil && is != "" { // made by a process that ended before it could register which they are
		return checkNeverFilled(ctx, db, schema)
	}
	if registered == nil || is != *registered {
		return fmt.Errorf("schema %s was made anew since it was a copy of these tables, and holds others: %w; name another one", schema, ErrCopyTaken)
	}
	return nil
}

// checkNeverFilled refuses tables that a sink has written to.
func checkNeverFilled(ctx context.Context, db queryer, schema string) error {
	var filled bool
	if err := db.QueryRow(ctx, `select exists (select from `+quote(schema, "positions")+`)`).Scan(&filled); err != nil {
		return fmt.Errorf("look whether schema %s was filled: %w", schema, err)
	}
	if filled {
		return fmt.Errorf("schema %s has tables that are not known as a copy of these: %w; name another one, or drop it by hand", schema, ErrCopyTaken)
	}
	return nil
}

// described says what a copy of the kind is.
func (k CopyKind) described() string {
	switch k {
	case CopyShadow:
		return "the tables of a rebuild"
	case CopyOld:
		return "the tables before a rebuild"
	case CopyAsOf:
		return "tables as of some time"
	}
	return string(k)
}

// copyIdentity returns which tables a schema's are; "" if it does not say.
func copyIdentity(ctx context.Context, db queryer, schema string) (id string, err error) {
	var there bool
	if err := db.QueryRow(ctx, `select to_regclass($1) is not null`, quote(schema, "installation")).Scan(&there); err != nil || !there {
		return "", err
	}
	err = db.QueryRow(ctx, `select id::text from `+quote(schema, "installation")).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the identity of schema %s: %w", schema, err)
	}
	return id, nil
}

// noteIdentity registers which tables a copy's are, once they are made.
func noteIdentity(ctx context.Context, db execer, live, schema string) error {
	_, err := db.Exec(ctx, `update `+quote(live, "copies")+` c set installation = i.id from `+quote(schema, "installation")+` i where c.schema_name = $1`, schema)
	if err != nil {
		return fmt.Errorf("register the identity of copy %s: %w", schema, err)
	}
	return nil
}
