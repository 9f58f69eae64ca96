package sink

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
)

// column is a column that holds a property.
type column struct {
	property string
	name     string
	typ      columnType
	next     int // index of the column of another type that is to take this one's place, 0 if there is none
}

// table is one generation of an object type's table. It never changes: DDL makes another one.
type table struct {
	object     string
	name       string
	generation int64
	columns    []column
	byProperty map[string]int // index of a property's column

	mu         sync.Mutex // guards the fields below
	statements []*upsertStatement
}

// catalogue knows the tables of one schema, as last read from the database. Another process may change them at any time:
// a transaction checks the generation of every table it writes to.
type catalogue struct {
	schema string

	mu     sync.Mutex // guards tables
	tables map[string]*table
}

func (c *catalogue) get(object string) *table {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tables[object]
}

// forget makes the next use of an object type read its table from the database again.
func (c *catalogue) forget(object string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tables, object)
}

// queryer is a pool or a transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// load reads one object type's table and keeps it; nil if it has none yet.
func (c *catalogue) load(ctx context.Context, db queryer, object string) (*table, error) {
	t, err := readTable(ctx, db, c.schema, object)
	if err != nil || t == nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tables == nil {
		c.tables = make(map[string]*table)
	}
	c.tables[object] = t
	return t, nil
}

// readTable reads the table and those of its columns that hold a property and really exist, with the type they really
// have: a column that its owner dropped or changed is not written to, its values stay in _extra.
func readTable(ctx context.Context, db queryer, schema, object string) (*table, error) {
	rows, err := db.Query(ctx, fmt.Sprintf(`
		select o.table_name, o.generation, p.name, p.column_name, coalesce(a.atttypid, 0)::bigint, p.next_name, coalesce(n.atttypid, 0)::bigint
		from %[1]s.objects o
		left join %[1]s.properties p on p.object = o.object and p.column_name is not null
		left join pg_attribute a on a.attrelid = to_regclass(quote_ident($2) || '.' || quote_ident(o.table_name))
		     and a.attname = p.column_name and a.attnum > 0 and not a.attisdropped
		left join pg_attribute n on n.attrelid = to_regclass(quote_ident($2) || '.' || quote_ident(o.table_name))
		     and n.attname = p.next_name and n.attnum > 0 and not n.attisdropped
		where o.object = $1
		order by p.name collate "C"`, quote(schema)), object, schema)
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", object, err)
	}
	var t *table
	var name string
	var generation int64
	var property, columnName, nextName *string
	var oid, nextOID int64
	next := make(map[int]column) // by the index of the column whose place it will take
	_, err = pgx.ForEachRow(rows, []any{&name, &generation, &property, &columnName, &oid, &nextName, &nextOID}, func() error {
		if t == nil {
			t = &table{object: object, name: name, generation: generation, byProperty: make(map[string]int)}
		}
		if typ := columnTypeByOID(uint32(oid)); property != nil && typ != 0 {
			t.byProperty[*property] = len(t.columns)
			if nextType := columnTypeByOID(uint32(nextOID)); nextType != 0 {
				next[len(t.columns)] = column{name: *nextName, typ: nextType}
			}
			t.columns = append(t.columns, column{property: *property, name: *columnName, typ: typ})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", object, err)
	}
	for i, col := range next {
		t.columns[i].next = len(t.columns)
		t.columns = append(t.columns, col)
	}
	return t, nil
}

func columnTypeByOID(oid uint32) columnType {
	for t := typeText; t <= typeTimestamptz; t++ {
		if columnTypes[t].oid == oid {
			return t
		}
	}
	return 0
}
