package jetlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// A dead peer is noticed after pingInterval * (pingsOut + 1).
	pingInterval = 15 * time.Second
	pingsOut     = 2

	reconnectWait   = 500 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond
)

// Config says which NATS to connect to and as whom.
type Config struct {
	// URL is one server or several, separated by commas. User and password or
	// a token may be part of it. Ignored when Options name an in-process server.
	URL string

	// Creds is the path of a credentials file; empty means none.
	Creds string

	// CA is the path of a PEM file with the authorities to trust; empty means
	// the system's.
	CA string

	// Name shows up in the server's connection list; empty means "hubtail".
	Name string

	// Wait is how long to keep trying while no server answers; 0 means one try.
	// Refused credentials end it at once.
	Wait time.Duration

	// Options are added last, for example nats.InProcessServer.
	Options []nats.Option

	// Logger receives lost and restored connections and refusals. Nil discards.
	Logger *slog.Logger
}

// Connect returns a connection that reconnects for ever once it was up.
func Connect(ctx context.Context, cfg Config) (*nats.Conn, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	options := cfg.options()
	address, err := Address(cfg.URL)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(cfg.Wait)
	for warned := false; ; {
		nc, err := nats.Connect(cfg.URL, options...)
		if err == nil {
			return nc, nil
		}
		err = redacted{fmt.Errorf("connect to nats at %s: %w", address, err)}
		if !Away(err) || time.Now().After(deadline) {
			return nil, err
		}
		if !warned {
			cfg.Logger.Warn("nats does not answer yet", "error", err, "wait", cfg.Wait)
			warned = true
		}
		if err := pause(ctx, reconnectWait); err != nil {
			return nil, fmt.Errorf("connect to nats at %s: %w", address, err)
		}
	}
}

func (cfg Config) options() []nats.Option {
	name := cfg.Name
	if name == "" {
		name = "hubtail"
	}
	options := []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		// A user that is refused for a while, because credentials are being changed, may come back.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		// Without it a subscription the server refused just stays silent.
		nats.PermissionErrOnSubscribe(true),
		nats.ErrorHandler(cfg.logError),
		nats.DisconnectErrHandler(cfg.logDisconnect),
		nats.ReconnectHandler(cfg.logReconnect),
	}
	if cfg.Creds != "" {
		options = append(options, nats.UserCredentials(cfg.Creds))
	}
	if cfg.CA != "" {
		options = append(options, nats.RootCAs(cfg.CA))
	}
	return append(options, cfg.Options...)
}

func (cfg Config) logError(_ *nats.Conn, sub *nats.Subscription, err error) {
	attrs := []any{"component", "nats", "error", Redact(err.Error())}
	if sub != nil {
		attrs = append(attrs, "subject", sub.Subject)
	}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		cfg.Logger.Error("nats refuses an operation: grant it to this user", attrs...)
	case errors.Is(err, nats.ErrSlowConsumer):
		cfg.Logger.Warn("nats messages dropped before they were read", attrs...)
	default:
		cfg.Logger.Error("nats connection error", attrs...)
	}
}

func (cfg Config) logDisconnect(nc *nats.Conn, err error) {
	// Our own Close comes by here too, without an error.
	if err == nil || nc.IsClosed() {
		return
	}
	cfg.Logger.Warn("nats connection lost, reconnecting", "component", "nats", "error", Redact(err.Error()))
}

func (cfg Config) logReconnect(nc *nats.Conn) {
	cfg.Logger.Info("nats connection restored", "component", "nats", "server", nc.ConnectedServerName())
}

// Away reports whether err says that no server answers, or that the one that does cannot do it now: that passes. It does not
// where credentials, rights or settings are refused.
//
// NATS rule: 503 is what passes, but for JetStream that is not enabled, on the server or for the account. Servers of a cluster
// that have not found each other yet have no peers for a stream (10005).
func Away(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == errNoPeers ||
			api.Code == 503 && api.ErrorCode != jetstream.JSErrCodeJetStreamNotEnabled && api.ErrorCode != jetstream.JSErrCodeJetStreamNotEnabledForAccount
	}
	var connecting redacted
	if errors.As(err, &connecting) {
		return !refuses(errors.Unwrap(connecting.err))
	}
	return isTransport(err) || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// Refused reports whether err is a connection's that a server or the settings say no to: waiting does not help with that.
func Refused(err error) bool {
	var connecting redacted
	return errors.As(err, &connecting) && !Away(err)
}

const errNoPeers jetstream.ErrorCode = 10005

// refuses tells "you are not welcome" from "nobody answers". The cause is what the client of NATS returned: what else stands
// in an error's text, as the URL does, may have any word in it.
func refuses(cause error) bool {
	var way *net.OpError
	if errors.As(cause, &way) && way.Op == "dial" { // its text has the server's name
		var address *net.AddrError
		return errors.As(cause, &address)
	}
	if strings.Contains(cause.Error(), notUpgraded) {
		return false
	}
	return errors.Is(cause, nats.ErrSecureConnWanted) || permanentFailure.MatchString(cause.Error())
}

// notUpgraded is what the client says of any HTTP answer to ws:// and wss:// that is no websocket, whatever its status: that of
// a proxy whose server restarts, too (502).
const notUpgraded = "invalid websocket connection"

var permanentFailure = regexp.MustCompile(`(?i)authorization|authentication|permission|credential|nkey|parse|invalid|certificate|no such file|tls:`)

var userInfo = regexp.MustCompile(`(://)[^/]*@`)

// redacted is an error whose text has no secrets of a URL in it.
type redacted struct{ err error }

func (e redacted) Error() string { return Redact(e.err.Error()) }
func (e redacted) Unwrap() error { return e.err }

// Redact replaces user, password and token in every URL of text.
func Redact(text string) string {
	return userInfo.ReplaceAllString(text, "${1}***@")
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
