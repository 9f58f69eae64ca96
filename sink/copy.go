package sink

import (
	"encoding/binary"
	"io"
	"slices"
	"strconv"
	"strings"
)

// leaveOut takes out what the table has already, or newer, by the sequences that are stored.
func (s *rowSet) leaveOut(stored map[int64]int64) {
	if s.rewrite || len(stored) == 0 {
		return
	}
	s.rows = slices.DeleteFunc(s.rows, func(row recordRow) bool {
		seq, ok := stored[row.id]
		return ok && seq >= row.seq && !row.purged
	})
}

// split parts the set into rows whose id is not in stored, and the others. Both share the encoded values.
func (s *rowSet) split(stored map[int64]int64) (added, others *rowSet) {
	added, others = &rowSet{table: s.table, cells: s.cells, arena: s.arena}, &rowSet{table: s.table, cells: s.cells, arena: s.arena, rewrite: s.rewrite}
	if len(stored) == 0 {
		added.rows = s.rows
		return added, others
	}
	for _, row := range s.rows {
		if _, ok := stored[row.id]; ok {
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

// copyReader yields the rows in COPY's binary format, for the columns of copySQL, a few rows at a time.
type copyReader struct {
	set      *rowSet
	position []int  // of the table's columns in the row that travels
	values   []cell // of a row, by position
	next     int    // row, one beyond the last one for the trailer
	buf      []byte // encoded, not yet read
	spare    []byte // buf from its beginning
}

func (s *rowSet) copyReader() *copyReader {
	r := &copyReader{set: s, position: make([]int, len(s.table.columns))}
	columns := 0
	for i, is := range s.needed() {
		r.position[i] = columns
		if is {
			columns++
		}
	}
	r.values = make([]cell, columns)
	r.spare = append(make([]byte, 0, 64<<10), copySignature...)
	r.buf = r.spare
	return r
}

// Read implements io.Reader.
func (r *copyReader) Read(p []byte) (int, error) {
	if len(r.buf) == 0 {
		if r.next > len(r.set.rows) {
			return 0, io.EOF
		}
		b := r.spare[:0]
		for len(b) < 32<<10 && r.next <= len(r.set.rows) {
			if r.next == len(r.set.rows) {
				b = append(b, 0xff, 0xff)
			} else {
				b = r.appendRow(b, &r.set.rows[r.next])
			}
			r.next++
		}
		r.buf, r.spare = b, b
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

func (r *copyReader) appendRow(b []byte, row *recordRow) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(systemColumns)+len(r.values)))
	for c := range systemColumns {
		b = r.set.appendSystem(b, row, c)
	}
	clear(r.values)
	for _, c := range r.set.rowCells(row) {
		r.values[r.position[c.column]] = c
	}
	for _, c := range r.values {
		if c.end == 0 {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
		} else {
			b = appendBytes(b, r.set.arena[c.start:c.end:c.end])
		}
	}
	return b
}

func parseInt8(text []byte) (int64, error) { return strconv.ParseInt(string(text), 10, 64) }
