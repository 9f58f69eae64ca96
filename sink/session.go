package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// session attaches to the log and applies it until ctx ends or something fails that only starting over repairs.
func (s *Sink) session(ctx context.Context) error {
	reconnected := s.cfg.JetStream.Conn().StatusChanged(nats.CONNECTED)
	defer s.cfg.JetStream.Conn().RemoveStatusListener(reconnected)
	a, consumer, info, err := s.attach(ctx)
	if err != nil {
		return err
	}
	s.stats.setError(nil) // Postgres and NATS have just answered
	iterator, err := consumer.Messages(s.pullOptions()...)
	if err != nil {
		return fmt.Errorf("read consumer %s: %w", s.cfg.Consumer, err)
	}
	c := &collector{
		cfg: s.cfg, consumer: consumer, iterator: iterator, stats: &s.stats,
		alone: true, next: info.Delivered.Consumer + 1,
		streak: streak{from: info.Delivered.Consumer + 1, high: info.Delivered.Stream},
	}
	// Tables are reshaped beside the writing of rows; what ends one ends the other.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	shaping := make(chan error, 1)
	go func() {
		defer stop()
		shaping <- s.keepShape(ctx, a)
	}()
	again := make(chan bool, 1)
	go func() {
		defer stop()
		select {
		case <-reconnected:
			again <- true
		case <-ctx.Done():
			again <- false
		}
	}()
	err = s.pipeline(ctx, a, c)
	stop()
	lost := <-again
	if shapeErr := <-shaping; shapeErr != nil {
		return shapeErr
	}
	if lost && err == nil {
		return errReconnected
	}
	return err
}

// errReconnected says that the connection to NATS was gone for a while. What was on its way then the consumer would deliver
// again after ackWait only; a new session reads it at once, from where the tables are.
var errReconnected = errors.New("connected to nats again")

// pipeline collects a batch, prepares the one before and commits the one before that, all at the same time. When ctx
// ends, collecting stops at once; what was collected is still committed and acknowledged, for stopTimeout at most.
func (s *Sink) pipeline(ctx context.Context, a *Applier, c *collector) error {
	working, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	collecting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(stopTimeout, func() { abort(nil) })
		context.AfterFunc(working, func() { timer.Stop() })
	})()

	collected, prepared := make(chan *work), make(chan *work)
	var g errgroup.Group
	g.Go(func() error {
		defer close(collected)
		return c.run(collecting, collected)
	})
	g.Go(func() error {
		defer close(prepared)
		defer stop()
		for w := range collected {
			err := s.persist(ctx, working, func() (err error) {
				ctx, cancel := context.WithTimeout(working, a.answer)
				defer cancel()
				w.prepared, err = a.prepare(ctx, w.messages, w.position)
				return err
			})
			if err != nil {
				drainWork(collected, stop)
				return err
			}
			select {
			case prepared <- w:
			case <-working.Done():
				drainWork(collected, stop)
				return working.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		for w := range prepared {
			if err := s.finish(ctx, working, a, c, w); err != nil {
				stop()
				abort(err)
				drainWork(prepared, stop)
				return err
			}
		}
		return nil
	})
	keeping, release := context.WithCancel(working)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		c.held.keep(keeping)
	}()
	defer func() { release(); <-kept }()
	err := g.Wait()
	if cause := context.Cause(working); cause != nil && errors.Is(err, context.Canceled) {
		return cause // what ended the other stages, one of which may have returned first
	}
	return err
}

// drainWork lets the stage before end.
func drainWork(in <-chan *work, stop func()) {
	stop()
	for range in { //nolint:revive // nothing to do with it: the messages come again
	}
}

// finish commits a batch and acknowledges it.
func (s *Sink) finish(ctx, working context.Context, a *Applier, c *collector, w *work) error {
	if w.position == 0 && c.consumer != nil {
		w.prepared.position = c.positionOf(working, w)
	}
	start := time.Now()
	if err := s.persist(ctx, working, func() error { return a.commit(working, w.prepared) }); err != nil {
		return err
	}
	s.stats.setError(nil)
	s.stats.committed(len(w.messages), w.prepared.position, time.Since(start))
	c.held.remove(w)
	for _, m := range w.acks {
		// A lost ack means a redelivery, which changes nothing.
		_ = m.Ack()
	}
	return nil
}

// persist runs do until it succeeds, waiting longer and longer while Postgres is away. Nothing is pulled meanwhile: the
// stages before wait too. It gives up on what waiting cannot help, and when the sink is stopping.
func (s *Sink) persist(ctx, working context.Context, do func() error) error {
	for attempt := 0; ; attempt++ {
		err := do()
		if err == nil {
			if attempt > 0 { // a batch that is prepared at once says nothing about the one before it, which may be waiting
				s.stats.setError(nil)
				s.cfg.Logger.InfoContext(ctx, "postgres takes batches again", "attempts", attempt+1)
			}
			return nil
		}
		if f := classify(err); f != faultRetry && f != faultConnect && f != faultWait {
			return err
		}
		if ctx.Err() != nil || working.Err() != nil {
			return err
		}
		s.stats.setError(err)
		if attempt == 0 || attempt%10 == 0 {
			s.cfg.Logger.WarnContext(ctx, "postgres does not take the batch: trying again", "fault", classify(err).String(),
				"attempt", attempt+1, "error", err)
		}
		if !pause(ctx, backoff(attempt)) {
			return errors.Join(ctx.Err(), err)
		}
	}
}
