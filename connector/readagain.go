package connector

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// ReadAgainConfig says which log's source is asked. Stream and Logger may be left out, as in Config.
type ReadAgainConfig struct {
	JetStream jetstream.JetStream
	Stream    string
	Replicas  int    // of the queue of hints, if it is created; 0 means 1
	Portal    string // as in the log
	Logger    *slog.Logger
}

// ReadAgain asks the source to read records once more, as a webhook about them would. It returns when that is noted: a
// source that runs does it within seconds, else the next one that does.
func ReadAgain(ctx context.Context, cfg ReadAgainConfig, object string, ids ...string) error {
	if cfg.Stream == "" {
		cfg.Stream = jetlog.DefaultStream
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	queue, err := openHints(ctx, cfg.JetStream, cfg.Stream, cfg.Replicas, cfg.Portal, cfg.Logger)
	if err != nil {
		return err
	}
	all := make([]*schemas.Hint, len(ids))
	for i, id := range ids {
		all[i] = &schemas.Hint{Kind: schemas.HintRecord, Portal: cfg.Portal, Object: object, ID: id, OccurredAt: time.Now(), Cause: "hubtail.redrive"}
	}
	return queue.publish(ctx, all...)
}
