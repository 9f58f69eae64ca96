package connector

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// HintsStream returns the name of the work queue of hints that belongs to a log.
func HintsStream(log string) string { return log + "_HINTS" }

// hintsConfig is the work queue's configuration. It keeps one hint per subject, so that a burst about one record is one
// hint, and a newer one takes the place of one that is being worked on: what was said last is never lost to an
// acknowledgement of what was said before.
func hintsConfig(log string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               HintsStream(log),
		Description:        "What HubSpot's webhooks said and the source has not read yet (hubtail)",
		Subjects:           []string{schemas.HintRoot + ".>"},
		Retention:          jetstream.WorkQueuePolicy,
		Storage:            jetstream.FileStorage,
		Replicas:           max(replicas, 1),
		Discard:            jetstream.DiscardOld,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgsPerSubject:  1,
		AllowAtomicPublish: true, // a delivery of a hundred events is one write to disk
	}
}

// hints is the work queue between the receivers of webhooks and the source. Receivers publish, the leading source takes.
type hints struct {
	js     jetstream.JetStream
	writer *hintWriter
	stream string
	portal string
	logger *slog.Logger

	ackWait time.Duration // hintAckWait but for tests

	mu     sync.Mutex // guards queues
	queues map[string]jetstream.Consumer
}

// openHints makes sure that the work queue exists.
func openHints(ctx context.Context, js jetstream.JetStream, log string, replicas int, portal string, logger *slog.Logger) (*hints, error) {
	cfg := hintsConfig(log, replicas)
	stream, err := jetlog.Ensure(ctx, js, cfg)
	if err != nil {
		return nil, err
	}
	if n := stream.CachedInfo().Config.MaxMsgsPerSubject; n != 1 {
		return nil, fmt.Errorf("%w: stream %s keeps %d hints per record, so that a burst costs as many reads; nats stream edit %s --max-msgs-per-subject 1",
			jetlog.ErrDangerousStream, cfg.Name, n, cfg.Name)
	}
	return &hints{
		js: js, writer: &hintWriter{js: js}, stream: cfg.Name, portal: portal, logger: logger.With("component", "hints"),
		ackWait: hintAckWait, queues: make(map[string]jetstream.Consumer),
	}, nil
}

// publish stores hints, all of them or none of a thousand, and returns when they are on disk. Of several about one thing
// the last one stays. After an error some may be stored: say it again.
func (h *hints) publish(ctx context.Context, all ...*schemas.Hint) error {
	msgs, err := hintMessages(all)
	for part := range slices.Chunk(msgs, maxBatch) {
		if err == nil {
			err = h.writer.write(ctx, part)
		}
	}
	if err != nil {
		return fmt.Errorf("store %d hints in %s: %w", len(all), h.stream, err)
	}
	return nil
}

// hintMessages encodes hints, the last one of each subject.
func hintMessages(all []*schemas.Hint) ([]*nats.Msg, error) {
	at := make(map[string]int, len(all))
	msgs := make([]*nats.Msg, 0, len(all))
	for _, hint := range all {
		m, err := hint.Encode()
		if err != nil {
			return nil, err
		}
		msg := &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
		if i, ok := at[m.Subject]; ok {
			msgs[i] = msg
			continue
		}
		at[m.Subject] = len(msgs)
		msgs = append(msgs, msg)
	}
	return msgs, nil
}

// waiting returns how many hints nobody has worked off yet.
func (h *hints) waiting(ctx context.Context) (uint64, error) {
	stream, err := h.js.Stream(ctx, h.stream)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", h.stream, err)
	}
	return stream.CachedInfo().State.Msgs, nil
}
