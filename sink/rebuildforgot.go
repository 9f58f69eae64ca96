package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

// ErrForgotten says that the live tables have records which the log may have had and does not have any more.
var ErrForgotten = errors.New("the log does not have all that the tables have")

// forgottenLooks is how many rows of a table, that only the live one has, are looked up in the log.
const forgottenLooks = 1_000

// checkForgotten refuses tables that lack rows of the live ones, unless the log shows that these rows are wrong. A log that
// was emptied, forgets by age or size, or was begun anew is no reason to empty the tables.
func (r *rebuilding) checkForgotten(ctx context.Context) error {
	if r.o.Force {
		return nil
	}
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil {
		return err
	}
	only := make(map[string][]rowVersion)
	for _, p := range pairs {
		if p.object == "" {
			continue
		}
		if only[p.object], err = r.onlyLive(ctx, p); err != nil {
			return fmt.Errorf("compare %s with the live table: %w", p.object, err)
		}
	}
	lacks, err := r.lacks(ctx, only)
	if err != nil || len(lacks) == 0 {
		return err
	}
	return fmt.Errorf("%w: of the live rows it lacks %s, so nothing was swapped; %s", ErrForgotten, strings.Join(lacks, ", "), forgottenAdvice)
}

const forgottenAdvice = "let a source read HubSpot whole into the log first (`hubtail source`), or lose these rows with --force"

// lacks says how many rows of which object types, that only the live tables have, the log does not show to be wrong.
func (r *rebuilding) lacks(ctx context.Context, only map[string][]rowVersion) ([]string, error) {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	lacks := []string{}
	for _, object := range slices.Sorted(maps.Keys(only)) {
		if len(only[object]) == 0 {
			continue
		}
		if wrong, err := r.areWrong(ctx, object, only[object], info); err != nil {
			return nil, err
		} else if !wrong {
			lacks = append(lacks, fmt.Sprintf("%d of %s", len(only[object]), object))
		}
	}
	return lacks, nil
}

// forgotten says what a rebuild would be refused for, before there is a copy to compare: rows whose records are not in the
// log. It takes 16 bytes of memory for each row, and what the server's list of an object type's subjects takes.
func (r *rebuilding) forgotten(ctx context.Context) ([]string, error) {
	only := make(map[string][]rowVersion)
	for _, object := range r.objects {
		rows, err := r.liveRows(ctx, object)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			continue
		}
		prefix := schemas.Root + "." + schemas.EncodeToken(r.portal) + "." + schemas.EncodeToken(object) + "."
		info, err := r.stream.Info(ctx, jetstream.WithSubjectFilter(prefix+"*")) // after the rows: each of them came from there
		if err != nil {
			return nil, fmt.Errorf("list the records of %s in the log: %w", object, err)
		}
		only[object] = slices.DeleteFunc(rows, func(row rowVersion) bool {
			_, known := info.State.Subjects[prefix+strconv.FormatInt(row.id, 10)]
			return known
		})
	}
	return r.lacks(ctx, only)
}

// liveRows returns the rows of a live table that are not erased; none if there is no table.
func (r *rebuilding) liveRows(ctx context.Context, object string) ([]rowVersion, error) {
	live := NewApplier(ApplierConfig{Pool: r.pool, Schema: r.live, Logger: r.log})
	t, err := readTable(ctx, r.pool, r.live, object)
	if err != nil || t == nil {
		return nil, err
	}
	if there, err := live.isThere(ctx, t); err != nil || !there {
		return nil, err
	}
	var rows []rowVersion
	for after := int64(-1 << 63); ; after = rows[len(rows)-1].id {
		page, err := live.idsAfter(ctx, t, after)
		if err != nil {
			return nil, err
		}
		if rows = append(rows, page...); len(page) < ghostPage {
			return rows, nil
		}
	}
}

// onlyLive returns the rows that the copy lacks without a reason: neither erased, nor newer, nor is an event of the record's own a
// dead letter, for which the log has it. One of the source, or about its links, is no such event.
func (r *rebuilding) onlyLive(ctx context.Context, p pair) ([]rowVersion, error) {
	rows, err := r.pool.Query(ctx, `select l.id, l._seq from `+p.liveTable()+` l
		where not l._purged and (not $2 or l._seq <= $3) and not exists (select from `+p.otherTable()+` n where n.id = l.id)
		and not exists (select from `+quote(r.copy, "dead_letters")+` d where d.stream = $4 and d.origin = 'sink' and d.object = $1 and d.record_id = l.id::text and `+isRecordLetter+`)
		and not exists (select from `+quote(r.copy, "erased")+` e where e.object = $1 and e.record_id = l.id)`,
		p.object, r.sameLog, int64(r.position), r.a.stream)
	var only []rowVersion
	if err == nil {
		only, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (v rowVersion, err error) {
			err = row.Scan(&v.id, &v.seq)
			return v, err
		})
	}
	if err != nil && classify(err) == faultSchema { // one of the two is not there
		return nil, nil
	}
	return only, err
}

// areWrong reports whether the log shows that no event made the rows that only the live table has: of the same log, the
// messages that they name are there and another record's. NATS rule: without limits of age and size a stream keeps the last
// message of every subject, but for what is purged. A log begun anew has all once the source read the object type whole.
func (r *rebuilding) areWrong(ctx context.Context, object string, only []rowVersion, info *jetstream.StreamInfo) (bool, error) {
	switch {
	case !keepsAll(info.Config):
		return false, nil
	case !r.sameLog:
		return r.isWhole(ctx, object)
	case len(only) > forgottenLooks:
		return false, nil
	}
	for _, row := range only {
		if row.seq <= 0 {
			continue // of no event
		}
		m, err := r.stream.GetMsg(ctx, uint64(row.seq))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read message %d of the log: %w", row.seq, err)
		}
		if m.Subject == schemas.RecordSubject(r.portal, object, strconv.FormatInt(row.id, 10)) {
			return false, nil
		}
	}
	return true, nil
}

// isWhole reports whether the log has had all of an object type: the source has read it whole.
func (r *rebuilding) isWhole(ctx context.Context, object string) (bool, error) {
	m, err := r.stream.GetLastMsgForSubject(ctx, schemas.ControlSubject(schemas.KindCursor, r.portal, object))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether the log has all of %s: %w", object, err)
	}
	c, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if err != nil {
		return false, nil //nolint:nilerr // a dead letter: nobody knows
	}
	cursor, ok := c.(*schemas.Cursor)
	return ok && !cursor.BackfilledAt.IsZero(), nil
}
