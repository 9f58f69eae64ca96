package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// readFreeShape is readShape, after what exposes the table was taken away if it keeps a column from changing its type:
// Postgres refuses that while a view uses the column. refreshExposed makes it again before the transaction ends, and nobody
// sees it gone.
func (a *Applier) readFreeShape(ctx context.Context, tx pgx.Tx, object string) (*shape, error) {
	s, err := a.readShape(ctx, tx, object)
	if err != nil || s == nil || !s.retypesHeld() {
		return s, err
	}
	all, err := readExposed(ctx, tx, a.schema, object)
	if err != nil || len(all) == 0 {
		return s, err
	}
	for _, e := range all {
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
			x := &exposing{tx: tx, schema: a.schema}
			grants, err := x.columnGrants(ctx, &e)
			if err != nil {
				return err
			}
			return x.execAll(ctx, append(grants, "drop view if exists "+e.View)...)
		})
		if err != nil && !refused(err) {
			return nil, err
		} // something of the owner's is built on the view: then the column keeps its type, as with any view
	}
	return a.readShape(ctx, tx, object)
}

// retypesHeld reports whether a column is to change its type and something keeps it.
func (s *shape) retypesHeld() bool {
	for _, p := range s.properties {
		oid, is := s.columns[p.column]
		if is && p.present && s.holders[p.column] != "" && (p.next != "" || oid != columnTypes[columnTypeOf(p.typ)].oid && columnTypeByOID(oid) != 0) {
			return true
		}
	}
	return false
}

// RefreshExposed makes what exposes an object type fit its table, which may have got columns or be another one: the view,
// the grants it needs, and the policy if the table lacks it. It returns what it could not do for want of a right or for
// something of the owner's that stands in the way; the view is as it was then. A transaction of the sink's role calls it.
func RefreshExposed(ctx context.Context, tx pgx.Tx, schema, object string) (problem, err error) {
	all, err := readExposed(ctx, tx, schema, object)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return refreshView(ctx, tx, schema, &e) })
		if refused(err) || errors.Is(err, ErrExposure) {
			problem = fmt.Errorf("%s does not show what is new in %s (run `hubtail expose %s` once more): %w", e.View, object, object, err)
		} else if err != nil {
			return nil, fmt.Errorf("refresh %s: %w", e.View, err)
		}
	}
	return problem, nil
}

// refreshExposed is RefreshExposed for a change of a table's columns, which goes on if the view cannot follow.
func (a *Applier) refreshExposed(ctx context.Context, tx pgx.Tx, object string) error {
	problem, err := RefreshExposed(ctx, tx, a.schema, object)
	if problem != nil {
		a.log.WarnContext(ctx, "an exposed view stays as it is", "object", object, "error", problem)
	}
	return err
}

// refused tells a right or a dependency that is in the way from what waiting or trying again may cure.
func refused(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code[:2] {
	case "42", "2B", "0A", "3F", "28":
		return true
	}
	return false
}

func refreshView(ctx context.Context, tx pgx.Tx, schema string, e *exposed) error {
	s := &exposing{tx: tx, schema: schema}
	e.Roles = slices.DeleteFunc(e.Roles, func(role string) bool { return s.checkRoles(ctx, []string{role}) != nil }) // dropped since
	if len(e.Roles) == 0 {
		return s.exec(ctx, "drop view if exists "+e.View)
	}
	columns, err := exposedColumns(ctx, tx, schema, e)
	if err != nil || len(columns) == 0 {
		return err
	}
	had, err := viewColumns(ctx, tx, e.View)
	if err != nil {
		return err
	}
	columns, grows := arrange(columns, had)
	if !grows {
		if err := s.exec(ctx, "drop view if exists "+e.View); err != nil {
			return err
		}
	}
	if err := s.execAll(ctx, append([]string{createViewSQL(schema, e, columns)}, viewRightsSQL(schema, e, columns, s.publicRoles(ctx))...)...); err != nil {
		return err
	}
	var has bool
	err = tx.QueryRow(ctx, `select exists (select from pg_policy where polrelid = to_regclass($1) and polname = $2)`, quote(schema, e.table), policyName).Scan(&has)
	if err != nil || has || e.Policy == PolicyNone {
		return err
	}
	// What is noted may be older than the rules by which conditions are read, or somebody else's. Without a policy nobody
	// sees a row.
	if fault := conditionFault(e.Policy); fault != "" {
		return fmt.Errorf("%w: the noted policy's condition %s", ErrExposure, fault)
	}
	if _, err := tx.Exec(ctx, "set local standard_conforming_strings = on"); err != nil { // which conditionFault reads by
		return err
	}
	return s.execAll(ctx, policySQL(schema, e))
}

// viewColumns returns the columns that a view has, none if there is no such view.
func viewColumns(ctx context.Context, tx pgx.Tx, view string) ([]exposedColumn, error) {
	rows, err := tx.Query(ctx, `select attname, format_type(atttypid, atttypmod) from pg_attribute
		where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum`, view)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c exposedColumn, err error) {
		return c, row.Scan(&c.name, &c.typ)
	})
}

// arrange puts the columns that a view has before those that are new, and reports whether the view can stay. Postgres rule:
// a view that is replaced keeps its columns, their order and types, and gets new ones at the end.
func arrange(columns, had []exposedColumn) (arranged []exposedColumn, grows bool) {
	for _, c := range had {
		if !slices.Contains(columns, c) {
			return columns, false
		}
	}
	arranged = slices.Clone(had)
	for _, c := range columns {
		if !slices.Contains(had, c) {
			arranged = append(arranged, c)
		}
	}
	return arranged, true
}
