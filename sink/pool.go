package sink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DefaultSchema is where the tables are unless configured otherwise.
const DefaultSchema = "hubspot"

// maxConns is how many connections a pool opens at most: one that writes, one that looks ahead, and room for a change of
// a table and a look at the status. One suffices (pool_max_conns=1 in the URL): nothing that has a connection waits for
// another one. Supabase's smallest plan allows 15 through its session pooler.
const maxConns = 4

// OpenPool opens a pool for a database URL and checks that it answers. Behind a pooler (Supabase's, PgBouncer's port, or
// default_query_exec_mode=cache_describe in the URL for another) no named statements are used: there, they come out on another server
// process. Nothing else the sink does depends on a session. What to do about a refusal is part of its error.
func OpenPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := poolConfig(url)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, redactError("open database pool", err, cfg.ConnConfig.Password)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, redactError("connect to postgres", adviseConnect(err, cfg.ConnConfig), cfg.ConnConfig.Password)
	}
	return pool, nil
}

// ErrDatabaseURL is returned by OpenPool for what is no address of a database.
var ErrDatabaseURL = errors.New("the database URL is not understood: it should look like postgresql://user:password@host:5432/database")

func poolConfig(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The parser's own text quotes the URL, and in one that cannot be parsed nobody knows where the password is.
		return nil, ErrDatabaseURL
	}
	if passwordEndedEarly(url, cfg.ConnConfig) {
		return nil, fmt.Errorf("%w: an @ in a password is written %%40 there, and : / # as %%3A %%2F %%23", ErrDatabaseURL)
	}
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = maxConns
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "hubtail"
	}
	noticeSilence(cfg)
	if mayShareSessions(cfg.ConnConfig) && !strings.Contains(url, "default_query_exec_mode") {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	if mode := cfg.ConnConfig.DefaultQueryExecMode; mode == pgx.QueryExecModeCacheDescribe {
		leaveOutSettings(cfg.ConnConfig.RuntimeParams)
	}
	return cfg, nil
}

// passwordEndedEarly reports whether a part of the password of a URL is taken for something else, which errors name: pgx
// takes the first @ for its end and what follows for the host, and a / in it begins the database's name.
func passwordEndedEarly(url string, cfg *pgx.ConnConfig) bool {
	names := cfg.Host
	for _, other := range cfg.Fallbacks {
		names += " " + other.Host
	}
	if strings.Contains(url, "://") {
		names += " " + cfg.Database
	}
	return strings.Contains(names, "@")
}

// mayShareSessions tells poolers, Supabase's by port (transaction mode) or name, PgBouncer by its own port; in session mode
// it would not be needed, and costs nothing.
func mayShareSessions(cfg *pgx.ConnConfig) bool {
	return cfg.Port == 6543 || cfg.Port == 6432 || isSupavisor(cfg.Host)
}

// isSupavisor tells Supabase's shared pooler by its name.
func isSupavisor(host string) bool { return strings.HasSuffix(host, ".pooler.supabase.com") }

// leaveOutSettings removes the settings of a session that a URL or PGOPTIONS asks for. PgBouncer rule: it refuses every
// startup parameter but these ("unsupported startup parameter"), since a session is nobody's own there. Nothing here
// depends on one: the sink qualifies names and sets timeouts per transaction.
func leaveOutSettings(params map[string]string) {
	for name := range params {
		switch strings.ToLower(name) {
		case "application_name", "client_encoding", "datestyle", "timezone", "standard_conforming_strings":
		default:
			delete(params, name)
		}
	}
}

var urlPassword = regexp.MustCompile(`(://[^:/@\s]*:)[^@\s]*@`)
var keyPassword = regexp.MustCompile(`(?i)(password\s*=\s*)('[^']*'|\S+)`)

// redactError wraps err so that its text has no password in it.
func redactError(what string, err error, password string) error {
	text, advice := err.Error(), Advice(err)
	if advice != "" {
		advice = ": " + advice
		text = strings.TrimSuffix(text, advice)
	}
	text = urlPassword.ReplaceAllString(text, "${1}***@")
	text = keyPassword.ReplaceAllString(text, "${1}***")
	if len(password) > 3 { // a shorter one is in any text by chance
		text = strings.ReplaceAll(text, password, "***")
	}
	return &redactedError{what + ": " + tellOnce(text) + advice, err}
}

type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// isNetwork reports whether an error is of the connection.
func isNetwork(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func decodeInt8(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }
