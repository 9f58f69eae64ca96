package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
)

// replayIdle is how often a replay looks whether anything is still to come.
const replayIdle = time.Second

// lastValuesPull is how many messages a reader of last values asks for at a time.
const lastValuesPull = 128

// lastValuesOptions are pullOptions for readers of last values. NATS rule (nats-server 2.12, seen): where a pull ends because
// its bytes are used up, a consumer of the last messages of subjects leaves out the message that no longer fitted, for good.
// So these pulls are counted in messages.
func lastValuesOptions() []jetstream.PullMessagesOpt {
	return []jetstream.PullMessagesOpt{jetstream.PullMaxMessages(lastValuesPull)}
}

// replay applies what an ordered reader of the log yields, up to a sequence, and reports how many messages that is about
// before it begins.
func (s *Sink) replay(ctx context.Context, a *Applier, cfg jetstream.OrderedConsumerConfig, until uint64, begins func(total int64)) error {
	reader, err := jetlog.Reader(ctx, s.cfg.JetStream, s.cfg.Stream, cfg)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	info, err := reader.Info(ctx)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	begins(int64(info.NumPending))
	if info.NumPending == 0 {
		return nil
	}
	options := s.pullOptions()
	if cfg.DeliverPolicy == jetstream.DeliverLastPerSubjectPolicy {
		options = lastValuesOptions()
	}
	iterator, err := reader.Messages(options...)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	s.stats.attached(a, 0)
	watching, stop := context.WithCancel(ctx)
	ended := make(chan bool, 1)
	go func() { ended <- s.endWhenDrained(watching, a, reader, iterator) }()
	err = s.pipeline(ctx, a, &collector{cfg: s.cfg, iterator: iterator, stats: &s.stats, until: until, ordered: true})
	stop()
	if drained := <-ended; drained && errors.Is(err, jetstream.ErrMsgIteratorClosed) {
		err = nil
	}
	return errors.Join(err, ctx.Err())
}

// endWhenDrained stops the iterator once nothing is to come and nothing has come for a while. NATS rule: of the last
// messages of subjects, one that is replaced or removed before it was sent is never sent, so that what comes last may not
// be what was expected to.
func (s *Sink) endWhenDrained(ctx context.Context, a *Applier, reader jetstream.Consumer, iterator jetstream.MessagesContext) bool {
	tick := time.NewTicker(replayIdle)
	defer tick.Stop()
	for before, quiet := int64(-1), 0; ; {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		now := a.counts.messages.Load()
		info, err := reader.Info(ctx)
		if err != nil || info.NumPending > 0 || now != before {
			before, quiet = now, 0
			continue
		}
		if quiet++; quiet >= 2 {
			iterator.Stop()
			return true
		}
	}
}
