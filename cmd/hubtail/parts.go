package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

// stopBound is how long a process may take to finish what is in flight once it was told to stop.
const stopBound = 15 * time.Second

// parts builds the pieces of a process from its options and closes them in reverse order.
type parts struct {
	options
	log      *slog.Logger
	cleanups []func()
}

func newParts(o options) (*parts, error) {
	log, err := newLogger(os.Stderr, o)
	if err != nil {
		return nil, err
	}
	return &parts{options: o, log: log}, nil
}

func (p *parts) close() {
	for len(p.cleanups) > 0 {
		last := len(p.cleanups) - 1
		cleanup := p.cleanups[last]
		p.cleanups = p.cleanups[:last]
		cleanup()
	}
}

func (p *parts) onClose(name string, f func() error) {
	p.cleanups = append(p.cleanups, func() {
		if err := f(); err != nil {
			p.log.Warn("close", "part", name, "error", err)
		}
	})
}

// connectNATS connects to --nats-url, or, where embedded is allowed and no URL is given, to a server of our own.
func (p *parts) connectNATS(ctx context.Context, embedded bool) (*nats.Conn, jetstream.JetStream, error) {
	var nc *nats.Conn
	var err error
	switch {
	case p.natsURL != "":
		nc, err = jetlog.Connect(ctx, jetlog.Config{URL: p.natsURL, Creds: p.natsCreds, Name: "hubtail", Logger: p.log})
	case embedded:
		nc, err = p.embedNATS(ctx)
	default:
		err = p.requireNATS()
	}
	if err != nil {
		return nil, nil, err
	}
	p.onClose("NATS connection", func() error { nc.Close(); return nil })
	if err := jetlog.CheckServer(nc); err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	return nc, js, err
}

func (p *parts) embedNATS(context.Context) (*nats.Conn, error) {
	server, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(p.dataDir, "nats"), Logger: p.log})
	if err != nil {
		return nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	p.onClose("embedded NATS server", server.Close)
	return server.Connect()
}

func (p *parts) newClient() (*hubspot.Client, error) {
	if err := p.requireHubSpot(); err != nil {
		return nil, err
	}
	cfg := hubspot.Config{
		BaseURL:    p.hubspotURL,
		Token:      p.hubspotToken,
		Share:      p.quotaShare,
		BurstLimit: p.burstLimit,
		Logger:     p.log,
	}
	if p.hubspotRefreshToken != "" {
		cfg.Token = ""
		cfg.OAuth = &hubspot.OAuth{
			ClientID: p.hubspotClientID, ClientSecret: p.hubspotClientSecret, RefreshToken: p.hubspotRefreshToken,
		}
	}
	return hubspot.New(cfg)
}

func (p *parts) newSource(ctx context.Context, js jetstream.JetStream) (*connector.Source, *hubspot.Client, error) {
	client, err := p.newClient()
	if err != nil {
		return nil, nil, err
	}
	source, err := connector.New(ctx, connector.Config{
		Client:       client,
		JetStream:    js,
		Stream:       p.stream,
		Replicas:     p.replicas,
		Portal:       p.portal,
		Objects:      p.objects,
		PollInterval: p.pollInterval,
		Settle:       p.settleTime,
		Logger:       p.log,
	})
	return source, client, err
}

func (p *parts) openDatabase(ctx context.Context) (*pgxpool.Pool, error) {
	if err := p.requireDatabase(); err != nil {
		return nil, err
	}
	pool, err := sink.OpenPool(ctx, p.databaseURL)
	if err != nil {
		return nil, err
	}
	p.onClose("database pool", func() error { pool.Close(); return nil })
	return pool, nil
}

// newSink opens the database, brings its schema up to date and returns the sink.
func (p *parts) newSink(ctx context.Context, js jetstream.JetStream) (*sink.Sink, *pgxpool.Pool, error) {
	pool, err := p.openDatabase(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := migrations.Apply(ctx, pool, p.schema); err != nil {
		return nil, nil, fmt.Errorf("migrate schema %s: %w", p.schema, err)
	}
	s, err := sink.New(ctx, sink.Config{
		Pool:      pool,
		JetStream: js,
		Stream:    p.stream,
		Portal:    p.portal,
		Schema:    p.schema,
		Consumer:  p.consumer,
		Logger:    p.log,
	})
	return s, pool, err
}

// untilStopped runs f and gives it stopBound to return once ctx is done. Being stopped is not an error.
func untilStopped(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return ignoreStop(ctx, err)
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return ignoreStop(ctx, err)
	case <-time.After(stopBound):
		return fmt.Errorf("not stopped within %s; what was in flight is done again at the next start", stopBound)
	}
}

func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
