package sink

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// recordRow is one record's row: system columns, and a run of cells in its rowSet.
type recordRow struct {
	id, seq                          int64
	mergedInto                       int64 // nullInt: none
	createdAt, updatedAt, archivedAt int64 // microseconds as Postgres counts, nullInt: none
	archived, purged                 bool
	firstCell, lastCell              int32
	firstExtra, lastExtra            uint32 // in the arena; equal: null
}

const nullInt = math.MinInt64

// cell is a value in a column, in Postgres' binary format, somewhere in the arena.
type cell struct {
	column     int32
	start, end uint32
}

// rowSet is the rows for one table, values encoded once and laid out for either a statement or COPY.
type rowSet struct {
	table   *table
	rewrite bool // replace a row of the same sequence, too
	rows    []recordRow
	cells   []cell
	arena   []byte
	after   []int32 // see columnOf
}

// rowSetPool keeps rowSets to use again: their memory is a few megabytes per batch, which would keep the garbage collector busy.
type rowSetPool struct{ sync.Pool }

// get returns an empty set for a table, with room for rows and bytes.
func (p *rowSetPool) get(t *table, rows, bytes int) *rowSet {
	s, ok := p.Get().(*rowSet)
	if !ok {
		s = &rowSet{}
	}
	s.table, s.rewrite = t, false
	s.rows, s.cells = slices.Grow(s.rows[:0], rows), slices.Grow(s.cells[:0], 48*rows)
	s.arena = slices.Grow(s.arena[:0], bytes)
	s.after = slices.Grow(s.after[:0], len(t.columns)+1)[:len(t.columns)+1]
	clear(s.after)
	return s
}

// put takes a set back that nothing refers to any more. A huge one is left to the garbage collector.
func (p *rowSetPool) put(s *rowSet) {
	if s != nil && cap(s.arena) <= 4*DefaultBatchBytes {
		s.table = nil
		p.Put(s)
	}
}

// maxRowBytes bounds what the values of a row take in a heap page, in the worst case. HubSpot's values go up to 1,600
// columns, but a Postgres row that has every long value moved out of line must still fit into 8,160 bytes with its null
// bitmap (200), header (24) and system columns (under 120). Postgres moves only values above 24 bytes out of line, so
// many short values are what fails. What is beyond the bound goes to _extra, whose one value can always move out.
const maxRowBytes = 7_600

// worstSize returns the most bytes a value can take in the heap, alignment included.
func worstSize(t columnType, size int) int {
	switch t {
	case typeBoolean:
		return 1
	case typeDate:
		return 4 + 3
	case typeTimestamptz:
		return 8 + 7
	case typeNumeric: // stored shorter than it travels: one header byte, then two for sign and weight
		return min(1+size-4, 24)
	}
	return min(1+size, 24)
}

// add encodes an event as a row.
func (s *rowSet) add(e *schemas.Event, seq uint64) error {
	id, err := strconv.ParseInt(e.ID, 10, 64)
	if err != nil {
		return fmt.Errorf("record id %q is not a number", e.ID)
	}
	row := recordRow{
		id: id, seq: int64(seq), mergedInto: nullInt,
		createdAt: microsOrNull(e.CreatedAt), updatedAt: microsOrNull(e.UpdatedAt), archivedAt: microsOrNull(e.ArchivedAt),
		archived: e.Archived || e.Op == schemas.OpMerged || e.Op == schemas.OpPurged,
		purged:   e.Op == schemas.OpPurged,
	}
	if e.MergedInto != "" {
		if row.mergedInto, err = strconv.ParseInt(e.MergedInto, 10, 64); err != nil {
			return fmt.Errorf("merged_into %q is not a number", e.MergedInto)
		}
	}
	row.firstCell, row.firstExtra = int32(len(s.cells)), uint32(len(s.arena))
	if row.purged {
		// HubSpot rule: a privacy deletion leaves nothing. The row stays as a tombstone, so that an older event cannot
		// bring the record back.
		row.mergedInto, row.createdAt, row.archivedAt = nullInt, nullInt, nullInt
		row.lastExtra = row.firstExtra
	} else {
		s.addProperties(&row, e.Properties)
	}
	row.lastCell = int32(len(s.cells))
	s.rows = append(s.rows, row)
	return nil
}

// addProperties puts every value into its column, or into _extra if it has none, does not fit it, or the row is full.
func (s *rowSet) addProperties(row *recordRow, p schemas.Properties) {
	var extra []byte
	used, before := 0, 0
	for name, text := range p.Raw() {
		name, raw := schemas.Unescape(name), schemas.Unescape(text)
		// What needed no escapes Postgres takes as text: the event is UTF-8, and a NUL is an escape.
		storable := len(raw) == len(text)
		i, ok := s.columnOf(name, before)
		if ok {
			before = i + 1
		}
		if ok && s.addCell(i, raw, storable, &used) {
			// While another column is to take this one's place, the value is in both, or in _extra for the other.
			if next := s.table.columns[i].next; next == 0 || s.addCell(next, raw, storable, &used) {
				continue
			}
		}
		extra = appendExtra(extra, string(name), string(raw))
	}
	row.firstExtra = uint32(len(s.arena))
	if extra != nil {
		s.arena = append(append(s.arena, 1), extra...) // jsonb's version, then text
		s.arena = append(s.arena, '}')
	}
	row.lastExtra = uint32(len(s.arena))
}

// columnOf finds a property's column; before is one more than the last property's, 0 at the start. Properties come in the
// same order in every event, so what came after that one last time mostly does so again.
func (s *rowSet) columnOf(name []byte, before int) (column int, ok bool) {
	if i := s.after[before] - 1; i >= 0 && s.table.columns[i].property == string(name) {
		return int(i), true
	}
	if column, ok = s.table.byProperty[string(name)]; ok {
		s.after[before] = int32(column + 1)
	}
	return column, ok
}

// addCell puts a value into a column, unless it does not fit there or the row is full. Storable says that Postgres takes
// it as text.
func (s *rowSet) addCell(column int, raw []byte, storable bool, used *int) bool {
	typ, start := s.table.columns[column].typ, len(s.arena)
	if storable && typ == typeText {
		s.arena = append(s.arena, raw...)
	} else if arena, ok := typ.appendValue(s.arena, raw); ok {
		s.arena = arena
	} else {
		return false
	}
	size := worstSize(typ, len(s.arena)-start)
	if *used+size > maxRowBytes {
		s.arena = s.arena[:start]
		return false
	}
	*used += size
	s.cells = append(s.cells, cell{int32(column), uint32(start), uint32(len(s.arena))})
	return true
}

func microsOrNull(t time.Time) int64 {
	if t.IsZero() {
		return nullInt
	}
	return postgresMicros(t)
}

func (s *rowSet) extra(row *recordRow) []byte {
	if row.firstExtra == row.lastExtra {
		return nil
	}
	return s.arena[row.firstExtra:row.lastExtra]
}
