package sink_test

import (
	"context"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

// A sink is a pool, a JetStream and a blocking Run. It outlasts failures of both, and returns when its context ends or
// when it takes somebody to act.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	run := func() error {
		pool, err := sink.OpenPool(ctx, "postgres://hubtail@db.example.supabase.co:5432/postgres")
		if err != nil {
			return err
		}
		defer pool.Close()
		if err := migrations.Apply(ctx, pool, sink.DefaultSchema); err != nil {
			return err
		}
		nc, err := nats.Connect("nats://127.0.0.1:4222")
		if err != nil {
			return err
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		s, err := sink.New(ctx, sink.Config{Pool: pool, JetStream: js, Logger: slog.Default()})
		if err != nil {
			return err
		}
		return s.Run(ctx)
	}
	if err := run(); err != nil {
		slog.Error("sink stopped", "error", err)
	}
}
