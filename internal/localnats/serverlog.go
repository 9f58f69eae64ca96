package localnats

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog passes the server's log lines to slog and keeps the first fatal one.
type serverLog struct {
	logger *slog.Logger

	mu  sync.Mutex // guards err
	err error
}

var _ server.Logger = (*serverLog)(nil)

func newServerLog(logger *slog.Logger) *serverLog {
	return &serverLog{logger: logger.With("component", "nats")}
}

// fatal returns the reason why the server gave up, or nil.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Noticef logs at debug level: a healthy server is quiet.
func (l *serverLog) Noticef(format string, v ...any) { l.logger.Debug(fmt.Sprintf(format, v...)) }

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, v ...any) { l.logger.Warn(fmt.Sprintf(format, v...)) }

// Errorf logs an error.
func (l *serverLog) Errorf(format string, v ...any) { l.logger.Error(fmt.Sprintf(format, v...)) }

// Fatalf keeps the first reason for run. The stock logger would end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.logger.Error(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = errors.New(text)
	}
}

// Debugf is never called: debug logging is off.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef is never called: trace logging is off.
func (l *serverLog) Tracef(string, ...any) {}
