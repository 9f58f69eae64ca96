package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/sink"
)

// doctor has what several checks look at. Each part is made once, by the check that asks first, and its failure is reported
// by the one check that is named after it: the others then have nothing to look at.
type doctor struct {
	*parts
	envFile string
	hubspot bool  // it may be asked
	wire    *wire // to HubSpot

	client     func() (*hubspot.Client, error)
	account    func() (hubspot.Account, error)
	chosen     func() (chosenTypes, error)
	readables  func() []readable
	nats       func() (*nats.Conn, error)
	streamInfo func() (*jetstream.StreamInfo, error)
	logStatus  func() (connector.LogStatus, error)
	pool       func() (*pgxpool.Pool, error)
	position   func() (tablesPosition, error)

	mu      sync.Mutex // guards closers
	closers []func()
}

// errNotConfigured says that a part is not there to be looked at.
var errNotConfigured = errors.New("not configured")

// newDoctor returns a doctor whose parts live as long as ctx: the context of the check that happens to be first must not
// decide for the others.
func newDoctor(ctx context.Context, p *parts, envFile string, askHubSpot bool) *doctor {
	d := &doctor{parts: p, envFile: envFile, hubspot: askHubSpot, wire: newWire()}
	d.client = sync.OnceValues(d.openClient)
	d.account = sync.OnceValues(func() (hubspot.Account, error) { return d.readAccount(ctx) })
	d.chosen = sync.OnceValues(func() (chosenTypes, error) { return d.resolveObjects(ctx) })
	d.readables = sync.OnceValue(func() []readable { return d.tryObjects(ctx) })
	d.nats = sync.OnceValues(func() (*nats.Conn, error) { return d.openNATS(ctx) })
	d.streamInfo = sync.OnceValues(func() (*jetstream.StreamInfo, error) { return d.readStream(ctx) })
	d.logStatus = sync.OnceValues(func() (connector.LogStatus, error) { return d.readLogStatus(ctx) })
	d.pool = sync.OnceValues(func() (*pgxpool.Pool, error) { return d.openPoolOnce(ctx) })
	d.position = sync.OnceValues(func() (tablesPosition, error) { return d.readPosition(ctx) })
	return d
}

// asksHubSpot reports whether there is a token, and HubSpot may be asked.
func (d *doctor) asksHubSpot() bool {
	return d.hubspot && (d.hubspotToken != "" || d.hubspotRefreshToken != "")
}

// needsSource and needsSink report which of the two this configuration is for.
func (d *doctor) needsSource() bool { return d.hubspotToken != "" || d.hubspotRefreshToken != "" }
func (d *doctor) needsSink() bool   { return d.databaseURL != "" }

func (d *doctor) onEnd(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closers = append(d.closers, f)
}

func (d *doctor) close() {
	for _, f := range d.closers {
		f()
	}
	d.wire.CloseIdleConnections()
}

// redact takes every secret of the configuration out of a text: errors of other programs quote what they were given.
func (d *doctor) redact(text string) string {
	text = jetlog.Redact(text)
	for _, secret := range []string{d.hubspotToken, d.hubspotClientSecret, d.hubspotRefreshToken, os.Getenv("SUPABASE_DB_PASSWORD"),
		passwordOf(d.databaseURL), passwordOf(d.natsURL)} {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// bound is the time that a part has to become ready.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, checkBound-time.Second)
}

// shortly is the time that NATS has to answer: what it refuses to a user, it answers by nothing at all.
func shortly(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 2*time.Second)
}

func (d *doctor) openNATS(ctx context.Context) (*nats.Conn, error) {
	if d.natsURL == "" {
		return nil, errNotConfigured
	}
	nc, err := jetlog.Connect(ctx, jetlog.Config{URL: d.natsURL, Creds: d.natsCreds, Name: "hubtail doctor", Options: []nats.Option{
		nats.Timeout(3 * time.Second), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}})
	if err != nil {
		return nil, err
	}
	d.onEnd(nc.Close)
	return nc, nil
}

// jetStream returns the API of the connection.
func (d *doctor) jetStream() (jetstream.JetStream, error) {
	nc, err := d.nats()
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc)
}

func (d *doctor) readStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	js, err := d.jetStream()
	if err != nil {
		return nil, err
	}
	ctx, cancel := shortly(ctx)
	defer cancel()
	stream, err := js.Stream(ctx, d.stream)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

func (d *doctor) readLogStatus(ctx context.Context) (connector.LogStatus, error) {
	js, err := d.jetStream()
	if err != nil {
		return connector.LogStatus{}, err
	}
	ctx, cancel := shortly(ctx)
	defer cancel()
	return connector.ReadStatus(ctx, js, d.stream, d.portal)
}

func (d *doctor) openPoolOnce(ctx context.Context) (*pgxpool.Pool, error) {
	if d.databaseURL == "" {
		return nil, errNotConfigured
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	// Two connections suffice, and are there where a sink has taken nearly all.
	pool, err := sink.OpenPool(ctx, withParameter(d.databaseURL, "pool_max_conns=2"))
	if err != nil {
		return nil, err
	}
	d.onEnd(pool.Close)
	return pool, nil
}

// portalID is the portal whose subjects are meant: the configured one, the token's, or the only one of the log.
func (d *doctor) portalID() string {
	if d.portal != "" {
		return d.portal
	}
	if account, err := d.account(); err == nil {
		return fmt.Sprint(account.PortalID)
	}
	if log, err := d.logStatus(); err == nil && len(log.Objects) > 0 {
		return log.Objects[0].Portal
	}
	return "0"
}

// withParameter adds a parameter to a database URL, or to the form with words.
func withParameter(address, parameter string) string {
	switch {
	case !strings.Contains(address, "://"):
		return address + " " + parameter
	case strings.Contains(address, "?"):
		return address + "&" + parameter
	}
	return address + "?" + parameter
}
