package sink

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// upsertStatement writes rows that have values in certain columns; the table's other columns become null. An event is a
// record's full state, so a row is always replaced whole, and no statement needs to know what was there before.
type upsertStatement struct {
	columns  []int32 // of the table, ascending
	position []int32 // of each of the table's columns in columns, -1 if it is not there
	sql      string
}

// systemColumns come first in every statement, in this order.
var systemColumns = []struct {
	name       string
	oid, array uint32
}{
	{"id", oidInt8, oidInt8Array},
	{"_seq", oidInt8, oidInt8Array},
	{"_merged_into", oidInt8, oidInt8Array},
	{"_created_at", oidTimestamptz, oidTimestamptzArray},
	{"_updated_at", oidTimestamptz, oidTimestamptzArray},
	{"_archived_at", oidTimestamptz, oidTimestamptzArray},
	{"_archived", oidBool, oidBoolArray},
	{"_purged", oidBool, oidBoolArray},
	{"_extra", oidJSONB, oidJSONBArray},
}

// keptStatements is how many statements a table keeps. Every batch has its own set of columns with a value, and a
// statement for exactly that set would be a new text each time; a known statement with a few columns too many serves as
// well, while sending all of 367 columns would cost half the speed.
const keptStatements = 8

// statement returns a statement that has at least the needed columns: a kept one if it has not too many more.
func (t *table) statement(schema string, needed []bool) *upsertStatement {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := 0
	for _, is := range needed {
		if is {
			count++
		}
	}
	for i, s := range t.statements {
		if len(s.columns) <= count+count/4+8 && s.covers(needed) {
			// Most recently used first.
			copy(t.statements[1:i+1], t.statements[:i])
			t.statements[0] = s
			return s
		}
	}
	s := t.newStatement(schema, needed)
	if len(t.statements) == keptStatements {
		t.statements = t.statements[:keptStatements-1]
	}
	t.statements = slices.Insert(t.statements, 0, s)
	return s
}

func (s *upsertStatement) covers(needed []bool) bool {
	for i, is := range needed {
		if is && s.position[i] < 0 {
			return false
		}
	}
	return true
}

func (t *table) newStatement(schema string, needed []bool) *upsertStatement {
	s := &upsertStatement{position: make([]int32, len(t.columns))}
	for i, is := range needed {
		s.position[i] = -1
		if is {
			s.position[i] = int32(len(s.columns))
			s.columns = append(s.columns, int32(i))
		}
	}
	s.sql = upsertSQL(schema, t, s)
	return s
}

// guard is the ordering rule of every table: what is older than the row, or the same, changes nothing, and nothing brings
// back what was deleted for privacy. Only a refill writes the same once more.
const (
	guard        = `where case when t._purged then excluded._purged and t._seq < excluded._seq else excluded._purged or t._seq < excluded._seq end`
	rewriteGuard = `where case when t._purged then excluded._purged and t._seq <= excluded._seq else excluded._purged or t._seq <= excluded._seq end`
)

// byID is the order that rows go in by, so that two sinks that write the same ones cannot deadlock.
const byID = `order by r.id`

// unlessKnown comes before byID where nobody has looked what the table has. Postgres rule: a row that ON CONFLICT meets and
// its condition then leaves alone is locked, and that is written to the WAL.
func unlessKnown(schema string, t *table) string {
	return `and (r._purged or not exists (select from ` + quote(schema, t.name) + ` k where k.id = r.id and k._seq >= r._seq))` + "\n"
}

// unlessErased comes before that. A record that was deleted for privacy has a tombstone, which nothing replaces, unless the
// database refused one. The object type is the parameter of that number.
func unlessErased(schema string, parameter int) string {
	return fmt.Sprintf("where (r._purged or not exists (select from %s e where e.object = $%d and e.record_id = r.id))\n", quote(schema, "erased"), parameter)
}

// upsertSQL returns the one statement that writes records.
func upsertSQL(schema string, t *table, s *upsertStatement) string {
	var names, params, sets strings.Builder
	for i, c := range systemColumns {
		if i > 0 {
			names.WriteString(", ")
			params.WriteString(", ")
		}
		names.WriteString(c.name)
		fmt.Fprintf(&params, "$%d", i+1)
		if c.name != "id" {
			fmt.Fprintf(&sets, "%s = excluded.%s, ", c.name, c.name)
		}
	}
	for i, c := range t.columns {
		name := quote(c.name)
		if p := s.position[i]; p >= 0 {
			names.WriteString(", " + name)
			fmt.Fprintf(&params, ", $%d", len(systemColumns)+int(p)+1)
			fmt.Fprintf(&sets, "%s = excluded.%s, ", name, name)
		} else {
			fmt.Fprintf(&sets, "%s = null, ", name)
		}
	}
	return fmt.Sprintf(`insert into %s as t (%s)
select r.* from unnest(%s) as r(id, _seq, _merged_into, _created_at, _updated_at, _archived_at, _archived, _purged)
`+byID+`
on conflict (id) do update set %s_synced_at = now()
`+guard, quote(schema, t.name), names.String(), params.String(), sets.String())
}

// needed returns which of the table's columns have a value in some row.
func (s *rowSet) needed() []bool {
	needed := make([]bool, len(s.table.columns))
	for i := range s.rows {
		for _, c := range s.rowCells(&s.rows[i]) {
			needed[c.column] = true
		}
	}
	return needed
}

func (s *rowSet) rowCells(row *recordRow) []cell { return s.cells[row.firstCell:row.lastCell] }

// queueUpsert adds the statement for all rows of the set to a batch.
func (s *rowSet) queueUpsert(batch *pgconn.Batch, schema string) {
	stmt := s.table.statement(schema, s.needed())
	p := &params{
		values: make([][]byte, 0, len(systemColumns)+len(stmt.columns)),
		oids:   make([]uint32, 0, len(systemColumns)+len(stmt.columns)),
	}
	s.systemArrays(p)
	s.propertyArrays(p, stmt)
	sql := stmt.sql
	if s.rewrite {
		sql = strings.TrimSuffix(sql, guard) + rewriteGuard
	}
	p.text(s.table.object)
	where := unlessErased(schema, len(p.values))
	if !s.rewrite && len(s.rows) < lookRows {
		where += unlessKnown(schema, s.table)
	}
	sql = strings.Replace(sql, byID, where+byID, 1)
	p.queue(batch, sql)
}

// systemArrays adds the arrays of the system columns.
func (s *rowSet) systemArrays(p *params) {
	for i, c := range systemColumns {
		b := appendArrayHeader(make([]byte, 0, 20+12*len(s.rows)), c.oid, len(s.rows))
		for j := range s.rows {
			b = s.appendSystem(b, &s.rows[j], i)
		}
		p.add(c.array, b)
	}
}

// appendSystem appends one system column of a row.
func (s *rowSet) appendSystem(b []byte, row *recordRow, column int) []byte {
	switch column {
	case 0:
		return appendInt8(b, row.id)
	case 1:
		return appendInt8(b, row.seq)
	case 2:
		return appendInt8(b, row.mergedInto)
	case 3:
		return appendInt8(b, row.createdAt)
	case 4:
		return appendInt8(b, row.updatedAt)
	case 5:
		return appendInt8(b, row.archivedAt)
	case 6:
		return appendBool(b, row.archived)
	case 7:
		return appendBool(b, row.purged)
	}
	return appendBytes(b, s.extra(row))
}

// propertyArrays adds one array per column of the statement, null where a row has no value. Cells lie row by row, so
// every array is filled a little at a time, up to the row at hand; all of them share one allocation of the exact size.
func (s *rowSet) propertyArrays(p *params, stmt *upsertStatement) {
	sizes := make([]int, len(stmt.columns))
	total := 0
	for i := range s.rows {
		for _, c := range s.rowCells(&s.rows[i]) {
			n := int(c.end - c.start)
			sizes[stmt.position[c.column]] += n
			total += n
		}
	}
	head := 20 + 4*len(s.rows)
	memory := make([]byte, 0, total+head*len(stmt.columns))
	arrays := make([][]byte, len(stmt.columns))
	filled := make([]int32, len(stmt.columns)) // rows that the array has so far
	for i, c := range stmt.columns {
		end := len(memory) + head + sizes[i]
		arrays[i] = appendArrayHeader(memory[len(memory):len(memory):end], columnTypes[s.table.columns[c].typ].oid, len(s.rows))
		memory = memory[:end]
	}
	for r := range s.rows {
		for _, c := range s.rowCells(&s.rows[r]) {
			i := stmt.position[c.column]
			arrays[i] = appendBytes(appendNulls(arrays[i], r-int(filled[i])), s.arena[c.start:c.end:c.end])
			filled[i] = int32(r + 1)
		}
	}
	for i, c := range stmt.columns {
		p.add(columnTypes[s.table.columns[c].typ].array, appendNulls(arrays[i], len(s.rows)-int(filled[i])))
	}
}

func appendNulls(b []byte, n int) []byte {
	for range n {
		b = append(b, 0xff, 0xff, 0xff, 0xff)
	}
	return b
}
