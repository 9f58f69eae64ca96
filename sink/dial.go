package sink

import (
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// DefaultAnswerTimeout is above the longest statement (60 s), so that Postgres' own answer comes first.
	DefaultAnswerTimeout = 90 * time.Second

	// connectTimeout bounds one attempt to connect, login included, and the check of a connection that was idle.
	connectTimeout = 15 * time.Second

	// A peer that is gone without a word is noticed after silence: at once if what was sent is not confirmed for so long,
	// else by probes that are not.
	silence       = 30 * time.Second
	probeIdle     = 15 * time.Second
	probeInterval = 5 * time.Second
	probeCount    = 3
)

// noticeSilence makes the pool notice peers that are gone without a word: cut cables, routers that forgot, machines that
// lost their power. pgx waits for ever, or two hours and more where the system's keepalive is on.
func noticeSilence(cfg *pgxpool.Config) {
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	if cfg.PingTimeout == 0 {
		cfg.PingTimeout = connectTimeout
	}
	dialer := &net.Dialer{
		Timeout:         cfg.ConnConfig.ConnectTimeout,
		Control:         boundUnconfirmed,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeIdle, Interval: probeInterval, Count: probeCount},
	}
	cfg.ConnConfig.DialFunc = dialer.DialContext
}
