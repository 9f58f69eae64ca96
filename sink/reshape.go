package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A table comes to fit its definitions in steps, each a short transaction of its own, which any sink may take:
//
//	due ──▶ alter: columns are added; one of another type beside the one whose type changed, which writers fill from then on, too
//	    ──▶ copy:  a batch of earlier values is taken over into the columns of another type
//	    ──▶ swap:  those take the others' place
//	    ──▶ fill:  a batch of values is taken out of _extra into columns that they fit now
//
// alter and swap need the table alone, for what Postgres takes to change its catalogue, and wait two seconds for that at
// most. Where a table is in this is in the database (objects, properties), so a crash costs nothing.

// reshapeSoon makes a table fit its definitions: now, or, if somebody else sees to what takes long, as far as it is quick.
func (a *Applier) reshapeSoon(ctx context.Context, object string) error {
	if a.reshapeDue == nil {
		return a.reshape(ctx, object)
	}
	defer func() {
		select {
		case a.reshapeDue <- struct{}{}:
		default:
		}
	}()
	state, err := a.readReshape(ctx, object)
	if err != nil || !state.due {
		return err
	}
	if err := a.alter(ctx, object); err != nil && classify(err) == faultRetry {
		a.log.WarnContext(ctx, "a change of columns waits for those who use the table; values go to _extra meanwhile", "object", object, "error", err)
		return nil
	} else if err != nil {
		return err
	}
	return nil
}

// reshape takes all steps that are left.
func (a *Applier) reshape(ctx context.Context, object string) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		state, err := a.readReshape(ctx, object)
		if err != nil {
			return err
		}
		switch {
		case state.due:
			err = a.alter(ctx, object)
		case state.copying > 0:
			err = a.copyStep(ctx, object)
		case state.filling > 0:
			err = a.fillStep(ctx, object)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// reshapeState is what is left to do.
type reshapeState struct {
	due              bool
	copying, filling int // properties
}

func (a *Applier) readReshape(ctx context.Context, object string) (s reshapeState, err error) {
	err = a.pool.QueryRow(ctx, `select o.reshape, count(p.next_name), count(*) filter (where p.fill)
		from `+quote(a.schema, "objects")+` o left join `+quote(a.schema, "properties")+` p on p.object = o.object and (p.next_name is not null or p.fill)
		where o.object = $1 group by o.object`, object).Scan(&s.due, &s.copying, &s.filling)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("look how far the columns of %s are: %w", object, err)
	}
	return s, nil
}

// unshaped returns the object types whose tables do not fit their definitions yet, and those where something of the owner's
// stood in the way: it may be gone.
func (a *Applier) unshaped(ctx context.Context, pinned bool) ([]string, error) {
	if pinned {
		if _, err := a.pool.Exec(ctx, `update `+quote(a.schema, "objects")+` o set reshape = true where not reshape
			and exists (select from `+quote(a.schema, "properties")+` p where p.object = o.object and p.note is not null)`); err != nil {
			return nil, fmt.Errorf("look for columns that keep their type: %w", err)
		}
	}
	rows, err := a.pool.Query(ctx, `select object from `+quote(a.schema, "objects")+` where reshape
		union select object from `+quote(a.schema, "properties")+` where fill or next_name is not null order by 1`)
	if err != nil {
		return nil, fmt.Errorf("look for columns that are due: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// alter adds the columns that the definitions ask for, and takes away those that nobody needs any longer on their way.
func (a *Applier) alter(ctx context.Context, object string) error {
	err := a.changeTable(ctx, object, func(tx pgx.Tx) error {
		s, err := a.readFreeShape(ctx, tx, object)
		if err != nil {
			return err
		}
		if s != nil {
			s.plan()
			if err := a.carryOut(ctx, tx, s); err != nil {
				return err
			}
			if err := a.refreshExposed(ctx, tx, object); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `update `+quote(a.schema, "objects")+` set reshape = false where object = $1`, object)
		return err
	})
	return a.putOff(ctx, object, err)
}

// swap lets the columns of the new types take the others' place. A view or an index that came meanwhile keeps the old one.
func (a *Applier) swap(ctx context.Context, object string, generation int64) error {
	err := a.changeTable(ctx, object, func(tx pgx.Tx) error {
		s, err := a.readFreeShape(ctx, tx, object)
		if err != nil || s == nil {
			return err
		}
		if s.generation != generation { // someone else was faster, or the definitions changed again
			return a.refreshExposed(ctx, tx, object)
		}
		refill := s.swap()
		if err := a.carryOut(ctx, tx, s); err != nil {
			return err
		}
		if refill {
			if _, err = tx.Exec(ctx, `update `+quote(a.schema, "objects")+` set refill = true where object = $1`, object); err != nil {
				return err
			}
		}
		return a.refreshExposed(ctx, tx, object)
	})
	return a.putOff(ctx, object, err)
}

// putOff goes on without columns that Postgres refuses for good, for a reason that nobody foresaw: an event trigger, say. The
// values are in _extra; at the next start of a sink, or change of definitions, it is tried again. It returns any other error.
func (a *Applier) putOff(ctx context.Context, object string, cause error) error {
	if !refusesChange(cause) {
		return cause
	}
	a.log.ErrorContext(ctx, "columns cannot be changed; values that do not fit go to _extra", "object", object, "error", cause)
	return a.changeTable(ctx, object, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update `+quote(a.schema, "properties")+` p set next_name = null, fill = fill or next_name is not null, note = $2
			from `+quote(a.schema, "objects")+` o where o.object = p.object and p.object = $1
			and (p.next_name is not null or p._seq >= o.definitions_seq and p.column_type is distinct from case p.type
			when 'number' then 'numeric' when 'bool' then 'boolean' when 'date' then 'date' when 'datetime' then 'timestamptz' else 'text' end)`,
			object, clean(fmt.Sprintf("Postgres refuses the column: %v; see to that and restart the sink", cause)))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update `+quote(a.schema, "objects")+` set reshape = false, reshaped_to = null, generation = generation + 1 where object = $1`, object)
		return err
	})
}

// refusesChange reports whether a refusal to change columns is for good: not for a lock, a missing right, a missing table or a
// failing server.
func refusesChange(err error) bool {
	const insufficientPrivilege, undefinedTable = "42501", "42P01"
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 || pgErr.Code == insufficientPrivilege || pgErr.Code == undefinedTable {
		return false
	}
	switch pgErr.Code[:2] {
	case "0A", "22", "23", "2B", "42", "54", "P0":
		return true
	}
	return false
}

// carryOut does what was planned and tells what could not be.
func (a *Applier) carryOut(ctx context.Context, tx pgx.Tx, s *shape) error {
	if err := s.run(ctx, tx); err != nil {
		return err
	}
	for _, note := range s.noted {
		a.log.WarnContext(ctx, "a property has no column of its type", "object", s.object, "property", note.property, "reason", note.text)
	}
	return nil
}

// keepShape takes the steps that are left, beside the writing of rows, until ctx ends, and reads rows from the log again
// where a change of types asks for it. What another sink began and did not end it takes up within shapeIdle.
func (s *Sink) keepShape(ctx context.Context, a *Applier) error {
	pinned := true
	look := time.NewTicker(s.cfg.shapeIdle)
	defer look.Stop()
	for attempt := 0; ; attempt++ {
		err := s.shapeOnce(ctx, a, pinned)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			s.stats.setColumns(nil)
			attempt, pinned = -1, false
			select {
			case <-a.reshapeDue:
			case <-look.C:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		if takenAway(err) { // rows may be written meanwhile; what writes them says so if not
			err = fmt.Errorf("rows are written, but not all columns are as HubSpot defines them: %w", advise(err))
			s.stats.setColumns(err)
		} else if f := classify(err); f != faultRetry && f != faultConnect && f != faultWait {
			return err
		}
		if attempt%10 == 0 {
			s.cfg.Logger.WarnContext(ctx, "a change of columns waits: trying again", "attempt", attempt+1, "error", err)
		}
		if !pause(ctx, backoff(attempt)) {
			return nil
		}
	}
}

func (s *Sink) shapeOnce(ctx context.Context, a *Applier, pinned bool) error {
	if pinned {
		if err := finishForeignKeys(ctx, s.cfg.Pool, s.cfg.Schema, foreignLimit, s.cfg.Logger); err != nil && ctx.Err() == nil {
			s.cfg.Logger.WarnContext(ctx, "foreign keys that a rebuild left to be checked are not checked yet; the next start tries again", "error", err)
		}
	}
	objects, err := a.unshaped(ctx, pinned)
	if err != nil {
		return err
	}
	var waiting error // one table that somebody keeps does not hold up the others
	for _, object := range objects {
		if err := a.reshape(ctx, object); err != nil {
			if classify(err) != faultRetry {
				return err
			}
			waiting = err
		}
	}
	// Of its own: an Applier applies one thing at a time.
	again := NewApplier(ApplierConfig{
		Pool: s.cfg.Pool, Schema: s.cfg.Schema, Stream: s.cfg.Stream, Created: a.created,
		Consumer: s.cfg.Consumer, Portal: a.portalName(), Logger: s.cfg.Logger,
	})
	return errors.Join(waiting, s.refill(ctx, again))
}
