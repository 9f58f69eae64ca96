package main

import (
	"context"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/sink"
)

// tablesCopy is another schema that was filled from the same log.
type tablesCopy struct {
	sink.Copy
	ErasuresDue int64 `json:"erasures_due,omitempty"` // deletions for privacy that it still has to carry out
	Interrupted bool  `json:"interrupted,omitempty"`  // a rebuild was filling it, and none is running
}

// readCopies reads what copies of the tables there are; tables that were made by an older hubtail have none.
func (p *parts) readCopies(ctx context.Context, pool *pgxpool.Pool) ([]tablesCopy, error) {
	const noTable = "42P01"
	all, err := sink.Copies(ctx, pool, p.schema)
	if codeOf(err) == noTable {
		return nil, nil
	}
	copies := make([]tablesCopy, len(all))
	rebuilding := false
	if err == nil && len(all) > 0 {
		rebuilding, err = sink.Rebuilding(ctx, pool, p.schema)
	}
	for i, c := range all {
		copies[i].Interrupted = c.Kind == sink.CopyShadow && !rebuilding
		copies[i].Copy = c
		if err == nil {
			err = pool.QueryRow(ctx, `select count(*) from `+p.table("copy_erasures")+` where schema_name = $1`, c.Schema).Scan(&copies[i].ErasuresDue)
		}
	}
	return copies, err
}

// judgeCopies finds what holds data that should be gone. An interrupted rebuild costs room only.
func (s *status) judgeCopies() {
	if s.Tables == nil {
		return
	}
	for _, c := range s.Tables.Copies {
		if c.ErasuresDue > 0 {
			s.problem("%d deletions for privacy are not in schema %s yet: is a sink running? `hubtail rebuild --drop-old --copy %s` drops it", c.ErasuresDue, c.Schema, c.Schema)
		}
	}
}

func (t *tablesStatus) printCopies(w io.Writer, now time.Time) {
	for _, c := range t.Copies {
		switch {
		case c.Kind == sink.CopyOld:
			printf(w, "copy    schema %s: the tables before the rebuild %s, for `hubtail rebuild --rollback`; --drop-old drops them\n", c.Schema, ago(now, c.CreatedAt))
		case c.Kind == sink.CopyAsOf && c.Phase == "":
			printf(w, "copy    schema %s: the tables as of message %d, %s\n", c.Schema, c.AsOfSeq, ago(now, c.AsOf))
		case c.Interrupted:
			printf(w, "copy    schema %s: interrupted while %s, %s; run `hubtail rebuild` again, or drop it with --drop-old\n", c.Schema, c.Phase, ago(now, c.UpdatedAt))
		default:
			printf(w, "copy    schema %s: %s, %s of %s messages\n", c.Schema, c.Phase, thousands(c.Done), thousands(c.Total))
		}
	}
}
