package sink

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/schemas"
)

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
	seen := make(map[string]bool, len(d.Properties))
	for _, def := range d.Properties {
		def = cleanProperty(def)
		if !seen[def.Name] {
			seen[def.Name] = true
			c.plan(def, known, actual, taken, &used)
		}
	}
	return c, nil
}

// plan decides about one property.
func (c *change) plan(def schemas.Property, known map[string]property, actual map[string]uint32, taken map[string]bool, used *int) {
	typ := columnTypeOf(def.Type)
	p := known[def.Name]
	row := catalogueRow{Property: def, ColumnName: p.columnName, ColumnType: p.columnType, Options: def.Options}
	added := func(name string) {
		*used++
		taken[name] = true
		row.set(name, typ)
		c.added = append(c.added, column{def.Name, name, typ})
		p.label = ""
	}
	switch {
	case p.columnName == nil && *used < maxColumns:
		added(columnName(def.Name, func(name string) bool { return taken[name] }))
	case p.columnName == nil: // no column left: the values stay in _extra
	case actual[*p.columnName] == 0: // its owner dropped it, but HubSpot has it
		if *used < maxColumns {
			added(*p.columnName)
		}
	case actual[*p.columnName] != columnTypes[typ].oid:
		if from := columnTypeByOID(actual[*p.columnName]); from != 0 {
			row.set(*p.columnName, typ)
			c.retyped = append(c.retyped, retyped{column{def.Name, *p.columnName, typ}, from})
		}
	}
	if row.ColumnName != nil && p.label != row.Label {
		c.comments += fmt.Sprintf("comment on column %s.%s is %s;\n", quote(c.schema, c.table), quote(*row.ColumnName), literal(row.Label))
	}
	c.properties = append(c.properties, row)
}

func (r *catalogueRow) set(name string, typ columnType) {
	sqlType := typ.String()
	r.ColumnName, r.ColumnType = &name, &sqlType
}

// cleanProperty makes a definition storable, and its empty list of options null.
func cleanProperty(p schemas.Property) schemas.Property {
	p.Name, p.Label, p.Type, p.FieldType = clean(p.Name), clean(p.Label), clean(p.Type), clean(p.FieldType)
	p.Description, p.GroupName = clean(p.Description), clean(p.GroupName)
	options := p.Options
	p.Options = nil
	for _, o := range options {
		p.Options = append(p.Options, schemas.Option{Value: clean(o.Value), Label: clean(o.Label), Hidden: o.Hidden})
	}
	return p
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
