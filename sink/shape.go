package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// shape is a table as it is, the properties that it should have, and what is to be done about the difference.
type shape struct {
	schema, object, table string
	generation            int64
	used                  int // numbers of columns, those of dropped ones too
	lz4                   bool
	columns               map[string]uint32   // type by name, as the table really has them
	holders               map[string]string   // what of the owner's keeps a column's type, by column
	kept                  map[string]keptType // what the live table's column is held at, by property: of a copy
	taken                 map[string]bool     // names that no new column may have
	properties            []*shapedProperty   // ascending by name

	clauses    []string // of one alter table
	statements []string // after it
	noted      []shapeNote
}

// shapedProperty is a row of properties as far as columns go.
type shapedProperty struct {
	name, label, typ, comment, note string
	column, next                    string // "" is none
	fill, present                   bool   // present: HubSpot's list has it
	changed                         bool
}

// shapeNote is why a property has no column, or not of its type.
type shapeNote struct{ property, text string }

// readShape reads a table's shape, nil if there is no such object type or its table was dropped.
func (a *Applier) readShape(ctx context.Context, tx pgx.Tx, object string) (*shape, error) {
	s := &shape{
		schema: a.schema, object: object, columns: make(map[string]uint32), holders: make(map[string]string), taken: make(map[string]bool),
	}
	var there bool
	err := tx.QueryRow(ctx, `select table_name, generation, to_regclass(quote_ident($2) || '.' || quote_ident(table_name)) is not null,
		exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any(enumvals))
		from `+quote(a.schema, "objects")+` where object = $1 for update`, object, a.schema).Scan(&s.table, &s.generation, &there, &s.lz4)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !there {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.readProperties(ctx, tx); err != nil {
		return nil, err
	}
	if err := s.readColumns(ctx, tx); err != nil {
		return nil, err
	}
	if err := s.readHolders(ctx, tx); err != nil || a.heldFor == "" {
		return s, err
	}
	s.kept, err = readKept(ctx, tx, a.heldFor, object)
	return s, err
}

func (s *shape) readProperties(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select p.name, p.label, p.type, coalesce(p.comment, ''), coalesce(p.note, ''), coalesce(p.column_name, ''), coalesce(p.next_name, ''),
		p.fill, p._seq >= o.definitions_seq from `+quote(s.schema, "properties")+` p join `+quote(s.schema, "objects")+` o using (object)
		where p.object = $1 order by p.name collate "C"`, s.object)
	if err != nil {
		return err
	}
	var p shapedProperty
	_, err = pgx.ForEachRow(rows, []any{&p.name, &p.label, &p.typ, &p.comment, &p.note, &p.column, &p.next, &p.fill, &p.present}, func() error {
		one := p
		s.properties = append(s.properties, &one)
		s.taken[p.column], s.taken[p.next] = true, true
		return nil
	})
	return err
}

func (s *shape) readColumns(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select attname, atttypid::bigint, attnum::integer, attisdropped from pg_attribute
		where attrelid = $1::regclass and attnum > 0`, quote(s.schema, s.table))
	if err != nil {
		return err
	}
	var name string
	var oid int64
	var number int
	var dropped bool
	_, err = pgx.ForEachRow(rows, []any{&name, &oid, &number, &dropped}, func() error {
		s.used = max(s.used, number)
		if !dropped {
			s.columns[name], s.taken[name] = uint32(oid), true
		}
		return nil
	})
	return err
}

// readHolders finds what else of the database hangs on a column, and would be lost with it or forbids its going.
func (s *shape) readHolders(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, heldColumnsSQL, pgx.NamedArgs{"table": quote(s.schema, s.table)})
	if err != nil {
		return err
	}
	var name, holder string
	_, err = pgx.ForEachRow(rows, []any{&name, &holder}, func() error {
		s.holders[name] = holder
		return nil
	})
	return err
}

// plan decides about every property.
func (s *shape) plan() {
	for _, p := range s.properties {
		if !p.present {
			s.dropNext(p) // its type will not change any more
			continue
		}
		s.planColumn(p)
		if _, is := s.columns[p.column]; is && p.comment != p.label {
			s.comment(p, p.column)
		}
	}
}

func (s *shape) planColumn(p *shapedProperty) {
	want, note := s.wanted(p)
	oid, is := s.columns[p.column]
	switch {
	case p.column == "" || !is: // new; or its owner dropped it, but HubSpot has it
		s.dropNext(p)
		if s.used >= maxColumns {
			s.note(p, s.noColumn())
			return
		}
		if p.column == "" {
			p.column = columnName(p.name, func(name string) bool { return s.taken[name] })
		}
		s.add(p.column, want)
		p.fill, p.changed, p.comment = true, true, ""
		s.note(p, note)
	case oid == columnTypes[want].oid:
		s.dropNext(p)
		s.note(p, note)
	case columnTypeByOID(oid) == 0: // somebody gave it a type that is not written to; verify tells
	case s.holders[p.column] != "":
		s.dropNext(p)
		s.note(p, s.held(p.column))
	case p.next != "" && s.columns[p.next] == columnTypes[want].oid: // under way
	case s.used >= maxColumns:
		s.dropNext(p)
		s.note(p, s.noColumn())
	default:
		s.dropNext(p)
		p.next = safeName("_next_"+p.column, func(name string) bool { return s.taken[name] })
		s.add(p.next, want)
		p.changed = true
		s.note(p, note)
	}
}

// swap plans that new columns take the others' place. It reports whether values are to be read from the log again: of a column
// that was no text only that has HubSpot's very text ("1e3", not 1000).
func (s *shape) swap() (refill bool) {
	for _, p := range s.properties {
		if p.next == "" {
			continue
		}
		oid, is := s.columns[p.column]
		if is && s.holders[p.column] != "" {
			s.dropNext(p)
			s.note(p, s.held(p.column))
			continue
		}
		if is {
			s.drop(p.column)
			refill = refill || oid != oidText
		}
		s.statements = append(s.statements, fmt.Sprintf("alter table %s rename column %s to %s", quote(s.schema, s.table), quote(p.next), quote(p.column)))
		s.columns[p.column] = s.columns[p.next]
		delete(s.columns, p.next)
		p.next, p.fill, p.changed = "", true, true
		s.comment(p, p.column)
	}
	return refill
}

func (s *shape) add(name string, typ columnType) {
	clause := "add column " + quote(name) + " " + typ.String()
	if s.lz4 && typ == typeText {
		clause += " compression lz4"
	}
	s.clauses = append(s.clauses, clause)
	s.columns[name], s.taken[name] = columnTypes[typ].oid, true
	s.used++
}

func (s *shape) drop(name string) {
	s.clauses = append(s.clauses, "drop column "+quote(name))
	delete(s.columns, name)
}

// dropNext gives up a change of a type. What did not fit the new one is in _extra beside the column: fill takes it out.
func (s *shape) dropNext(p *shapedProperty) {
	if p.next == "" {
		return
	}
	if _, is := s.columns[p.next]; is {
		s.drop(p.next)
	}
	p.next, p.fill, p.changed = "", true, true
}

func (s *shape) comment(p *shapedProperty, column string) {
	s.statements = append(s.statements, fmt.Sprintf("comment on column %s.%s is %s", quote(s.schema, s.table), quote(column), literal(p.label)))
	p.comment, p.changed = p.label, true
}

func (s *shape) note(p *shapedProperty, text string) {
	if text != p.note {
		p.note, p.changed = text, true
		if text != "" {
			s.noted = append(s.noted, shapeNote{p.name, text})
		}
	}
}

func (s *shape) noColumn() string {
	return fmt.Sprintf("the table has used up its %d columns (Postgres counts dropped ones too): values are in _extra; `hubtail rebuild %s` makes the table anew", maxColumns, s.object)
}

func (s *shape) held(column string) string {
	return heldNote(column, columnTypeByOID(s.columns[column]), s.holders[column])
}

// run carries the plan out and notes it in the catalogue.
func (s *shape) run(ctx context.Context, tx pgx.Tx) error {
	var changed []map[string]any
	for _, p := range s.properties {
		if p.changed {
			sqlType := any(nil)
			if typ := columnTypeByOID(s.columns[p.column]); typ != 0 {
				sqlType = typ.String()
			}
			changed = append(changed, map[string]any{
				"name": p.name, "column_name": p.column, "column_type": sqlType, "next_name": p.next, "fill": p.fill, "comment": p.comment, "note": p.note,
			})
		}
	}
	if len(s.clauses) > 0 {
		if err := execAll(ctx, tx, "alter table "+quote(s.schema, s.table)+" "+strings.Join(s.clauses, ", ")); err != nil {
			return err
		}
	}
	if err := execAll(ctx, tx, strings.Join(s.statements, ";\n")); err != nil {
		return err
	}
	if len(changed) > 0 {
		rows, err := json.Marshal(changed)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update `+quote(s.schema, "properties")+` p set column_name = nullif(r.column_name, ''), column_type = r.column_type,
			next_name = nullif(r.next_name, ''), fill = r.fill, comment = r.comment, note = nullif(r.note, '')
			from jsonb_to_recordset($2::text::jsonb) as r(name text, column_name text, column_type text, next_name text, fill boolean, comment text, note text)
			where p.object = $1 and p.name = r.name`, s.object, string(rows)); err != nil {
			return err
		}
	}
	if len(s.clauses)+len(s.statements)+len(changed) == 0 {
		return nil
	}
	generation := "generation"
	if len(s.clauses) > 0 {
		generation = "generation + 1"
	}
	_, err := tx.Exec(ctx, `update `+quote(s.schema, "objects")+` set reshaped_to = null, generation = `+generation+` where object = $1`, s.object)
	return err
}
