package sink

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
)

// split parts the set into rows whose id is not in stored, and the others. Both share the encoded values.
func (s *rowSet) split(stored map[int64]bool) (added, others *rowSet) {
	added, others = &rowSet{table: s.table, cells: s.cells, arena: s.arena}, &rowSet{table: s.table, cells: s.cells, arena: s.arena, rewrite: s.rewrite}
	if len(stored) == 0 {
		added.rows = s.rows
		return added, others
	}
	for _, row := range s.rows {
		if stored[row.id] {
			others.rows = append(others.rows, row)
		} else {
			added.rows = append(added.rows, row)
		}
	}
	return added, others
}

// copySQL names the columns that have a value in some row; the others become null.
func (s *rowSet) copySQL(schema string) string {
	var names strings.Builder
	for i, c := range systemColumns {
		if i > 0 {
			names.WriteString(", ")
		}
		names.WriteString(c.name)
	}
	for i, is := range s.needed() {
		if is {
			names.WriteString(", " + quote(s.table.columns[i].name))
		}
	}
	return "copy " + quote(schema, s.table.name) + " (" + names.String() + ") from stdin (format binary)"
}

// copySignature begins COPY's binary format: a name, no flags, no extension.
const copySignature = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// copyReader returns the rows in COPY's binary format, for the columns of copySQL.
func (s *rowSet) copyReader() io.Reader {
	position := make([]int, len(s.table.columns))
	columns := 0
	for i, is := range s.needed() {
		position[i] = columns
		if is {
			columns++
		}
	}
	size := len(copySignature) + 2 + len(s.rows)*(100+4*columns)
	for i := range s.rows {
		for _, c := range s.rowCells(&s.rows[i]) {
			size += int(c.end - c.start)
		}
		size += len(s.extra(&s.rows[i]))
	}
	b := append(make([]byte, 0, size), copySignature...)
	values := make([]cell, columns) // of a row, by position
	for i := range s.rows {
		row := &s.rows[i]
		b = binary.BigEndian.AppendUint16(b, uint16(len(systemColumns)+columns))
		for c := range systemColumns {
			b = s.appendSystem(b, row, c)
		}
		clear(values)
		for _, c := range s.rowCells(row) {
			values[position[c.column]] = c
		}
		for _, c := range values {
			if c.end == 0 {
				b = append(b, 0xff, 0xff, 0xff, 0xff)
			} else {
				b = appendBytes(b, s.arena[c.start:c.end:c.end])
			}
		}
	}
	return bytes.NewReader(append(b, 0xff, 0xff))
}

func parseInt8(text []byte) (int64, error) { return strconv.ParseInt(string(text), 10, 64) }
