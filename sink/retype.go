package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// retype changes column types: every value goes to _extra as text, the empty column gets its new type, and fill then
// takes from _extra what fits, by the same casts as any event's values. Values of a column that was not text come out as
// Postgres writes them, which may not be HubSpot's very text ("1e3"), so the table is marked for a refill from the log.
func (c *change) retype(ctx context.Context, tx pgx.Tx) error {
	done := c.retyped[:0]
	for _, r := range c.retyped {
		ok, err := c.retypeColumn(ctx, tx, r)
		if err != nil {
			return err
		}
		if ok {
			done = append(done, r)
		} else {
			c.keepType(r)
		}
	}
	c.retyped = done
	for _, r := range done {
		if r.from != typeText {
			_, err := tx.Exec(ctx, `update `+quote(c.schema, "objects")+` set refill = true where object = $1`, c.object)
			return err
		}
	}
	return nil
}

// retypeColumn reports false if something of the owner's, a view, an index, a check or a default, depends on the column's
// type. Then the type stays, and values that do not fit it go to _extra as ever.
func (c *change) retypeColumn(ctx context.Context, tx pgx.Tx, r retyped) (bool, error) {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer savepoint.Rollback(ctx) //nolint:errcheck // a no-op after commit
	t, col := quote(c.schema, c.table), quote(r.name)
	if _, err := savepoint.Exec(ctx, fmt.Sprintf(
		`update %s set _extra = coalesce(_extra, '{}') || jsonb_build_object($1::text, %s) where %s is not null`,
		t, textOf(r.from, col), col), r.property); err != nil {
		return false, err
	}
	_, err = savepoint.Exec(ctx, fmt.Sprintf(`alter table %s alter column %s type %s using null`, t, col, r.typ))
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && dependsOnType(pgErr.Code) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, savepoint.Commit(ctx)
}

// dependsOnType reports whether a refusal to change a type is for good: for what the owner built on the column, not for a
// lock, a missing right or a failing server.
func dependsOnType(code string) bool {
	const insufficientPrivilege = "42501"
	switch code[:2] {
	case "0A", "22", "23", "2B", "42":
		return code != insufficientPrivilege
	}
	return false
}

// keepType puts the column's old type back into the catalogue.
func (c *change) keepType(r retyped) {
	for i := range c.properties {
		if p := &c.properties[i]; p.ColumnName != nil && *p.ColumnName == r.name {
			p.set(r.name, r.from)
		}
	}
}

// textOf returns an expression for a column's value as HubSpot would write it.
func textOf(t columnType, col string) string {
	switch t {
	case typeBoolean:
		return "case when " + col + " then 'true' else 'false' end"
	case typeDate:
		return "to_char(" + col + ", 'YYYY-MM-DD')"
	case typeTimestamptz:
		return "to_char(" + col + " at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
	}
	return col + "::text"
}

// fillRows is how many rows fill reads at a time.
const fillRows = 1_000

// fill moves values from _extra to columns that are new, or empty since their type changed.
func (c *change) fill(ctx context.Context, tx pgx.Tx, columns []column) error {
	if len(columns) == 0 {
		return nil
	}
	names := make([]string, len(columns))
	for i, col := range columns {
		names[i] = col.property
	}
	after := int64(nullInt)
	for {
		rows, err := tx.Query(ctx, `select id, _extra::text from `+quote(c.schema, c.table)+`
			where id > $1 and _extra ?| $2 order by id limit $3`, after, names, fillRows)
		if err != nil {
			return err
		}
		var id int64
		var extra []byte
		move := newMove(columns)
		_, err = pgx.ForEachRow(rows, []any{&id, &extra}, func() error {
			after = id
			return move.add(id, extra)
		})
		if err != nil {
			return err
		}
		if err := move.run(ctx, tx, quote(c.schema, c.table)); err != nil {
			return err
		}
		if rows.CommandTag().RowsAffected() < fillRows {
			return nil
		}
	}
}

// move is a batch of values on their way from _extra to columns.
type move struct {
	columns []column
	ids     []int64
	values  [][][]byte // by column, then row; nil: does not fit
	moved   []string   // by row: the names to take out of _extra, separated by a control character
}

func newMove(columns []column) *move {
	return &move{columns: columns, values: make([][][]byte, len(columns))}
}

func (m *move) add(id int64, extra []byte) error {
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
	m.ids = append(m.ids, id)
	m.moved = append(m.moved, strings.Join(moved, "\x1f"))
	return nil
}

// run writes the batch. A row that would get too big, or that a constraint of the owner's refuses, keeps its values in
// _extra: the batch is halved until such a row is alone.
func (m *move) run(ctx context.Context, tx pgx.Tx, table string) error {
	if len(m.ids) == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return m.write(ctx, tx, table) })
	if err == nil || classify(err) != faultData {
		return err
	}
	if len(m.ids) == 1 {
		return nil
	}
	half := len(m.ids) / 2
	if err := m.part(0, half).run(ctx, tx, table); err != nil {
		return err
	}
	return m.part(half, len(m.ids)).run(ctx, tx, table)
}

func (m *move) part(from, to int) *move {
	p := newMove(m.columns)
	p.ids, p.moved = m.ids[from:to], m.moved[from:to]
	for i := range m.values {
		p.values[i] = m.values[i][from:to]
	}
	return p
}

// write writes the batch by one statement. Only columns that get a value somewhere are named.
func (m *move) write(ctx context.Context, tx pgx.Tx, table string) error {
	p := (&params{}).int8s(m.ids).texts(m.moved)
	names, sets := "id, moved", "_extra = nullif(t._extra - string_to_array(r.moved, E'\\x1f'), '{}')"
	for i, col := range m.columns {
		b := appendArrayHeader(nil, columnTypes[col.typ].oid, len(m.ids))
		some := false
		for _, v := range m.values[i] {
			b = appendBytes(b, v)
			some = some || v != nil
		}
		if some {
			p.add(columnTypes[col.typ].array, b)
			names += fmt.Sprintf(", c%d", i)
			sets += fmt.Sprintf(", %s = coalesce(r.c%d, t.%[1]s)", quote(col.name), i)
		}
	}
	args := "$1, $2"
	for i := 3; i <= len(p.values); i++ {
		args += fmt.Sprintf(", $%d", i)
	}
	batch := &pgconn.Batch{}
	p.queue(batch, fmt.Sprintf(`update %s t set %s from unnest(%s) as r(%s) where t.id = r.id and r.moved <> ''`, table, sets, args, names))
	_, err := tx.Conn().PgConn().ExecBatch(ctx, batch).ReadAll()
	return err
}
