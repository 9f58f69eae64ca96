package sink

import (
	"context"
	"errors"
	"fmt"
)

// Rollback puts the tables back that the last rebuild replaced, caught up with the log, so that nobody sees an older state. It is a
// swap like a rebuild's: the tables that were live are the old ones then, and another rollback puts those back.
//
// Old tables of another stream are put back as they are. Sinks then refuse the present stream.
func (s *Sink) Rollback(ctx context.Context, o RebuildOptions) (*Rebuilt, error) {
	o.Objects = nil
	if o.Copy == "" {
		o.Copy = defaultCopy(s.cfg.Schema)
	}
	c, found, err := FindCopy(ctx, s.cfg.Pool, s.cfg.Schema, o.Copy)
	if err != nil {
		return nil, err
	}
	if !found || c.Kind != CopyOld {
		return nil, fmt.Errorf("%w in schema %s: they were dropped, or there was no rebuild", ErrNoOld, o.Copy)
	}
	o.Objects = c.Objects
	r, err := s.newRebuilding(ctx, o)
	if err != nil {
		return nil, err
	}
	r.registered = c.CreatedAt
	return r.run(ctx, "rollback", []rebuildStep{
		{"catching up", r.reattach}, {"indexing", r.dressOld}, {"swapping", r.swap}, {"after the swap", r.after},
	})
}

// reattach goes on with the old tables where they were when they were replaced.
func (r *rebuilding) reattach(ctx context.Context) error {
	pos, err := r.a.readPosition(ctx)
	if err != nil {
		return err
	}
	if !pos.created.IsZero() && !pos.created.Equal(r.a.created) {
		r.sameLog, r.foreign = false, true
		r.log.WarnContext(ctx, "the old tables are of another stream: they are put back as they are, without what was erased since", "copy", r.copy)
		return r.seedErased(ctx)
	}
	r.position = pos.seq
	r.a.fence.Store(int64(pos.high))
	if err := r.readRefused(ctx); err != nil {
		return err
	}
	for seq := range r.a.skip { // what was before has its letter in both, or its row
		if seq <= r.position {
			delete(r.a.skip, seq)
		}
	}
	return r.catchUp(ctx)
}

// dressOld gives the old tables what the live ones have by now, and then applies what the live ones refused since: what is on
// them refuses it again, and what a trigger refused stays a dead letter. What the old tables refused once and the live ones did
// not is applied: what refused it is gone.
func (r *rebuilding) dressOld(ctx context.Context) error {
	if err := r.dress(ctx); err != nil {
		return err
	}
	if err := r.catchUpRefused(ctx); err != nil {
		return err
	}
	if err := r.takeRedriven(ctx); err != nil {
		return err
	}
	return r.checkForeign(ctx)
}

// DropOld drops the old tables that the last rebuild kept, or what an interrupted one left.
func (s *Sink) DropOld(ctx context.Context, schema string) (dropped Copy, err error) {
	if schema == "" {
		schema = defaultCopy(s.cfg.Schema)
	}
	c, found, err := FindCopy(ctx, s.cfg.Pool, s.cfg.Schema, schema)
	if err != nil {
		return c, err
	}
	if !found {
		return c, fmt.Errorf("%w in schema %s", ErrNoOld, schema)
	}
	r := &rebuilding{pool: s.cfg.Pool, live: s.cfg.Schema, copy: schema}
	release, err := r.alone(ctx)
	if err != nil {
		return c, err
	}
	defer release()
	var mayCreate bool
	if err := s.cfg.Pool.QueryRow(ctx, `select has_database_privilege(current_database(), 'create')`).Scan(&mayCreate); err != nil {
		return c, err
	}
	if !mayCreate { // the next rebuild could not make the schema again: it stays, empty
		err = r.emptySchema(ctx, allCopies...)
	} else {
		err = DropCopy(ctx, s.cfg.Pool, s.cfg.Schema, schema)
	}
	if errors.Is(err, ErrCopyTaken) { // nothing of ours is left there
		return c, errors.Join(fmt.Errorf("nothing was dropped, and schema %s is taken off the list of copies: %w", schema, err), ForgetCopy(ctx, s.cfg.Pool, s.cfg.Schema, schema))
	}
	return c, err
}
