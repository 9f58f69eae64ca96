package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/sink"
)

const (
	// appliedPatience is how long the tables may stand still before we apply what is missing ourselves: another sink of the
	// same consumer may have taken it, and may have ended before it committed.
	appliedPatience = 5 * time.Second

	// appliedBound is how long the tables may stand still in all: longer than a change of their columns waits for locks.
	appliedBound = 5 * time.Minute
)

// waitApplied waits until everything that is in the log of the portal now is in the tables, whichever sink applies it: a
// sink that runs elsewhere may take all of it. It gives up with an error when the tables stand still for too long.
func waitApplied(ctx context.Context, js jetstream.JetStream, stream, portal string, s *sink.Sink) error {
	last, err := lastOf(ctx, js, stream, portal)
	if err != nil {
		return err
	}
	return awaitApplied(ctx, s, last, appliedPatience, appliedBound)
}

// tables is a sink, as far as waiting for it goes.
type tables interface {
	Applied(context.Context) (uint64, error)
	ApplyThrough(context.Context, uint64) error
}

func awaitApplied(ctx context.Context, t tables, last uint64, patience, bound time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var helped chan error // nil until we apply ourselves
	defer func() {
		if cancel(); helped != nil {
			<-helped
		}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for position, moved := uint64(0), time.Now(); ; {
		now, err := t.Applied(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && now >= last:
			return nil
		case err == nil && now > position:
			position, moved = now, time.Now()
		case time.Since(moved) >= bound:
			why := "no sink applies the rest"
			if err != nil {
				why = err.Error()
			}
			return fmt.Errorf("the log has everything, the tables do not: they stand at message %d of %d for %s (%s); `hubtail sink`, or the next run, applies the rest",
				position, last, bound, why)
		case time.Since(moved) >= patience && helped == nil:
			helped = make(chan error, 1)
			go func() {
				defer close(helped)
				helped <- t.ApplyThrough(ctx, last)
			}()
		}
		select {
		case err, first := <-helped:
			if first {
				return err // everything is applied, though the position may not say so: its last message was purged
			}
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
