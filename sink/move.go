package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// moveRows is how many rows a step moves values of: their locks are held for some hundredths of a second.
const moveRows = 1_000

// errRefused says that a row does not take values that its table promised to take.
var errRefused = errors.New("a row refuses its values")

// moveStep runs a step in a transaction of its own: no other step of the table beside it, writers of rows beside it, no
// change of its columns. Behind the last row it is not done again.
func (a *Applier) moveStep(ctx context.Context, object string, step func(tx pgx.Tx, t moving) error) error {
	err := pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, ddlTimeouts); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('hubtail reshape ' || $1 || '.' || $2, 0)), pg_advisory_xact_lock_shared(`+lockKey+`)`,
			a.schema, object); err != nil {
			return err
		}
		t := moving{schema: a.schema, object: object}
		var due, there bool
		err := tx.QueryRow(ctx, `select table_name, generation, coalesce(reshaped_to, $2), reshape, to_regclass(quote_ident($3) || '.' || quote_ident(table_name)) is not null
			from `+quote(a.schema, "objects")+` where object = $1`,
			object, int64(nullInt), a.schema).Scan(&t.table, &t.generation, &t.after, &due, &there)
		switch {
		case err != nil || due:
			return err
		case !there: // its owner dropped it: there is nothing to move
			_, err := tx.Exec(ctx, `update `+quote(a.schema, "properties")+` set fill = false, next_name = null where object = $1 and (fill or next_name is not null)`, object)
			return err
		}
		return step(tx, t)
	})
	if err != nil {
		return fmt.Errorf("move values of %s to their columns: %w", object, err)
	}
	return nil
}

// moving is a table whose values are on their way.
type moving struct {
	schema, object, table string
	generation            int64
	after                 int64 // rows up to this id are through
}

// name returns the table's quoted name.
func (t moving) name() string { return quote(t.schema, t.table) }

// columns returns the columns that values move to, and from where: "" is _extra.
func (t moving) columns(ctx context.Context, tx pgx.Tx, where string) (to []column, from []column, err error) {
	rows, err := tx.Query(ctx, `select p.name, p.column_name, coalesce(p.next_name, ''), coalesce(c.atttypid, 0)::bigint, coalesce(n.atttypid, 0)::bigint
		from `+quote(t.schema, "properties")+` p
		left join pg_attribute c on c.attrelid = $2::regclass and c.attname = p.column_name and c.attnum > 0 and not c.attisdropped
		left join pg_attribute n on n.attrelid = $2::regclass and n.attname = p.next_name and n.attnum > 0 and not n.attisdropped
		where p.object = $1 and p.column_name is not null and `+where+` order by p.name collate "C"`, t.object, t.name())
	if err != nil {
		return nil, nil, err
	}
	var property, name, next string
	var oid, nextOID int64
	_, err = pgx.ForEachRow(rows, []any{&property, &name, &next, &oid, &nextOID}, func() error {
		main := column{property: property, name: name, typ: columnTypeByOID(uint32(oid))}
		switch {
		case next == "" && main.typ != 0:
			to = append(to, main)
		case next != "" && main.typ != 0 && columnTypeByOID(uint32(nextOID)) != 0:
			to, from = append(to, column{property: property, name: next, typ: columnTypeByOID(uint32(nextOID))}), append(from, main)
		}
		return nil
	})
	return to, from, err
}

// progress notes how far the values have moved.
func (t moving) progress(ctx context.Context, tx pgx.Tx, to int64) error {
	_, err := tx.Exec(ctx, `update `+quote(t.schema, "objects")+` set reshaped_to = $2 where object = $1`, t.object, to)
	return err
}

// copyStep takes a batch of values over into columns of other types, by the same casts as any event's values. What does not
// fit goes to _extra, where it is needed once the old column is gone. Rows that were written since the new column is there
// have it already. After the last batch the columns are swapped.
func (a *Applier) copyStep(ctx context.Context, object string) error {
	var done bool
	var generation int64
	err := a.moveStep(ctx, object, func(tx pgx.Tx, t moving) error {
		to, from, err := t.columns(ctx, tx, "p.next_name is not null")
		if err != nil {
			return err
		}
		generation = t.generation
		if len(to) == 0 {
			done = true
			return nil
		}
		var select_, where []string
		for i := range to {
			open := fmt.Sprintf("%s is not null and %s is null and not coalesce(_extra ? %s, false)", quote(from[i].name), quote(to[i].name), literal(to[i].property))
			where = append(where, "("+open+")")
			select_ = append(select_, fmt.Sprintf("case when %s then %s end", open, textOf(from[i].typ, quote(from[i].name))))
		}
		move := newMove(to)
		last, end, err := t.read(ctx, tx, strings.Join(select_, ", "), strings.Join(where, " or "), len(to), func(id int64, values []*string) error {
			move.addCopied(id, values)
			return nil
		})
		if err != nil {
			return err
		}
		if err := move.run(ctx, tx, t.name(), true); err != nil {
			return err
		}
		done = end
		return t.progress(ctx, tx, last)
	})
	if errors.Is(err, errRefused) {
		return a.giveUp(ctx, object, err)
	}
	if err != nil || !done {
		return err
	}
	return a.swap(ctx, object, generation)
}

// fillStep takes a batch of values out of _extra that fit their columns.
func (a *Applier) fillStep(ctx context.Context, object string) error {
	return a.moveStep(ctx, object, func(tx pgx.Tx, t moving) error {
		to, _, err := t.columns(ctx, tx, "p.fill and p.next_name is null")
		if err != nil {
			return err
		}
		move := newMove(to)
		names := make([]string, len(to))
		for i, col := range to {
			names[i] = literal(col.property)
		}
		last, end := t.after, true
		if len(to) > 0 {
			last, end, err = t.read(ctx, tx, "_extra::text", "_extra ?| array["+strings.Join(names, ", ")+"]", 1, func(id int64, values []*string) error {
				return move.addExtra(id, []byte(*values[0]))
			})
			if err != nil {
				return err
			}
			if err := move.run(ctx, tx, t.name(), false); err != nil {
				return err
			}
		}
		if !end {
			return t.progress(ctx, tx, last)
		}
		_, err = tx.Exec(ctx, `update `+quote(t.schema, "properties")+` set fill = false where object = $1 and fill and next_name is null`, t.object)
		if err == nil {
			_, err = tx.Exec(ctx, `update `+quote(t.schema, "objects")+` set reshaped_to = null where object = $1`, t.object)
		}
		return err
	})
}

// read reads those of the next moveRows rows that where selects, and locks them, ascending as all writers do. It returns the
// last id that was looked at, and whether there was none any more. (Both bounds of the ids are named, because Postgres knows
// nothing of the values in a new column, and would rather sort the whole table for every batch.)
func (t moving) read(ctx context.Context, tx pgx.Tx, columns, where string, width int, do func(id int64, values []*string) error) (last int64, end bool, err error) {
	var to *int64
	err = tx.QueryRow(ctx, fmt.Sprintf(`select max(id) from (select id from %s where id > $1 order by id limit %d) w`, t.name(), moveRows),
		pgx.QueryExecModeExec, t.after).Scan(&to)
	if err != nil || to == nil {
		return t.after, true, err
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`select id, %s from %s where id > $1 and id <= $2 and (%s) order by id for no key update`, columns, t.name(), where),
		pgx.QueryExecModeExec, t.after, *to)
	if err != nil {
		return t.after, false, err
	}
	var id int64
	values := make([]*string, width)
	targets := []any{&id}
	for i := range values {
		targets = append(targets, &values[i])
	}
	_, err = pgx.ForEachRow(rows, targets, func() error { return do(id, values) })
	return *to, false, err
}

// giveUp ends a change of types that a row refuses, by a constraint or a trigger of the owner's.
func (a *Applier) giveUp(ctx context.Context, object string, cause error) error {
	return a.changeTable(ctx, object, func(tx pgx.Tx) error {
		s, err := a.readShape(ctx, tx, object)
		if err != nil || s == nil {
			return err
		}
		for _, p := range s.properties {
			if p.next != "" {
				s.dropNext(p)
				s.note(p, fmt.Sprintf("%s stays %s, because %v: values that do not fit are in _extra; see to the row and restart the sink",
					quote(p.column), columnTypeByOID(s.columns[p.column]), cause))
			}
		}
		return a.carryOut(ctx, tx, s)
	})
}

// textOf returns an expression for a column's value as HubSpot would write it.
func textOf(t columnType, col string) string {
	switch t {
	case typeBoolean:
		return "case when " + col + " then 'true' else 'false' end"
	case typeDate:
		return "to_char(" + col + ", 'YYYY-MM-DD')"
	case typeTimestamptz:
		return "to_char(" + col + " at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.' || case when to_char(" + col + ", 'US') like '%000' then 'MS' else 'US' end || '\"Z\"')"
	}
	return col + "::text"
}

// move is a batch of values on their way to columns.
type move struct {
	columns []column
	ids     []int64
	values  [][][]byte // by column, then row; nil: none, or does not fit
	moved   []string   // by row: the names to take out of _extra, separated by a control character
	kept    []string   // by row: what goes into _extra, as JSON; "" is nothing
	all     []string   // by row: all that would have to if the row has no room for the columns
}

func newMove(columns []column) *move {
	return &move{columns: columns, values: make([][][]byte, len(columns))}
}

// addCopied adds a row's values from other columns.
func (m *move) addCopied(id int64, values []*string) {
	var kept, all []byte
	for i, col := range m.columns {
		var encoded []byte
		if values[i] != nil {
			all = appendExtra(all, col.property, *values[i])
			if v, fits := col.typ.appendValue([]byte{}, []byte(*values[i])); fits {
				encoded = v
			} else {
				kept = appendExtra(kept, col.property, *values[i])
			}
		}
		m.values[i] = append(m.values[i], encoded)
	}
	m.ids, m.moved = append(m.ids, id), append(m.moved, "")
	m.kept, m.all = append(m.kept, closeExtra(kept)), append(m.all, closeExtra(all))
}

func closeExtra(members []byte) string {
	if members == nil {
		return ""
	}
	return string(append(members, '}'))
}

// addExtra adds a row's values from _extra.
func (m *move) addExtra(id int64, extra []byte) error {
	values, err := parseExtra(extra)
	if err != nil {
		return fmt.Errorf("row %d: %w", id, err)
	}
	var moved []string
	for i, col := range m.columns {
		var encoded []byte
		if raw, ok := values[col.property]; ok {
			if v, fits := col.typ.appendValue([]byte{}, []byte(raw)); fits {
				encoded = v
				moved = append(moved, col.property)
			}
		}
		m.values[i] = append(m.values[i], encoded)
	}
	m.ids, m.moved = append(m.ids, id), append(m.moved, strings.Join(moved, "\x1f"))
	m.kept, m.all = append(m.kept, ""), append(m.all, "")
	return nil
}

// run writes the batch. A row that would get too big, or that a constraint of the owner's refuses, has its values in _extra:
// the batch is halved until such a row is alone. must says that they have to be there, not only stay.
func (m *move) run(ctx context.Context, tx pgx.Tx, table string, must bool) error {
	if len(m.ids) == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return m.write(ctx, tx, table) })
	if err == nil || classify(err) != faultData {
		return err
	}
	if len(m.ids) > 1 {
		half := len(m.ids) / 2
		if err := m.part(0, half).run(ctx, tx, table, must); err != nil {
			return err
		}
		return m.part(half, len(m.ids)).run(ctx, tx, table, must)
	}
	if !must {
		return nil
	}
	alone := m.part(0, 1)
	alone.kept = alone.all
	for i := range alone.values {
		alone.values[i] = [][]byte{nil}
	}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return alone.write(ctx, tx, table) })
	if err != nil && classify(err) == faultData {
		var pgErr *pgconn.PgError
		errors.As(err, &pgErr)
		return fmt.Errorf("%w: row %d: %s (SQLSTATE %s)", errRefused, m.ids[0], pgErr.Message, pgErr.Code)
	}
	return err
}

func (m *move) part(from, to int) *move {
	p := newMove(m.columns)
	p.ids, p.moved, p.kept, p.all = m.ids[from:to], m.moved[from:to], m.kept[from:to], m.all[from:to]
	for i := range m.values {
		p.values[i] = m.values[i][from:to]
	}
	return p
}

// write writes the batch by one statement. Only columns that get a value somewhere are named.
func (m *move) write(ctx context.Context, tx pgx.Tx, table string) error {
	p := (&params{}).int8s(m.ids).texts(m.moved).texts(m.kept)
	names, sets := "id, moved, kept", "_extra = nullif((coalesce(t._extra, '{}') - string_to_array(r.moved, E'\\x1f')) || coalesce(nullif(r.kept, ''), '{}')::jsonb, '{}')"
	args := "$1, $2, $3"
	for i, col := range m.columns {
		b := appendArrayHeader(nil, columnTypes[col.typ].oid, len(m.ids))
		some := false
		for _, v := range m.values[i] {
			b = appendBytes(b, v)
			some = some || v != nil
		}
		if some {
			p.add(columnTypes[col.typ].array, b)
			args += fmt.Sprintf(", $%d", len(p.values))
			names += fmt.Sprintf(", c%d", i)
			sets += fmt.Sprintf(", %s = coalesce(r.c%d, t.%[1]s)", quote(col.name), i)
		}
	}
	batch := &pgconn.Batch{}
	p.queue(batch, fmt.Sprintf(`update %s t set %s from unnest(%s) as r(%s) where t.id = r.id and (%s)`, table, sets, args, names, m.some()))
	_, err := tx.Conn().PgConn().ExecBatch(ctx, batch).ReadAll()
	return err
}

// some selects the rows that change.
func (m *move) some() string {
	if m.moved[0] == "" && m.all[0] != "" { // copied values: every row that was read
		return "true"
	}
	return "r.moved <> ''"
}
