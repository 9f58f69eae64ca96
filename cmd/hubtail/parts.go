package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/sink"
)

// stopBound is how long a process may take to finish what is in flight once it was told to stop.
const stopBound = 15 * time.Second

// parts builds the pieces of a process from its options and closes them in reverse order.
type parts struct {
	options
	log      *slog.Logger
	patience time.Duration // to wait for NATS and Postgres to answer; one-shot commands have none
	waiting  func(string)  // is told what is waited for; nil where nobody asks
	cleanups []func()

	httpClient *http.Client // to HubSpot; nil means one made for it
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
func (p *parts) connectNATS(ctx context.Context, embedded bool) (jetstream.JetStream, error) {
	var nc *nats.Conn
	var err error
	switch {
	case p.natsURL != "":
		err = p.untilThere(ctx, func() (err error) {
			nc, err = jetlog.Connect(ctx, jetlog.Config{URL: p.natsURL, Creds: p.natsCreds, Name: "hubtail", Logger: p.log})
			return err
		})
	case embedded:
		nc, err = p.embedNATS()
	default:
		err = p.requireNATS()
	}
	if err != nil {
		return nil, err
	}
	p.onClose("NATS connection", func() error { nc.Close(); return nil })
	if err := jetlog.CheckServer(nc); err != nil {
		return nil, err
	}
	return jetstream.New(nc)
}

func (p *parts) embedNATS() (*nats.Conn, error) {
	server, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(p.dataDir, "nats"), Logger: p.log})
	if errors.Is(err, localnats.ErrInUse) {
		return nil, p.inUse(err)
	}
	if err != nil {
		return nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	p.onClose("embedded NATS server", server.Close)
	return server.Connect()
}

// inUse says how to share the log of a running hubtail.
func (p *parts) inUse(err error) error {
	return fmt.Errorf("%w: a running hubtail has the log in --data-dir %s. Give that one --nats-listen %s and set NATS_URL=nats://%[3]s here; "+
		"another --data-dir would be another log, an empty one", err, p.dataDir, defaultNATSListen)
}

func (p *parts) newClient() (*hubspot.Client, error) {
	if err := p.requireHubSpot(); err != nil {
		return nil, err
	}
	if u, err := url.Parse(p.hubspotURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usageError{fmt.Errorf("--hubspot-url (HUBTAIL_HUBSPOT_URL) is %q; it should look like https://api.hubapi.com", p.hubspotURL)}
	}
	cfg := hubspot.Config{
		BaseURL:    p.hubspotURL,
		Token:      p.hubspotToken,
		Share:      p.quotaShare,
		BurstShare: p.burstShare,
		BurstLimit: p.burstLimit,
		HTTPClient: p.httpClient,
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

// turn returns --reread-turn in the way that a source has it: never is negative.
func (p *parts) turn() time.Duration {
	if p.rereadTurn == 0 {
		return -1
	}
	return p.rereadTurn
}

// verifyInterval returns --verify-interval in the way that a source has it: none is negative.
func (p *parts) verifyInterval() time.Duration {
	if p.verifyEvery <= 0 {
		return -1
	}
	return p.verifyEvery
}

func (p *parts) newSource(ctx context.Context, js jetstream.JetStream) (*connector.Source, *hubspot.Client, error) {
	client, err := p.newClient()
	if err != nil {
		return nil, nil, err
	}
	var source *connector.Source
	err = p.untilThere(ctx, func() (err error) {
		source, err = connector.New(ctx, p.sourceConfig(client, js))
		return err
	})
	return source, client, p.badObject(err)
}

// badObject makes names of object types that mean nothing wrong usage.
func (p *parts) badObject(err error) error {
	switch {
	case errors.Is(err, connector.ErrUnknownPair):
		return usageError{err}
	case errors.Is(err, connector.ErrUnknownObject):
		advice := ""
		for _, name := range p.objects {
			if strings.Contains(err.Error(), strconv.Quote(name)) {
				advice = didYouMean(name, standardObjects())
			}
		}
		return usageError{fmt.Errorf("%w%s", err, advice)}
	}
	return err
}

func (p *parts) sourceConfig(client *hubspot.Client, js jetstream.JetStream) connector.Config {
	return connector.Config{
		Client:       client,
		JetStream:    js,
		Stream:       p.stream,
		Replicas:     p.replicas,
		Portal:       p.portal,
		Objects:      p.objects,
		Associations: p.associations,
		SweepTurn:    p.sweepTurn,
		PollInterval: p.pollInterval,
		Settle:       p.settleTime,
		RereadTurn:   p.turn(),
		Logger:       p.log,

		VerifyInterval:      p.verifyInterval(),
		DefinitionsInterval: p.definitions,
	}
}

func (p *parts) openDatabase(ctx context.Context) (*pgxpool.Pool, error) {
	if err := p.requireDatabase(); err != nil {
		return nil, err
	}
	pool, err := p.openPool(ctx)
	if err != nil {
		return nil, err
	}
	p.onClose("database pool", func() error { pool.Close(); return nil })
	return pool, nil
}

// openPool tries until Postgres answers, or for as long as the command has patience.
func (p *parts) openPool(ctx context.Context) (pool *pgxpool.Pool, err error) {
	err = p.untilThere(ctx, func() (err error) {
		pool, err = sink.OpenPool(ctx, p.databaseURL)
		return err
	})
	if errors.Is(err, sink.ErrDatabaseURL) {
		err = usageError{fmt.Errorf("%w (--database-url, DATABASE_URL)", err)}
	}
	return pool, err
}

// newSink opens the database, brings its schema up to date and returns the sink.
func (p *parts) newSink(ctx context.Context, js jetstream.JetStream) (*sink.Sink, *pgxpool.Pool, error) {
	pool, err := p.openDatabase(ctx)
	if err != nil {
		return nil, nil, err
	}
	cfg := sink.Config{
		Pool:      pool,
		JetStream: js,
		Stream:    p.stream,
		Portal:    p.portal,
		Schema:    p.schema,
		Consumer:  p.consumer,
		Logger:    p.log,
	}
	var s *sink.Sink
	err = p.untilThere(ctx, func() (err error) {
		if err = sink.CheckConsumer(ctx, cfg); err != nil {
			return err
		}
		if err = p.migrate(ctx, pool); err != nil {
			return err
		}
		s, err = sink.New(ctx, cfg)
		return err
	})
	return s, pool, err
}

// withParts makes the action of a command from one that works on the parts its flags describe.
func withParts(action func(*cli.Context, *parts) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		o, err := readOptions(c)
		if err != nil {
			return err
		}
		p, err := newParts(o)
		if err != nil {
			return err
		}
		defer p.close()
		return action(c, p)
	}
}

// longRunning makes the action of a command that ends when it is told to: that is no failure, even while it starts.
func longRunning(action func(*cli.Context, *parts) error) cli.ActionFunc {
	return withParts(func(c *cli.Context, p *parts) error {
		p.patience = forever
		if err := action(c, p); c.Context.Err() == nil || !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
}

// logSource and logSink are the one line each that a healthy service begins with.

func (p *parts) logSource(s *connector.Source) {
	p.log.Info("following HubSpot", "portal", s.Portal(), "objects", joinList(p.objects), "stream", p.stream)
}

func (p *parts) logSink() {
	p.log.Info("applying the log", "stream", p.stream, "schema", p.schema, "consumer", p.consumer)
}

// untilStopped runs f and gives it stopBound to return once ctx is done.
func untilStopped(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(stopBound):
		return fmt.Errorf("not stopped within %s; what was in flight is done again at the next start", stopBound)
	}
}
