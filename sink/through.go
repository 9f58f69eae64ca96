package sink

import "context"

// ApplyThrough applies the log up to a sequence without the consumer, from where the tables are. It makes up for what
// another sink of the same consumer has taken and not committed, which would come again only after ackWait. Sinks may run
// beside it, this one too.
func (s *Sink) ApplyThrough(ctx context.Context, seq uint64) error {
	a, _, pos, err := s.open(ctx)
	if err != nil || pos.seq >= seq {
		return err
	}
	if err := s.catchUp(ctx, a, pos.seq+1, seq); err != nil {
		return advise(err)
	}
	return ctx.Err()
}
