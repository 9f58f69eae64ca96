package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
)

const (
	// ackWait bounds how long what a killed sink had fetched, or what got lost on the way, holds up the position of the
	// sinks that are left. A sink that works on a batch for longer says so: see held.
	ackWait = 20 * time.Second

	// maxAckPending lets two sinks have several batches each under way, and bounds what a crash leaves to be redelivered.
	maxAckPending = 10_000

	// pullMessages is how many messages the client buffers: enough for the server to have sent the next when a batch is
	// collected. What waits there is looked at by the garbage collector time and again: three times as many cost the sink a
	// twelfth of its CPU time.
	pullMessages = 1_000

	// pullBytes bounds one pull, in messages as they travel; in memory they take about twice as much.
	pullBytes = 4 << 20
)

// ErrOtherConsumer says that the durable consumer has settings a sink cannot work with: it is somebody else's.
var ErrOtherConsumer = errors.New("the durable consumer belongs to something else")

// attach finds the stream and the consumer, and makes the tables and the consumer agree on where to go on. Everything up
// to the returned place is in the tables.
func (s *Sink) attach(ctx context.Context) (*Applier, jetstream.Consumer, *jetstream.ConsumerInfo, error) {
	stream, err := jetlog.Wait(ctx, s.cfg.JetStream, s.cfg.Stream)
	if err != nil {
		return nil, nil, nil, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("look at stream %s: %w", s.cfg.Stream, err)
	}
	a := NewApplier(ApplierConfig{
		Pool: s.cfg.Pool, Schema: s.cfg.Schema, Stream: s.cfg.Stream, Created: info.Created,
		Consumer: s.cfg.Consumer, Portal: s.cfg.Portal, Logger: s.cfg.Logger,
	})
	a.answer = s.cfg.AnswerTimeout
	a.reshapeDue = make(chan struct{}, 1)
	pos, err := a.resume(ctx, stream)
	if err != nil {
		return nil, nil, nil, err
	}
	if pos.seq+1 < info.State.FirstSeq && pos.seq > 0 {
		s.warnOfLostHistory(ctx, pos.seq, info)
	}
	if pos.seq == 0 {
		if err := s.definitionsFirst(ctx, a, stream); err != nil {
			return nil, nil, nil, err
		}
	}
	if pos.seq, err = s.readBacklog(ctx, a, stream, pos.seq, info.State.LastSeq); err != nil {
		return nil, nil, nil, err
	}
	consumer, err := s.ensureConsumer(ctx, a, stream, pos.seq)
	if err != nil {
		return nil, nil, nil, err
	}
	state, err := consumer.Info(ctx)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("look at consumer %s: %w", s.cfg.Consumer, err)
	}
	s.stats.attached(a, pos.seq)
	if pos.seq, err = s.onThisServer(ctx, a); err != nil {
		return nil, nil, nil, err
	}
	// Behind the consumer are tables restored from a backup, and what a killed sink had fetched but not committed, which
	// would come again only after ackWait. Both are read again here; the consumer, which other sinks may be using, stays.
	if pos.seq < state.Delivered.Stream && (state.NumAckPending > 0 || pos.seq < state.AckFloor.Stream) {
		if pos.seq < state.AckFloor.Stream {
			s.cfg.Logger.WarnContext(ctx, "the tables are behind what was acknowledged: applying it again",
				"position", pos.seq, "ack_floor", state.AckFloor.Stream)
		}
		if err := s.catchUp(ctx, a, pos.seq+1, state.Delivered.Stream); err != nil {
			return nil, nil, nil, err
		}
	}
	return a, consumer, state, nil
}

// warnOfLostHistory says what it means that the log begins after the tables' position. As hubtail makes it, only what has a
// newer event of the same subject is ever removed, so what is left brings the tables up to date. Limits of age, size or
// number, which Ensure refuses, break that.
func (s *Sink) warnOfLostHistory(ctx context.Context, position uint64, info *jetstream.StreamInfo) {
	c := info.Config
	attrs := []any{"position", position, "first_seq", info.State.FirstSeq}
	if c.MaxAge <= 0 && c.MaxBytes <= 0 && c.MaxMsgs <= 0 {
		s.cfg.Logger.WarnContext(ctx, "the log's history starts after the tables' position: going on from the last values", attrs...)
		return
	}
	s.cfg.Logger.WarnContext(ctx, "the log has limits and forgot what the tables have not seen: rows may be missing, or stay as they were "+
		"(a rebuild would lack what the log forgot, too); take the limits off the stream, then `hubtail verify --repair` makes up for it from HubSpot",
		append(attrs, "max_age", c.MaxAge, "max_bytes", c.MaxBytes, "max_msgs", c.MaxMsgs)...)
}

// onThisServer notes which run of the database server the sink writes to, and reads the position again: what it is from
// here on is compared with what the consumer knows, and only holds for this server.
func (s *Sink) onThisServer(ctx context.Context, a *Applier) (uint64, error) {
	if err := a.readServer(ctx); err != nil {
		return 0, err
	}
	pos, err := a.readPosition(ctx)
	return pos.seq, err
}

// open returns an Applier for the tables, for work beside whatever sinks there are, the stream, and where the tables are.
func (s *Sink) open(ctx context.Context) (*Applier, jetstream.Stream, position, error) {
	stream, err := s.cfg.JetStream.Stream(ctx, s.cfg.Stream)
	if err != nil {
		return nil, nil, position{}, fmt.Errorf("look up stream %s: %w", s.cfg.Stream, err)
	}
	a := NewApplier(ApplierConfig{
		Pool: s.cfg.Pool, Schema: s.cfg.Schema, Stream: s.cfg.Stream, Created: stream.CachedInfo().Created,
		Consumer: s.cfg.Consumer, Portal: s.cfg.Portal, Logger: s.cfg.Logger,
	})
	pos, err := a.resume(ctx, stream)
	return a, stream, pos, err
}

// resume reads the position, and refuses a stream or a portal that the tables are not from.
//
// The stream is asked after the tables: a sink may work on both meanwhile, and the tables are never ahead of the log.
func (a *Applier) resume(ctx context.Context, stream jetstream.Stream) (position, error) {
	pos, err := a.readPosition(ctx)
	if err != nil {
		return pos, err
	}
	info, err := streamAt(ctx, stream, max(pos.seq, pos.high))
	if err != nil {
		return pos, fmt.Errorf("look at stream %s: %w", a.stream, err)
	}
	if !pos.created.IsZero() && !pos.created.Equal(a.created) {
		return pos, fmt.Errorf("%w: stream %s was created %s, the tables are from one created %s; "+
			"run `hubtail rebuild`, which fills them from this one and keeps the old ones, or point --stream at the old stream",
			ErrOtherStream, a.stream, a.created.Format(time.RFC3339), pos.created.Format(time.RFC3339))
	}
	if last := info.State.LastSeq; max(pos.seq, pos.high) > last {
		return pos, fmt.Errorf("%w: the tables are at %d, stream %s ends at %d: it was restored from an older backup; "+
			"run `hubtail rebuild`, which fills the tables from it and keeps the old ones", ErrOtherStream, max(pos.seq, pos.high), a.stream, last)
	}
	if pos.portal != "" {
		if err := a.checkPortal(pos.portal); err != nil {
			return pos, err
		}
	}
	a.fence.Store(int64(pos.high))
	return pos, nil
}

// electionPatience is how long a stream of several replicas may seem to end before what the tables have.
const electionPatience = 30 * time.Second

// streamAt looks at a stream that should have a message. NATS rule: a replica that has just become the leader answers before
// it has applied all that is committed, so that for a moment its stream seems to be an older one.
func streamAt(ctx context.Context, stream jetstream.Stream, seq uint64) (*jetstream.StreamInfo, error) {
	for deadline := time.Now().Add(electionPatience); ; {
		info, err := stream.Info(ctx)
		if err != nil || info.State.LastSeq >= seq || info.Config.Replicas <= 1 || time.Now().After(deadline) {
			return info, err
		}
		if !pause(ctx, time.Second) {
			return nil, ctx.Err()
		}
	}
}

// ensureConsumer returns the durable consumer. One that is missing starts behind what the tables have: the database, not
// the consumer, is the truth about progress.
func (s *Sink) ensureConsumer(ctx context.Context, a *Applier, stream jetstream.Stream, position uint64) (jetstream.Consumer, error) {
	id, err := a.installation(ctx)
	if err != nil {
		return nil, err
	}
	want := s.consumerConfig(id, position)
	consumer, err := stream.Consumer(ctx, s.cfg.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if position > 0 {
			s.cfg.Logger.InfoContext(ctx, "consumer is made behind the tables' position", "consumer", s.cfg.Consumer, "position", position)
		}
		consumer, err = stream.CreateConsumer(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", s.cfg.Consumer, err)
	}
	info := consumer.CachedInfo()
	if err := s.checkConsumer(info, want, position); err != nil {
		return nil, err
	}
	have := info.Config
	if have.MaxDeliver != want.MaxDeliver || have.AckWait != want.AckWait || have.MaxAckPending != want.MaxAckPending ||
		have.Metadata[installationKey] != id {
		have.MaxDeliver, have.AckWait, have.MaxAckPending = want.MaxDeliver, want.AckWait, want.MaxAckPending
		have.Metadata, have.Description = want.Metadata, want.Description
		if consumer, err = stream.UpdateConsumer(ctx, have); err != nil {
			return nil, fmt.Errorf("update consumer %s: %w", s.cfg.Consumer, err)
		}
	}
	return consumer, nil
}

// installationKey is the consumer's metadata that says which tables it serves.
const installationKey = "hubtail-tables"

func (s *Sink) consumerConfig(id string, position uint64) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable:        s.cfg.Consumer,
		Description:    "hubtail sink, schema " + s.cfg.Schema,
		FilterSubjects: []string{s.cfg.filter()},
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        ackWait,
		MaxDeliver:     -1, // an event is never given up: bad ones go to dead_letters
		MaxAckPending:  maxAckPending,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		Metadata:       map[string]string{installationKey: id},
	}
	if position > 0 {
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, position+1
	}
	return c
}

// checkConsumer refuses a consumer that is not for these tables. Empty tables may take over one that nobody reads: they
// are a database made anew.
func (s *Sink) checkConsumer(info *jetstream.ConsumerInfo, want jetstream.ConsumerConfig, position uint64) error {
	have := info.Config
	const advice = "choose another --consumer, or delete it with `nats consumer rm`"
	if have.AckPolicy != want.AckPolicy || filterOf(have) != filterOf(want) {
		return fmt.Errorf("%w: %s reads %q with acks %q, not %q with explicit acks: %s",
			ErrOtherConsumer, s.cfg.Consumer, filterOf(have), have.AckPolicy, s.cfg.filter(), advice)
	}
	other := have.Metadata[installationKey]
	if other != "" && other != want.Metadata[installationKey] && (position > 0 || info.NumWaiting > 0) {
		return fmt.Errorf("%w: %s feeds the tables of another database or schema (%s, installation %s), and with both on it each would get a part of the changes: %s",
			ErrOtherConsumer, s.cfg.Consumer, have.Description, other, advice)
	}
	return nil
}

func filterOf(c jetstream.ConsumerConfig) string {
	if len(c.FilterSubjects) == 1 {
		return c.FilterSubjects[0]
	}
	if len(c.FilterSubjects) > 1 {
		return fmt.Sprint(c.FilterSubjects)
	}
	return c.FilterSubject
}

// readBacklog applies a long log without the consumer if that does not exist yet: reading in order, without
// acknowledging every message, costs NATS half as much. It returns the position after it.
func (s *Sink) readBacklog(ctx context.Context, a *Applier, stream jetstream.Stream, position, last uint64) (uint64, error) {
	_, err := stream.Consumer(ctx, s.cfg.Consumer)
	if !errors.Is(err, jetstream.ErrConsumerNotFound) || last < position+maxAckPending {
		return position, nil // ensureConsumer sees any other error
	}
	s.stats.attached(a, position)
	if err := s.catchUp(ctx, a, position+1, last); err != nil || ctx.Err() != nil {
		return position, errors.Join(err, ctx.Err())
	}
	pos, err := a.readPosition(ctx)
	return pos.seq, err
}

// pullOptions bounds the buffer of an iterator. NATS rule: a message that is larger than what a pull asks for does not come,
// so a pull asks for at least the largest that the server takes. NATS rule: a pull that is bounded in bytes ends with a status,
// which takes a place in the client's buffer as well; what finds that full is dropped, and comes again after ackWait only. So
// the next pull waits until everything of the last is out of the buffer, and at most the status finds no place.
func (s *Sink) pullOptions() []jetstream.PullMessagesOpt {
	largest := int(s.cfg.JetStream.Conn().MaxPayload()) + 64<<10
	return []jetstream.PullMessagesOpt{
		jetstream.PullMaxMessagesWithBytesLimit(pullMessages, max(pullBytes, largest)), jetstream.PullThresholdMessages(1),
	}
}
