package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

const (
	followAgainFirst = 100 * time.Millisecond
	followAgainMost  = 5 * time.Second
)

// ErrRecreated says that the stream was deleted and created again: its sequences mean something else now.
var ErrRecreated = errors.New("the stream was created anew")

// Follow hands the messages from a sequence on to do, in order and each once, and then those that come, until ctx ends or do
// returns an error, which it returns. It outlasts restarts of NATS; troubled, if not nil, is told of them.
func (l *Log) Follow(ctx context.Context, from uint64, subjects []string, do func(Entry) error, troubled func(error)) error {
	next := max(from, 1)
	for wait := followAgainFirst; ; wait = min(2*wait, followAgainMost) {
		began := next
		var stop doError
		err := l.follow(ctx, &next, subjects, do)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &stop):
			return stop.error
		case errors.Is(err, ErrRecreated), errors.Is(err, jetstream.ErrStreamNotFound):
			return err
		}
		if troubled != nil {
			troubled(err)
		}
		if next > began {
			wait = followAgainFirst // it worked for a while
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// doError is what the caller's function returned.
type doError struct{ error }

// follow reads until something fails, and leaves in next where to go on.
func (l *Log) follow(ctx context.Context, next *uint64, subjects []string, do func(Entry) error) error {
	asked, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := l.js.Stream(asked, l.name)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", l.name, err)
	}
	if created := stream.CachedInfo().Created; !created.Equal(l.Created) {
		return fmt.Errorf("%w: %s, at %s", ErrRecreated, l.name, created.UTC().Format(time.RFC3339))
	}
	reader, err := l.js.OrderedConsumer(asked, l.name, jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *next,
	})
	if err != nil {
		return fmt.Errorf("read stream %s from %d: %w", l.name, *next, err)
	}
	iterator, err := reader.Messages(pullOptions(l.js)...)
	if err != nil {
		return fmt.Errorf("read stream %s from %d: %w", l.name, *next, err)
	}
	defer iterator.Stop()
	defer context.AfterFunc(ctx, iterator.Stop)()
	for {
		m, err := iterator.Next()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", l.name, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", l.name, err)
		}
		*next = meta.Sequence.Stream + 1
		err = do(Entry{
			Message: schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, Seq: meta.Sequence.Stream, Time: meta.Timestamp,
		})
		if err != nil {
			return doError{err}
		}
	}
}
