package connector

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// standbyEvery is the time between two looks at how far the leader is.
const standbyEvery = 3 * time.Second

// standBy shows how far the leading source is, until ctx ends. It asks HubSpot nothing.
func (s *Source) standBy(ctx context.Context) {
	if missing := s.notRead(s.me(TaskFollow).Objects); len(missing) > 0 {
		s.cfg.Logger.Warn("the leading source does not read all that this one would: give all sources of a portal the same objects",
			"component", "lease", "missing", strings.Join(missing, ","))
	}
	for _, w := range s.workers() {
		w.status.fail(PhaseStandby, nil)
	}
	for {
		g, gctx := errgroup.WithContext(ctx)
		for _, w := range s.workers() {
			g.Go(func() error {
				if c, err := w.log.Peek(gctx); err == nil {
					w.status.follow(c)
				}
				return nil
			})
		}
		_ = g.Wait() // none fails
		if pause(ctx, standbyEvery*3/4, standbyEvery) != nil {
			return
		}
	}
}

// me is what this source says of itself when it leads.
func (s *Source) me(task Task) Leader {
	me := Leader{Instance: s.cfg.Instance, Task: task}
	for _, w := range s.workers() {
		me.Objects = append(me.Objects, w.log.object.Name)
	}
	return me
}

// notRead returns which of the objects the leader does not read.
func (s *Source) notRead(objects []string) (missing []string) {
	leader, _ := s.lease.Leader()
	for _, name := range objects {
		if len(leader.Objects) > 0 && !slices.Contains(leader.Objects, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// workers are all that keep an object type going, owners last.
func (s *Source) workers() []*worker {
	all := make([]*worker, 0, len(s.followers)+1)
	for _, f := range s.followers {
		all = append(all, &f.worker)
	}
	if s.owners != nil {
		all = append(all, &s.owners.worker)
	}
	return all
}

// Leader returns who reads the portal as far as this source knows, zero if it does not, and whether that is this source.
func (s *Source) Leader() (leader Leader, leads bool) { return s.lease.Leader() }

// LedError says that a pass was not made, since another source leads.
type LedError struct {
	Leader Leader
	// UpToDate says that the leader keeps up, so that there is nothing to do.
	UpToDate bool
	reason   string
}

func (e *LedError) Error() string {
	return fmt.Sprintf("source %s leads%s", e.Leader.Instance, e.reason)
}

// passPatience is how long one pass waits for another to end.
const passPatience = time.Minute

// pass does work as the leader. If a running source leads, it returns a LedError once that was seen alive; for another
// pass it waits a while, and for one that died until its lease has expired.
func (s *Source) pass(ctx context.Context, task Task, workers []*worker, work func(context.Context) error) error {
	began := time.Now()
	return s.lease.Once(ctx, s.me(task), work, func(ctx context.Context, leader Leader, alive bool) error {
		switch {
		case !alive:
			return nil
		case leader.Task == TaskFollow:
			return s.led(ctx, leader, task, workers)
		case time.Since(began) > passPatience:
			return &LedError{Leader: leader, reason: fmt.Sprintf(" with another pass (%s) that takes long: try again later", leader.Task)}
		}
		return nil
	})
}

// led returns why a pass beside a running source is not made.
func (s *Source) led(ctx context.Context, leader Leader, task Task, workers []*worker) error {
	e := &LedError{Leader: leader}
	if task == TaskBackfill {
		e.reason = ", and one source at a time reads a portal. It reads whole what never was; to read all anew, stop it, run this, and start it again: " +
			"it goes on where the log then is"
		return e
	}
	// Owners, and whatever is quiet, move with the definitions at the latest.
	bound := 2*s.cfg.DefinitionsInterval + s.cfg.Settle
	oldest := time.Duration(0)
	for _, w := range workers {
		name := w.log.object.Name
		if len(s.notRead([]string{name})) > 0 {
			e.reason = fmt.Sprintf(" and does not read %s: add it to that source's objects, or stop it and run this again", name)
			return e
		}
		c, err := w.log.Peek(ctx)
		if err != nil {
			return err
		}
		age := s.cfg.Client.Now().Sub(c.CompleteThrough)
		switch {
		case c.CompleteThrough.IsZero():
			e.reason = fmt.Sprintf(" and is still reading %s whole: wait for it (hubtail status shows how far it is)", name)
			return e
		case age > bound:
			e.reason = fmt.Sprintf(", but %s is complete through %s only: look at that source, or stop it and run this again",
				name, c.CompleteThrough.Format(time.DateTime))
			return e
		}
		oldest = max(oldest, age)
	}
	e.UpToDate, e.reason = true, fmt.Sprintf(" and is complete through %s ago: nothing to do", oldest.Round(time.Second))
	return e
}
