package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// tablesStatus is what the database knows.
type tablesStatus struct {
	Schema      string    `json:"schema"`
	Position    uint64    `json:"position"` // everything up to this stream sequence is in the tables
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
	DeadLetters int64     `json:"dead_letters"`
	// Copies are the other schemas filled from this log: what a rebuild fills or keeps, tables as of some time.
	Copies []tablesCopy `json:"copies,omitempty"`
	// Columns are the properties that have no column, or not of their type.
	Columns []columnNote `json:"columns,omitempty"`
}

// readTables fills in the tables' side of every object type.
func (p *parts) readTables(ctx context.Context, s *status) error {
	pool, err := p.openDatabase(ctx)
	if err != nil {
		return err
	}
	tables, err := p.fillTables(ctx, pool, s)
	if err != nil {
		return err
	}
	return p.countRows(ctx, pool, s, tables)
}

// fillTables fills in what the tables say, their numbers of rows excepted; it returns each object type's table.
func (p *parts) fillTables(ctx context.Context, pool *pgxpool.Pool, s *status) (tables map[string]string, err error) {
	t := &tablesStatus{Schema: p.schema}
	err = pool.QueryRow(ctx, `select coalesce(max(seq), 0), coalesce(max(updated_at), 'epoch'), (select count(*) from `+p.table("dead_letters")+`)
		from `+p.table("positions")+` where stream = $1 and consumer = $2`, p.stream, p.consumer).Scan(&t.Position, &t.UpdatedAt, &t.DeadLetters)
	if undefined := (*pgconn.PgError)(nil); errors.As(err, &undefined) && undefined.Code == "42P01" {
		return nil, fmt.Errorf("schema %s has no hubtail tables: run `hubtail migrate`, or start the sink", p.schema)
	}
	if err != nil {
		return nil, err
	}
	s.Tables = t
	if t.Copies, err = p.readCopies(ctx, pool); err != nil {
		return nil, err
	}
	if t.Columns, err = p.readColumnNotes(ctx, pool); err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, `select o.object, o.table_name, coalesce(c.complete_through, '0001-01-01'), c.at,
			(select count(*) from `+p.table("dead_letters")+` d where d.object = o.object)
		from `+p.table("objects")+` o left join `+p.table("cursors")+` c using (object) order by o.object`)
	if err != nil {
		return nil, err
	}
	tables = map[string]string{}
	var object, table string
	var through time.Time
	var at *time.Time
	var dead int64
	_, err = pgx.ForEachRow(rows, []any{&object, &table, &through, &at, &dead}, func() error {
		o := s.object(object)
		if o.at.IsZero() && at != nil {
			o.at = *at
		}
		letters := dead
		o.TablesThrough, o.DeadLetters = through, &letters
		if through.Year() <= 1 {
			o.TablesThrough = time.Time{}
		}
		tables[object] = table
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err = p.readRuns(ctx, pool, s); err != nil {
		return nil, err
	}
	return tables, p.readVerifiedRows(ctx, pool, s)
}

// readRuns fills in the last run of object types whose log was not asked: the newest in the log, as there.
func (p *parts) readRuns(ctx context.Context, pool *pgxpool.Pool, s *status) error {
	rows, err := pool.Query(ctx, `select distinct on (object_type) object_type, sync_type, status, coalesce(sync_completed_at, sync_started_at), coalesce(error_message, '')
		from `+p.table("sync_logs")+` order by object_type, _seq desc`)
	if err != nil {
		return err
	}
	var object string
	var run runRow
	_, err = pgx.ForEachRow(rows, []any{&object, &run.Type, &run.Status, &run.CompletedAt, &run.Error}, func() error {
		if o := s.object(object); o.LastRun == nil {
			last := run
			o.LastRun = &last
		}
		return nil
	})
	return err
}

func (p *parts) countRows(ctx context.Context, pool *pgxpool.Pool, s *status, tables map[string]string) error {
	for object, table := range tables {
		var rows int64
		if err := pool.QueryRow(ctx, "select count(*) from "+p.table(table)).Scan(&rows); err != nil {
			return err
		}
		s.object(object).Rows = &rows
	}
	return nil
}

// table returns a quoted, qualified table name.
func (p *parts) table(name string) string { return pgx.Identifier{p.schema, name}.Sanitize() }

// object returns the entry of an object type, a new one if the log knows nothing of it.
func (s *status) object(name string) *objectStatus {
	for i := range s.Objects {
		if s.Objects[i].Object == name {
			return &s.Objects[i]
		}
	}
	s.Objects = append(s.Objects, objectStatus{Object: name})
	return &s.Objects[len(s.Objects)-1]
}
