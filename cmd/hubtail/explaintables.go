package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/internal/proof"
	"github.com/hubtail/hubtail/schemas"
)

// tablesStory is what the tables have about a record.
type tablesStory struct {
	Schema          string        `json:"schema"`
	Table           string        `json:"table,omitempty"`            // "" if the object type has none
	Position        uint64        `json:"position"`                   // everything up to this stream sequence is in the tables
	CompleteThrough time.Time     `json:"complete_through,omitzero"`  // of the object type
	Row             *rowStory     `json:"row,omitempty"`              // nil if there is none
	Differs         string        `json:"differs,omitempty"`          // how the row differs from the event it is from
	ErasedSeq       uint64        `json:"erased_seq,omitempty"`       // of the privacy deletion, if there was one
	DeadLetters     []tableLetter `json:"dead_letters,omitempty"`     // newest first
	LinksTo         []tableLink   `json:"links_to,omitempty"`         // from this record
	LinksFrom       []tableLink   `json:"links_from,omitempty"`       // to this record
	More            int64         `json:"links_not_listed,omitempty"` // links beyond the ones listed
}

type rowStory struct {
	Seq        uint64    `json:"seq"` // of the event it is from
	Archived   bool      `json:"archived"`
	MergedInto string    `json:"merged_into,omitempty"`
	Purged     bool      `json:"purged"`
	UpdatedAt  time.Time `json:"updated_at,omitzero"`
	SyncedAt   time.Time `json:"synced_at"`
	Values     int64     `json:"values"` // in columns
	Extra      int64     `json:"extra"`  // values in _extra
}

func (r *rowStory) flags() (flags []string) {
	if r.Purged {
		return []string{"erased"}
	}
	if r.MergedInto != "" {
		return []string{"merged into " + r.MergedInto}
	}
	if r.Archived {
		flags = append(flags, "archived")
	}
	return flags
}

type tableLetter struct {
	Seq      uint64    `json:"seq"`
	Origin   string    `json:"origin"` // source or sink
	SQLState string    `json:"sqlstate,omitempty"`
	Reason   string    `json:"reason"`
	Tries    int64     `json:"tries"`
	LastAt   time.Time `json:"last_at"`
}

// tableLink is a link to or from the record at the other end.
type tableLink struct {
	Object   string `json:"object"`
	ID       string `json:"id"`
	Category string `json:"category"`
	TypeID   int64  `json:"type_id"`
	Label    string `json:"label,omitempty"`
}

// maxLinks is how many links of each direction are listed.
const maxLinks = 50

// explainTables looks at the tables, unless there are none to look at, in one transaction.
func (p *parts) explainTables(ctx context.Context, e *explanation, name string) error {
	if p.databaseURL == "" {
		e.skip("the tables", p.requireDatabase())
		return nil
	}
	pool, err := p.openDatabase(ctx)
	if err != nil {
		var usage usageError
		if ctx.Err() != nil || errors.As(err, &usage) {
			return err
		}
		e.skip("the tables", err)
		return nil
	}
	t := &tablesStory{Schema: p.schema}
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return p.readTablesStory(ctx, tx, e, t, name)
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case codeOf(err) == "42P01" || codeOf(err) == "3F000":
		e.skip("the tables", fmt.Errorf("schema %s has no hubtail tables: run `hubtail migrate`, or start the sink", p.schema))
	case err != nil:
		e.skip("the tables", err)
	default:
		e.Tables = t
	}
	return nil
}

func (p *parts) readTablesStory(ctx context.Context, tx pgx.Tx, e *explanation, t *tablesStory, name string) error {
	err := tx.QueryRow(ctx, `select coalesce(max(seq), 0) from `+p.table("positions")+` where stream = $1`, p.stream).Scan(&t.Position)
	if err != nil {
		return err
	}
	var typeID *string
	err = tx.QueryRow(ctx, `select o.object, o.table_name, o.object_type_id, coalesce(c.complete_through, '0001-01-01')
		from `+p.table("objects")+` o left join `+p.table("cursors")+` c using (object)
		where o.object = $1 or o.object_type_id = $2 or o.object = 'p_' || $2 order by o.object = $1 desc limit 1`,
		e.Object, name).Scan(&e.Object, &t.Table, &typeID, &t.CompleteThrough)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if t.CompleteThrough.Year() <= 1 {
		t.CompleteThrough = time.Time{}
	}
	if err := p.readBeside(ctx, tx, e, t); err != nil || t.Table == "" {
		return err
	}
	return p.readRow(ctx, tx, e, t)
}

// readRow reads the row, and compares it with the event that it is from, if the log has that as the last one.
func (p *parts) readRow(ctx context.Context, tx pgx.Tx, e *explanation, t *tablesStory) error {
	var there bool
	if err := tx.QueryRow(ctx, `select to_regclass($1) is not null`, p.table(t.Table)).Scan(&there); err != nil || !there {
		return err
	}
	id, err := strconv.ParseInt(e.ID, 10, 64)
	if err != nil {
		return err
	}
	var r rowStory
	var into *int64
	var updated *time.Time
	err = tx.QueryRow(ctx, `select t._seq, t._archived, t._merged_into, t._purged, t._updated_at, t._synced_at,
			(select count(*) from jsonb_object_keys(coalesce(t._extra, '{}'))),
			(select count(*) from jsonb_each_text(to_jsonb(t)) v join `+p.table("properties")+` p on p.object = $2 and p.column_name = v.key where v.value is not null)
		from `+p.table(t.Table)+` t where t.id = $1`, id, e.Object).
		Scan(&r.Seq, &r.Archived, &into, &r.Purged, &updated, &r.SyncedAt, &r.Extra, &r.Values)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if into != nil {
		r.MergedInto = strconv.FormatInt(*into, 10)
	}
	if updated != nil {
		r.UpdatedAt = *updated
	}
	t.Row = &r
	if e.Log == nil || e.Log.last == nil || e.Log.last.Seq != r.Seq || e.Log.last.Error != "" {
		return nil
	}
	t.Differs, err = differs(ctx, tx, p.schema, e.Object, id, e.Log.last)
	return err
}

// differs says how the row differs from the event, "" if it does not.
func differs(ctx context.Context, tx pgx.Tx, schema, object string, id int64, v *history.Version) (why string, err error) {
	rows, err := proof.OpenRows(ctx, tx, schema, object, []int64{id})
	if err != nil {
		return "", err
	}
	for rows.Next() {
		why = rows.Differs(proof.Record{
			ID: v.ID, Properties: v.Properties.Map(), CreatedAt: v.CreatedAt, UpdatedAt: v.UpdatedAt, Archived: v.Ended(),
			MergedInto: v.MergedInto, Purged: v.Op == schemas.OpPurged, Exact: true, ArchivedAt: v.ArchivedAt,
		})
	}
	return why, rows.Close()
}

// readBeside reads what the tables have of a record beside its row.
func (p *parts) readBeside(ctx context.Context, tx pgx.Tx, e *explanation, t *tablesStory) error {
	err := tx.QueryRow(ctx, `select coalesce(max(_seq), 0) from `+p.table("erased")+` where object = $1 and record_id::text = $2`, e.Object, e.ID).Scan(&t.ErasedSeq)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `select seq, origin, coalesce(sqlstate, ''), reason, tries, last_at from `+p.table("dead_letters")+`
		where stream = $1 and object = $2 and record_id = $3 order by seq desc limit 20`, p.stream, e.Object, e.ID)
	if err != nil {
		return err
	}
	if t.DeadLetters, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tableLetter]); err != nil {
		return err
	}
	for _, end := range []struct {
		own, other string
		links      *[]tableLink
	}{{"from", "to", &t.LinksTo}, {"to", "from", &t.LinksFrom}} {
		var all int64
		where := ` from ` + p.table("links") + ` where ` + end.own + `_object = $1 and ` + end.own + `_id = $2::bigint`
		if err := tx.QueryRow(ctx, `select count(*)`+where, e.Object, e.ID).Scan(&all); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select `+end.other+`_object, `+end.other+`_id::text, category, type_id::bigint, coalesce(label, '')`+where+
			` order by 1, `+end.other+`_id, 3, 4 limit `+strconv.Itoa(maxLinks), e.Object, e.ID)
		if err != nil {
			return err
		}
		if *end.links, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tableLink]); err != nil {
			return err
		}
		t.More += all - int64(len(*end.links))
	}
	return nil
}
