package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Result is the comparison of one object type.
type Result struct {
	Object    string
	Source    int // records in HubSpot, archived ones included
	Rows      int // rows in the table
	Values    int // property values compared
	Missing   int // records without a row
	Extra     int // rows without a record
	Different int // rows with a wrong value
	Examples  []string
}

// Equal reports whether the table holds exactly what the source holds.
func (r Result) Equal() bool { return r.Missing == 0 && r.Extra == 0 && r.Different == 0 }

// maxExamples bounds how many differences a result names.
const maxExamples = 10

func (r *Result) example(format string, args ...any) {
	if len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}

// Compare walks the source's records of an object type and the rows of its table side by side, both ascending by id.
func Compare(ctx context.Context, conn *pgx.Conn, schema, object string, truth iter.Seq2[Record, error]) (Result, error) {
	result := Result{Object: object}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return result, fmt.Errorf("compare %s: %w", object, err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	t, err := openTable(ctx, tx, schema, object, "")
	if err != nil {
		return result, fmt.Errorf("compare %s: %w", object, err)
	}
	defer t.rows.Close()
	have := t.next()
	for want, err := range truth {
		if err != nil {
			return result, err
		}
		id, err := strconv.ParseInt(want.ID, 10, 64)
		if err != nil {
			return result, fmt.Errorf("compare %s: record id %q is not a number", object, want.ID)
		}
		for have && t.id < id {
			result.Rows++
			result.Extra++
			result.example("%s %d is in the table only", object, t.id)
			have = t.next()
		}
		if (want.Purged || want.MergedInto != "") && (!have || t.id > id) {
			continue // purged, or merged away, before it was ever read
		}
		result.Source++
		if !have || t.id > id {
			result.Missing++
			result.example("%s %d is missing in the table", object, id)
			continue
		}
		result.Rows++
		why := t.differsInState(want)
		if want.MergedInto == "" { // else HubSpot shows no values of its own any more: the row has those that were read last
			result.Values += len(want.Properties)
			why = t.differs(want)
		}
		if why != "" {
			result.Different++
			result.example("%s %d: %s", object, id, why)
		}
		have = t.next()
	}
	for ; have; have = t.next() {
		result.Rows++
		result.Extra++
		result.example("%s %d is in the table only", object, t.id)
	}
	if err := t.rows.Err(); err != nil {
		return result, fmt.Errorf("compare %s: %w", object, err)
	}
	return result, nil
}

// table is an open cursor over a table's rows in Postgres' text format.
type table struct {
	rows    pgx.Rows
	columns map[string]column // by property name
	system  map[string]int    // index of a system column
	id      int64
	extra   map[string]json.RawMessage

	badExtra bool // _extra is something else than an object
}

type column struct {
	index   int
	sqlType string
}

// openTable selects the rows that where selects, "" for all, ascending by id.
func openTable(ctx context.Context, tx pgx.Tx, schema, object, where string, args ...any) (*table, error) {
	// One time zone and one date style, whatever the server's defaults are.
	if _, err := tx.Exec(ctx, "set local timezone to 'UTC'; set local datestyle to 'ISO, YMD'"); err != nil {
		return nil, err
	}
	name, properties, err := catalogue(ctx, tx, schema, object)
	if err != nil {
		return nil, err
	}
	types, err := columnTypes(ctx, tx, schema, name)
	if err != nil {
		return nil, err
	}
	query := "select * from " + pgx.Identifier{schema, name}.Sanitize() + " " + where + " order by id"
	// Nothing about the columns may be remembered from one query to the next: a new property adds one.
	options := []any{pgx.QueryExecModeExec, pgx.QueryResultFormats{pgx.TextFormatCode}}
	rows, err := tx.Query(ctx, query, append(options, args...)...)
	if err != nil {
		return nil, err
	}
	t := &table{rows: rows, columns: map[string]column{}, system: map[string]int{}}
	byColumn := map[string]string{}
	for property, col := range properties {
		byColumn[col] = property
	}
	for i, field := range rows.FieldDescriptions() {
		if property, ok := byColumn[field.Name]; ok {
			t.columns[property] = column{i, types[field.Name]}
		} else {
			t.system[field.Name] = i
		}
	}
	return t, nil
}

func columnTypes(ctx context.Context, tx pgx.Tx, schema, table string) (map[string]string, error) {
	rows, err := tx.Query(ctx, "select column_name, data_type from information_schema.columns where table_schema = $1 and table_name = $2", schema, table)
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	var name, sqlType string
	_, err = pgx.ForEachRow(rows, []any{&name, &sqlType}, func() error {
		types[name] = sqlType
		return nil
	})
	return types, err
}

func (t *table) next() bool {
	if !t.rows.Next() {
		return false
	}
	t.id, _ = strconv.ParseInt(t.text("id"), 10, 64)
	t.extra, t.badExtra = nil, false
	if i, ok := t.system["_extra"]; ok {
		if raw := t.rows.RawValues()[i]; raw != nil {
			t.badExtra = json.Unmarshal(raw, &t.extra) != nil || t.extra == nil
		}
	}
	return true
}

func (t *table) text(system string) string {
	i, ok := t.system[system]
	if !ok {
		return "(no such column)"
	}
	return string(t.rows.RawValues()[i])
}

// differsInState says whether the record is live, archived, merged away or purged other than the row says, and how.
func (t *table) differsInState(want Record) string {
	if purged := t.text("_purged") == "t"; purged != want.Purged {
		return fmt.Sprintf("_purged is %v, the record says %v", purged, want.Purged)
	}
	if want.Purged {
		return ""
	}
	// A record that was merged into another is as good as archived.
	if archived, expected := t.text("_archived") == "t", want.Archived || want.MergedInto != ""; archived != expected {
		return fmt.Sprintf("_archived is %v, the record says %v", archived, expected)
	}
	if got := t.text("_merged_into"); got != want.MergedInto {
		return fmt.Sprintf("_merged_into is %q, the record says %q", got, want.MergedInto)
	}
	return ""
}

// differs says how the row differs from the record, "" if it does not.
func (t *table) differs(want Record) string {
	values := t.rows.RawValues()
	if t.badExtra {
		return "_extra is not an object of values"
	}
	if why := t.differsInState(want); why != "" {
		return why
	}
	if want.Purged {
		if stored := t.stored(values); stored != 0 {
			return fmt.Sprintf("%d values of a purged record are stored", stored)
		}
		want.CreatedAt, want.ArchivedAt, want.MergedInto = time.Time{}, time.Time{}, ""
	}
	if why := t.differsInTimes(want); why != "" || want.Purged {
		return why
	}
	found := 0
	for name, raw := range want.Properties {
		col, hasColumn := t.columns[name]
		extra, inExtra := t.extra[name]
		switch {
		case hasColumn && values[col.index] != nil && inExtra:
			return fmt.Sprintf("%s is in its column and in _extra", name)
		case hasColumn && values[col.index] != nil:
			if got := string(values[col.index]); !equalValue(col.sqlType, got, raw) {
				return fmt.Sprintf("%s is %.80q, the record says %.80q", name, got, raw)
			}
		case inExtra:
			if got, ok := extraText(extra); !ok || got != raw {
				return fmt.Sprintf("%s is %.80q in _extra, the record says %.80q", name, extra, raw)
			}
		default:
			return fmt.Sprintf("%s has no value, the record says %.80q", name, raw)
		}
		found++
	}
	if stored := t.stored(values); stored != found {
		return fmt.Sprintf("%d values are stored, the record has %d", stored, found)
	}
	return ""
}

// differsInTimes says how the row's times differ from the record's. Those that are not known are not compared, unless the
// record is exact; of a purged one only that are.
func (t *table) differsInTimes(want Record) string {
	if want.Purged && !want.Exact {
		return ""
	}
	times := map[string]time.Time{"_created_at": want.CreatedAt, "_updated_at": want.UpdatedAt}
	if want.Exact {
		times["_archived_at"] = want.ArchivedAt
	}
	for name, at := range times {
		got := t.text(name)
		switch {
		case at.IsZero() && want.Exact && got != "":
			return fmt.Sprintf("%s is %s, the record has none", name, got)
		case !at.IsZero() && !equalValue("timestamp with time zone", got, at.Format(time.RFC3339Nano)):
			return fmt.Sprintf("%s is %s, the record says %s", name, got, at)
		}
	}
	if want.Purged {
		if into := t.text("_merged_into"); into != "" {
			return fmt.Sprintf("_merged_into is %s, a purged record has none", into)
		}
	}
	return ""
}

// stored counts the row's property values.
func (t *table) stored(values [][]byte) int {
	n := len(t.extra)
	for _, col := range t.columns {
		if values[col.index] != nil {
			n++
		}
	}
	return n
}
