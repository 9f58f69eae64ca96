package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/schemas"
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
		name, err = a.newTableName(ctx, tx, object)
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
	return execAll(ctx, tx, createTableSQL(a.schema, name, object, typeID, lz4), a.closeTableSQL(ctx, tx, name))
}

func (a *Applier) newTableName(ctx context.Context, tx pgx.Tx, object string) (string, error) {
	rows, err := tx.Query(ctx, `select relname from pg_class where relnamespace = to_regnamespace($1)`, quote(a.schema))
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

// property is a row of the catalogue as the database has it.
type property struct {
	columnName, columnType *string
	label                  string
}

// applyDefinitions makes the table of an object type fit its property definitions, in one transaction with the position.
func (a *Applier) applyDefinitions(ctx context.Context, d *schemas.PropertyDefinitions, seq, position uint64) error {
	return a.changeTable(ctx, d.Object, func(tx pgx.Tx) error {
		if err := a.ensureTable(ctx, tx, d.Object, d.ObjectTypeID); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update `+quote(a.schema, "objects")+` set definitions_seq = $2,
			object_type_id = coalesce(nullif($3, ''), object_type_id) where object = $1 and definitions_seq < $2`,
			d.Object, int64(seq), d.ObjectTypeID)
		if err != nil {
			return err
		}
		if tag.RowsAffected() > 0 {
			c, err := a.planChange(ctx, tx, d)
			if err != nil {
				return err
			}
			if err := c.run(ctx, tx, int64(seq)); err != nil {
				return err
			}
			a.refillDue.Store(true) // to look, at least
		}
		return a.writePosition(ctx, tx.Conn().PgConn(), seq, position)
	})
}

// change is what new definitions do to a table.
type change struct {
	schema, object, table string
	properties            []catalogueRow
	added                 []column
	retyped               []retyped
	comments              string
	lz4                   bool
}

// retyped is a column whose type changes.
type retyped struct {
	column
	from columnType
}

// catalogueRow is a row of properties as JSON, which is how it travels.
type catalogueRow struct {
	schemas.Property
	ColumnName *string          `json:"column_name"`
	ColumnType *string          `json:"column_type"`
	Options    []schemas.Option `json:"options,omitempty"`
}

// planChange compares the definitions with the table.
func (a *Applier) planChange(ctx context.Context, tx pgx.Tx, d *schemas.PropertyDefinitions) (*change, error) {
	c := &change{schema: a.schema, object: d.Object}
	known, err := c.readProperties(ctx, tx)
	if err != nil {
		return nil, err
	}
	actual, used, err := c.readColumns(ctx, tx)
	if err != nil {
		return nil, err
	}
	taken := make(map[string]bool, len(actual))
	for name := range actual {
		taken[name] = true
	}
	for _, p := range known {
		if p.columnName != nil {
			taken[*p.columnName] = true
		}
	}
	for _, def := range d.Properties {
		typ := columnTypeOf(def.Type)
		p, isKnown := known[def.Name]
		row := catalogueRow{Property: cleanProperty(def), ColumnName: p.columnName, ColumnType: p.columnType, Options: cleanOptions(def.Options)}
		switch {
		case p.columnName == nil && used >= maxColumns:
			// No column left: the values stay in _extra.
		case p.columnName == nil:
			name := columnName(def.Name, func(name string) bool { return taken[name] })
			taken[name] = true
			used++
			row.set(name, typ)
			c.added = append(c.added, column{def.Name, name, typ})
		case actual[*p.columnName] == 0: // its owner dropped it: HubSpot still has it
			if used < maxColumns {
				used++
				row.set(*p.columnName, typ)
				c.added = append(c.added, column{def.Name, *p.columnName, typ})
			}
		case actual[*p.columnName] != oidOf(typ):
			if from := columnTypeByOID(actual[*p.columnName]); from != 0 {
				row.set(*p.columnName, typ)
				c.retyped = append(c.retyped, retyped{column{def.Name, *p.columnName, typ}, from})
			}
		}
		if row.ColumnName != nil && (!isKnown || p.label != row.Label || p.columnName == nil) {
			c.comments += fmt.Sprintf("comment on column %s.%s is %s;\n", quote(c.schema, c.table), quote(*row.ColumnName), literal(row.Label))
		}
		c.properties = append(c.properties, row)
	}
	return c, nil
}

func (r *catalogueRow) set(name string, typ columnType) {
	sqlType := typ.String()
	r.ColumnName, r.ColumnType = &name, &sqlType
}

func oidOf(t columnType) uint32 { return columnTypes[t].oid }

func cleanProperty(p schemas.Property) schemas.Property {
	p.Name, p.Label, p.Type, p.FieldType = clean(p.Name), clean(p.Label), clean(p.Type), clean(p.FieldType)
	p.Description, p.GroupName = clean(p.Description), clean(p.GroupName)
	return p
}

func cleanOptions(options []schemas.Option) []schemas.Option {
	cleaned := make([]schemas.Option, len(options))
	for i, o := range options {
		cleaned[i] = schemas.Option{Value: clean(o.Value), Label: clean(o.Label), Hidden: o.Hidden}
	}
	return cleaned
}

func (c *change) readProperties(ctx context.Context, tx pgx.Tx) (map[string]property, error) {
	rows, err := tx.Query(ctx, `select name, column_name, column_type, label from `+quote(c.schema, "properties")+` where object = $1`, c.object)
	if err != nil {
		return nil, err
	}
	known := make(map[string]property)
	var name string
	var p property
	_, err = pgx.ForEachRow(rows, []any{&name, &p.columnName, &p.columnType, &p.label}, func() error {
		known[name] = p
		return nil
	})
	return known, err
}

// readColumns returns the type of each column the table really has, and how many numbers of columns are used up.
func (c *change) readColumns(ctx context.Context, tx pgx.Tx) (actual map[string]uint32, used int, err error) {
	err = tx.QueryRow(ctx, `select table_name,
		exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any(enumvals))
		from `+quote(c.schema, "objects")+` where object = $1`, c.object).Scan(&c.table, &c.lz4)
	if err != nil {
		return nil, 0, err
	}
	rows, err := tx.Query(ctx, `select attname, atttypid::bigint, attnum::integer, attisdropped from pg_attribute
		where attrelid = $1::regclass and attnum > 0`, quote(c.schema, c.table))
	if err != nil {
		return nil, 0, err
	}
	actual = make(map[string]uint32)
	var name string
	var oid int64
	var number int
	var dropped bool
	_, err = pgx.ForEachRow(rows, []any{&name, &oid, &number, &dropped}, func() error {
		used = max(used, number)
		if !dropped {
			actual[name] = uint32(oid)
		}
		return nil
	})
	return actual, used, err
}

// run carries the change out.
func (c *change) run(ctx context.Context, tx pgx.Tx, seq int64) error {
	if err := c.alter(ctx, tx); err != nil {
		return err
	}
	rows, err := json.Marshal(c.properties)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into `+quote(c.schema, "properties")+` as p
		(object, name, column_name, column_type, label, type, field_type, description, group_name, options,
		 calculated, hidden, has_unique_value, hubspot_defined, archived, _seq)
		select $1, r.name, r.column_name, r.column_type, coalesce(r.label, ''), r.type, coalesce(r.field_type, ''),
		coalesce(r.description, ''), coalesce(r.group_name, ''), r.options, coalesce(r.calculated, false), coalesce(r.hidden, false),
		coalesce(r.has_unique_value, false), coalesce(r.hubspot_defined, false), coalesce(r.archived, false), $2
		from jsonb_to_recordset($3::text::jsonb) as r(name text, column_name text, column_type text, label text, type text, field_type text,
		description text, group_name text, options jsonb, calculated boolean, hidden boolean, has_unique_value boolean,
		hubspot_defined boolean, archived boolean)
		on conflict (object, name) do update set column_name = excluded.column_name, column_type = excluded.column_type,
		label = excluded.label, type = excluded.type, field_type = excluded.field_type, description = excluded.description,
		group_name = excluded.group_name, options = excluded.options, calculated = excluded.calculated, hidden = excluded.hidden,
		has_unique_value = excluded.has_unique_value, hubspot_defined = excluded.hubspot_defined, archived = excluded.archived,
		_seq = excluded._seq`, c.object, seq, string(rows)); err != nil {
		return err
	}
	// What HubSpot's list no longer has is archived or deleted there; here the column and its values stay.
	if _, err := tx.Exec(ctx, `update `+quote(c.schema, "properties")+` set archived = true where object = $1 and _seq < $2 and not archived`,
		c.object, seq); err != nil {
		return err
	}
	if len(c.added)+len(c.retyped) == 0 {
		return nil
	}
	_, err = tx.Exec(ctx, `update `+quote(c.schema, "objects")+` set generation = generation + 1 where object = $1`, c.object)
	return err
}

// alter changes the columns and moves values to where they now belong.
func (c *change) alter(ctx context.Context, tx pgx.Tx) error {
	if err := c.retype(ctx, tx); err != nil {
		return err
	}
	if len(c.added) > 0 {
		clauses := make([]string, len(c.added))
		for i, col := range c.added {
			clauses[i] = "add column " + quote(col.name) + " " + col.typ.String()
			if c.lz4 && col.typ == typeText {
				clauses[i] += " compression lz4"
			}
		}
		if err := execAll(ctx, tx, "alter table "+quote(c.schema, c.table)+" "+strings.Join(clauses, ", ")); err != nil {
			return err
		}
	}
	if err := execAll(ctx, tx, c.comments); err != nil {
		return err
	}
	fill := c.added
	for _, r := range c.retyped {
		fill = append(fill, r.column)
	}
	return c.fill(ctx, tx, fill)
}
