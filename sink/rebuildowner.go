package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// mustOwn refuses a role that does not own the live schema, a superuser and a member of the owner among them: the schemas and
// tables that it makes would be its own, and what the sink then does in them, a privacy deletion above all, would be denied.
func mustOwn(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	var owner, me string
	err := pool.QueryRow(ctx, `select pg_get_userbyid(nspowner), current_user from pg_namespace where oid = to_regnamespace($1)`, quote(schema)).Scan(&owner, &me)
	if err != nil {
		return fmt.Errorf("look who owns schema %s: %w", schema, err)
	}
	if owner != me {
		return fmt.Errorf("schema %s belongs to %s, and what %s makes for a rebuild would be out of its reach: run it as %[2]s", schema, owner, me)
	}
	return nil
}
