package sink

import (
	"context"
	"fmt"
)

// ApplyThrough applies the log up to a sequence without the consumer, from where the tables are. It makes up for what
// another sink of the same consumer has taken and not committed, which would come again only after ackWait. Sinks may run
// beside it, this one too.
func (s *Sink) ApplyThrough(ctx context.Context, seq uint64) error {
	stream, err := s.cfg.JetStream.Stream(ctx, s.cfg.Stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", s.cfg.Stream, err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", s.cfg.Stream, err)
	}
	a := NewApplier(ApplierConfig{
		Pool: s.cfg.Pool, Schema: s.cfg.Schema, Stream: s.cfg.Stream, Created: info.Created,
		Consumer: s.cfg.Consumer, Portal: s.cfg.Portal, Logger: s.cfg.Logger,
	})
	pos, err := a.resume(ctx, stream)
	if err != nil || pos.seq >= seq {
		return err
	}
	if err := s.catchUp(ctx, a, pos.seq+1, seq); err != nil {
		return advise(err)
	}
	return ctx.Err()
}
