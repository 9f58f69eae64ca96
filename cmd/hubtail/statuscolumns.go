package main

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// columnNote is a property that has no column, or not of its type, and why; its values are in _extra.
type columnNote struct {
	Object   string `json:"object"`
	Property string `json:"property"`
	Note     string `json:"note"`
}

// readColumnNotes reads what stands in the way of columns; tables that were made by an older hubtail do not say.
func (p *parts) readColumnNotes(ctx context.Context, pool *pgxpool.Pool) ([]columnNote, error) {
	const noColumn = "42703"
	rows, err := pool.Query(ctx, `select object, name, note from `+p.table("properties")+` where note is not null order by object, name`)
	if err == nil {
		var notes []columnNote
		notes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[columnNote])
		if err == nil {
			return notes, nil
		}
	}
	if codeOf(err) == noColumn {
		return nil, nil
	}
	return nil, err
}

// printColumnNotes says it once per object type: nothing is lost, but somebody may wonder.
func (t *tablesStatus) printColumnNotes(w io.Writer) {
	for i := 0; i < len(t.Columns); {
		n := 1
		for i+n < len(t.Columns) && t.Columns[i+n].Object == t.Columns[i].Object {
			n++
		}
		printf(w, "columns %s.%s: %s\n", t.Columns[i].Object, t.Columns[i].Property, oneLine(t.Columns[i].Note))
		if n > 1 {
			printf(w, "        and %d more of %s: select name, note from properties where note is not null\n", n-1, t.Columns[i].Object)
		}
		i += n
	}
}
