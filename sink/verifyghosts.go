package sink

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// ghostPage is how many rows are looked through at a time.
const ghostPage = 10_000

// verifyGhosts looks for rows whose records the log does not know; ids are those it knows, ascending.
func (v *tableVerifier) verifyGhosts(ctx context.Context, object string, ids []int64) error {
	t, err := readTable(ctx, v.a.pool, v.a.schema, object)
	if err != nil || t == nil {
		return err
	}
	if there, err := v.a.isThere(ctx, t); err != nil || !there {
		return err
	}
	suspects := make(map[int64]int64) // _seq by id
	rows := int64(0)
	for after, more := int64(-1<<63), true; more; {
		page, err := v.a.idsAfter(ctx, t, after)
		if err != nil {
			return err
		}
		for _, row := range page {
			after = row.id
			if _, known := slices.BinarySearch(ids, row.id); !known {
				suspects[row.id] = row.seq
			}
		}
		rows += int64(len(page))
		more = len(page) == ghostPage
	}
	if len(suspects) == 0 {
		return nil
	}
	if v.o.Patience > 0 && !pause(ctx, v.o.Patience) {
		return ctx.Err()
	}
	var ghosts []verdict
	for id, seq := range suspects {
		subject := schemas.RecordSubject(v.a.portalName(), object, strconv.FormatInt(id, 10))
		last, err := v.lastMessages(ctx, []string{subject})
		if err != nil {
			return err
		}
		if len(last) == 0 {
			ghosts = append(ghosts, verdict{key: strconv.FormatInt(id, 10), seq: seq})
		}
	}
	slices.SortFunc(ghosts, func(x, y verdict) int { return compareNumbers(x.key, y.key) })
	for _, g := range ghosts {
		v.report.Add(difference.Ghost, g.key, "a row without an event")
	}
	if !v.mayDelete(int64(len(ghosts)), rows) {
		return nil
	}
	gone, gseqs := rowKeys(ghosts)
	tag, err := v.a.patient().Exec(ctx, `delete from `+quote(v.a.schema, t.name)+` t using unnest($1::bigint[], $2::bigint[]) as r(id, seq)
where t.id = r.id and t._seq = r.seq`, gone, gseqs)
	if err != nil {
		return fmt.Errorf("delete rows without an event: %w", err)
	}
	v.report.Repaired += tag.RowsAffected()
	return nil
}

// mayDelete reports whether what the log does not know may be deleted. A log that forgets by age or size, or has lost
// most of what it had, is no reason to empty a table.
func (v *tableVerifier) mayDelete(ghosts, rows int64) bool {
	switch {
	case ghosts == 0 || !v.o.Repair:
		return false
	case !v.whole:
		v.report.Note = "rows without an event are kept: the stream has a limit of age or size, so it may have had them"
		return false
	case ghosts > max(1_000, rows/2):
		v.report.Note = "rows without an event are kept: they are most of the table, the log is what is incomplete"
		return false
	}
	return true
}

// rowVersion is a row's id and the sequence of its event.
type rowVersion struct{ id, seq int64 }

// idsAfter returns the next rows of a table, ascending by id, without the tombstones of erased records: the log they were
// deleted in may be gone.
func (a *Applier) idsAfter(ctx context.Context, t *table, after int64) ([]rowVersion, error) {
	rows, err := a.patient().Query(ctx, `select id, _seq from `+quote(a.schema, t.name)+` t where id > $1 and not (_purged and exists (select from `+
		quote(a.schema, "erased")+` e where e.object = $2 and e.record_id = t.id)) order by id limit `+strconv.Itoa(ghostPage), after, t.object)
	if err != nil {
		return nil, fmt.Errorf("read ids of %s: %w", t.object, err)
	}
	defer rows.Close()
	var page []rowVersion
	for rows.Next() {
		var r rowVersion
		if err := rows.Scan(&r.id, &r.seq); err != nil {
			return nil, fmt.Errorf("read ids of %s: %w", t.object, err)
		}
		page = append(page, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read ids of %s: %w", t.object, err)
	}
	return page, nil
}

// compareNumbers orders decimal numbers that are text.
func compareNumbers(x, y string) int {
	a, _ := strconv.ParseInt(x, 10, 64)
	b, _ := strconv.ParseInt(y, 10, 64)
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
