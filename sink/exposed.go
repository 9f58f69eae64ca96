package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// exposed is an Exposure as the database has it, with what was made for it.
type exposed struct {
	Exposure
	table string
	made  made
}

// made is what an exposure made or granted beside its view, so that its end takes exactly that back.
type made struct {
	Schema    bool     `json:"schema,omitempty"`     // the schema of the view
	Usage     []string `json:"usage,omitempty"`      // roles that got usage of the schema of the view
	BaseUsage []string `json:"base_usage,omitempty"` // roles that got usage of the schema of the tables
	Published bool     `json:"published,omitempty"`  // the table came into the publication
	Identity  string   `json:"identity,omitempty"`   // the table's replica identity before
}

// readExposed reads what is exposed, or one object type of it.
func readExposed(ctx context.Context, db queryer, schema, object string) ([]exposed, error) {
	rows, err := db.Query(ctx, `select e.object, e.api_schema, e.roles, e.columns, e.system, e.extra, e.archived, e.realtime, coalesce(e.policy, $2), e.made,
		coalesce(o.table_name, e.object) from `+quote(schema, "exposed")+` e left join `+quote(schema, "objects")+` o using (object)
		where $1 in ('', e.object) order by e.object`, object, PolicyNone)
	if err != nil {
		return nil, fmt.Errorf("read what is exposed: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e exposed, err error) {
		err = row.Scan(&e.Object, &e.APISchema, &e.Roles, &e.Columns, &e.System, &e.Extra, &e.Archived, &e.Realtime, &e.Policy, &e.made, &e.table)
		e.View = quote(e.APISchema, e.table)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what is exposed: %w", err)
	}
	return all, nil
}

// write notes the exposure. It is text without parameters, so that the statements can be run by hand as well.
func (s *exposing) write(ctx context.Context, e exposed) error {
	m, err := json.Marshal(e.made)
	if err != nil {
		return err
	}
	policy, columns := "null", "null"
	if e.Policy != PolicyNone {
		policy = literal(e.Policy)
	}
	if len(e.Columns) > 0 {
		columns = textArray(e.Columns)
	}
	return s.exec(ctx, fmt.Sprintf("insert into %s (object, api_schema, roles, columns, system, extra, archived, realtime, policy, made)\nvalues (%s, %s, %s, %s, %t, %t, %t, %t, %s, %s)",
		quote(s.schema, "exposed"), literal(e.Object), literal(e.APISchema), textArray(e.Roles), columns, e.System, e.Extra, e.Archived, e.Realtime, policy, literal(string(m))))
}

func textArray(texts []string) string {
	literals := make([]string, len(texts))
	for i, text := range texts {
		literals[i] = literal(text)
	}
	return "array[" + strings.Join(literals, ", ") + "]"
}

// expose opens one object type, after closing it.
func (s *exposing) expose(ctx context.Context, want Exposure) error {
	if err := s.remove(ctx, want.Object); err != nil {
		return err
	}
	e := exposed{Exposure: want}
	if err := s.findTable(ctx, &e); err != nil {
		return err
	}
	if err := checkColumns(ctx, s.tx, s.schema, &e); err != nil {
		return err
	}
	if err := s.checkRoles(ctx, e.Roles); err != nil {
		return err
	}
	if err := s.makeSchema(ctx, &e); err != nil {
		return err
	}
	if e.Realtime {
		if err := s.publish(ctx, &e); err != nil {
			return err
		}
	}
	if err := s.as(ctx, true); err != nil {
		return err
	}
	if err := s.grantUsage(ctx, &e); err != nil {
		return err
	}
	if err := s.makeView(ctx, &e); err != nil {
		return err
	}
	if err := s.makePolicy(ctx, &e); err != nil {
		return err
	}
	return s.write(ctx, e)
}

// findTable finds the table of the object type.
func (s *exposing) findTable(ctx context.Context, e *exposed) error {
	err := s.tx.QueryRow(ctx, `select table_name from `+quote(s.schema, "objects")+` where object = $1`, e.Object).Scan(&e.table)
	if errors.Is(err, pgx.ErrNoRows) && slices.Contains(exposable, e.Object) {
		e.table, err = e.Object, nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		rows, err := s.tx.Query(ctx, `select object from `+quote(s.schema, "objects")+` order by 1`)
		if err != nil {
			return err
		}
		known, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: there is no table of it yet; there are %s", ErrExposure, strings.Join(append(known, exposable...), ", "))
	}
	if err != nil {
		return err
	}
	e.View = quote(e.APISchema, e.table)
	if err := e.check(s.schema); err != nil {
		return err
	}
	var taken bool
	if err := s.tx.QueryRow(ctx, `select to_regclass($1) is not null`, e.View).Scan(&taken); err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("%w: %s exists already and is not hubtail's: name another schema with --api-schema", ErrExposure, e.View)
	}
	return nil
}

func (s *exposing) checkRoles(ctx context.Context, roles []string) error {
	for _, role := range roles {
		var exists bool
		if err := s.tx.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1)`, role).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			return fmt.Errorf("%w: there is no role %s; --to names the roles that may read (%s is Supabase's, of users who have logged in)",
				ErrExposure, role, DefaultExposedTo)
		}
	}
	return nil
}

// makeSchema makes the schema of the views, in the name of the owner of the tables.
func (s *exposing) makeSchema(ctx context.Context, e *exposed) error {
	var exists, ownerMayUse, mayMake bool
	err := s.tx.QueryRow(ctx, `select n.oid is not null, coalesce(has_schema_privilege($2, n.oid, 'create'), false), has_database_privilege(session_user, current_database(), 'create')
		from (select $1::text as name) w left join pg_namespace n on n.nspname = w.name`, e.APISchema, s.owner).Scan(&exists, &ownerMayUse, &mayMake)
	switch {
	case err != nil:
		return err
	case exists && !ownerMayUse:
		return fmt.Errorf("%w: the sink's role, %s, must be able to keep the views up to date: first `grant usage, create on schema %s to %s`, or name another schema with --api-schema",
			ErrExposure, s.owner, quote(e.APISchema), quote(s.owner))
	case exists:
		return nil
	case !mayMake:
		return fmt.Errorf("%w: schema %s does not exist and %s may not create it: first run, as an administrator, `create schema %[2]s authorization %[4]s`",
			ErrExposure, quote(e.APISchema), s.session, quote(s.owner))
	}
	if err := s.as(ctx, false); err != nil {
		return err
	}
	e.made.Schema = true
	return s.exec(ctx, fmt.Sprintf("create schema %s authorization %s", quote(e.APISchema), quote(s.owner)))
}

// grantUsage lets the roles into the schema of the views, and, for Realtime, which looks at the table itself, into that of
// the tables: there they reach nothing else, for want of grants.
func (s *exposing) grantUsage(ctx context.Context, e *exposed) error {
	grant := func(schema string) (granted []string, err error) {
		for _, role := range e.Roles {
			var has bool
			if err := s.tx.QueryRow(ctx, `select has_schema_privilege($1, $2, 'usage')`, role, schema).Scan(&has); err != nil {
				return nil, err
			}
			if has {
				continue
			}
			granted = append(granted, role)
			if err := s.exec(ctx, fmt.Sprintf("grant usage on schema %s to %s", quote(schema), quote(role))); err != nil {
				return nil, err
			}
		}
		return granted, nil
	}
	var err error
	if e.made.Usage, err = grant(e.APISchema); err == nil && e.Realtime {
		e.made.BaseUsage, err = grant(s.schema)
	}
	return err
}

// makeView makes the view, with the rights it needs.
func (s *exposing) makeView(ctx context.Context, e *exposed) error {
	columns, err := exposedColumns(ctx, s.tx, s.schema, e)
	if err != nil {
		return err
	}
	return s.execAll(ctx, append([]string{createViewSQL(s.schema, e, columns)}, viewRightsSQL(s.schema, e, columns, s.publicRoles(ctx))...)...)
}

// makePolicy makes the policy, in the name of the role that is connected if its condition may use functions that only an
// administrator reaches, such as Supabase's auth.jwt().
func (s *exposing) makePolicy(ctx context.Context, e *exposed) error {
	if e.Policy != "true" {
		// conditionFault read the condition by this rule, which old programs turn off.
		if _, err := s.tx.Exec(ctx, "set local standard_conforming_strings = on"); err != nil {
			return err
		}
		if err := s.as(ctx, false); err != nil {
			return err
		}
	}
	if err := s.execAll(ctx, policySQL(s.schema, e)); err != nil {
		return err
	}
	return s.as(ctx, true)
}

// publicRoles are the roles of the Data API, which may get rights on everything new in the schema public by default.
func (s *exposing) publicRoles(ctx context.Context) []string {
	rows, err := s.tx.Query(ctx, `select rolname from pg_roles where rolname in ('anon', 'authenticated', 'service_role') order by 1`)
	if err != nil {
		return nil // the transaction is aborted: the next statement says why
	}
	roles, _ := pgx.CollectRows(rows, pgx.RowTo[string])
	return roles
}

// remove closes an object type, if it is open.
func (s *exposing) remove(ctx context.Context, object string) error {
	all, err := readExposed(ctx, s.tx, s.schema, "")
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(e exposed) bool { return e.Object == object })
	if at < 0 {
		return nil
	}
	e, others := all[at], slices.Delete(slices.Clone(all), at, at+1)
	if e.made.Published || e.made.Identity != "" {
		if err := s.unpublish(ctx, &e); err != nil {
			return err
		}
	}
	if err := s.as(ctx, true); err != nil {
		return err
	}
	grants, err := s.columnGrants(ctx, &e)
	if err != nil {
		return err
	}
	err = s.execAll(ctx, append([]string{"drop view if exists " + e.View, dropPolicySQL(s.schema, &e)}, grants...)...)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "2BP01" {
		return fmt.Errorf("%w: something of your own is built on the view (%s): drop that first", ErrExposure, strings.ReplaceAll(pgErr.Detail, "\n", "; "))
	}
	if err != nil {
		return err
	}
	if err := s.leaveSchemas(ctx, &e, others); err != nil {
		return err
	}
	return s.exec(ctx, fmt.Sprintf("delete from %s where object = %s", quote(s.schema, "exposed"), literal(object)))
}

// columnGrants returns the statements that take the roles' rights on columns of the table back.
func (s *exposing) columnGrants(ctx context.Context, e *exposed) (statements []string, err error) {
	rows, err := s.tx.Query(ctx, `select r.rolname, string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a, aclexplode(a.attacl) g, pg_roles r
		where a.attrelid = to_regclass($1) and not a.attisdropped and g.grantee = r.oid and g.privilege_type = 'SELECT' and r.rolname = any($2) group by 1 order by 1`,
		quote(s.schema, e.table), e.Roles)
	if err != nil {
		return nil, err
	}
	var role, columns string
	_, err = pgx.ForEachRow(rows, []any{&role, &columns}, func() error {
		statements = append(statements, fmt.Sprintf("revoke select (%s) on table %s from %s", columns, quote(s.schema, e.table), quote(role)))
		return nil
	})
	return statements, err
}

// leaveSchemas takes back what was granted on schemas, unless another exposure needs it, and drops the schema of the views
// if it was made for them and is empty.
func (s *exposing) leaveSchemas(ctx context.Context, e *exposed, others []exposed) error {
	heir := func(same func(exposed) bool, take func(*made)) (bool, error) {
		for i := range others {
			if other := &others[i]; same(*other) {
				take(&other.made)
				m, err := json.Marshal(other.made)
				if err != nil {
					return true, err
				}
				return true, s.exec(ctx, fmt.Sprintf("update %s set made = %s where object = %s", quote(s.schema, "exposed"), literal(string(m)), literal(other.Object)))
			}
		}
		return false, nil
	}
	for _, role := range e.made.BaseUsage {
		kept, err := heir(func(o exposed) bool { return o.Realtime && slices.Contains(o.Roles, role) }, func(m *made) { m.BaseUsage = append(m.BaseUsage, role) })
		if err != nil {
			return err
		}
		if !kept {
			if err := s.revokeUsage(ctx, s.schema, role); err != nil {
				return err
			}
		}
	}
	for _, role := range e.made.Usage {
		kept, err := heir(func(o exposed) bool { return o.APISchema == e.APISchema && slices.Contains(o.Roles, role) }, func(m *made) { m.Usage = append(m.Usage, role) })
		if err != nil {
			return err
		}
		if !kept {
			if err := s.revokeUsage(ctx, e.APISchema, role); err != nil {
				return err
			}
		}
	}
	if !e.made.Schema {
		return nil
	}
	kept, err := heir(func(o exposed) bool { return o.APISchema == e.APISchema }, func(m *made) { m.Schema = true })
	if err != nil || kept {
		return err
	}
	var empty bool
	err = s.tx.QueryRow(ctx, `select not exists (select from pg_depend where refclassid = 'pg_namespace'::regclass and refobjid = to_regnamespace($1))`,
		quote(e.APISchema)).Scan(&empty)
	if err != nil || !empty {
		return err // what is in it is the owner's
	}
	return s.exec(ctx, "drop schema "+quote(e.APISchema))
}

func (s *exposing) revokeUsage(ctx context.Context, schema, role string) error {
	var exists bool
	if err := s.tx.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1) and to_regnamespace($2) is not null`, role, quote(schema)).Scan(&exists); err != nil || !exists {
		return err
	}
	return s.exec(ctx, fmt.Sprintf("revoke usage on schema %s from %s", quote(schema), quote(role)))
}
