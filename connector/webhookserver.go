package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// drainTimeout is how long deliveries that are being stored may take once the receiver is to stop. HubSpot rule: one takes
// five seconds at most.
const drainTimeout = 5 * time.Second

// Serve takes deliveries from a listener until ctx ends, and closes it. Then it answers those under way, within
// drainTimeout; HubSpot delivers again what it got no answer for.
func (r *Receiver) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// What TLS scanners and port checks do to a public port is no news.
		ErrorLog: slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	r.logger.Info("receiving webhooks", "address", l.Addr().String(), "url", r.cfg.URL)
	select {
	case err := <-served:
		return fmt.Errorf("receive webhooks on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(draining)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	<-served
	if err != nil {
		r.logger.Warn("deliveries given up; HubSpot will repeat them", "err", err)
	}
	return nil
}
