package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/sink"
)

const (
	// forever is the patience of a service: what it needs may come back in the night, and nobody should have to be there.
	forever = time.Duration(math.MaxInt64)

	// What does not answer is asked again after waitLeast, then later each time up to waitMost.
	waitLeast = 500 * time.Millisecond
	waitMost  = 10 * time.Second
)

// untilThere does what takes NATS or Postgres until that succeeds, or is refused for a reason that waiting does not help
// with. A command that is no service has no patience: it is told at once. Who waits says so once, and where it is asked.
func (p *parts) untilThere(ctx context.Context, do func() error) error {
	defer p.waitsFor("")
	began, said := time.Now(), ""
	for wait := waitLeast; ; wait = min(2*wait, waitMost) {
		err := do()
		what := missing(err)
		if err == nil && said != "" {
			p.log.Info(said+" answers", "waited", time.Since(began).Round(time.Second))
		}
		if what == "" || ctx.Err() != nil || time.Since(began) >= p.patience {
			return err
		}
		if said != what {
			p.log.Warn(what+" does not answer yet: trying until it does", "error", err)
			said = what
		}
		p.waitsFor(fmt.Sprintf("%s does not answer yet: %v", what, err))
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// waitsFor tells whoever looks at the admin listener what holds up the start, nothing if it is "".
func (p *parts) waitsFor(what string) {
	if p.waiting != nil {
		p.waiting(what)
	}
}

// missing names what did not answer, or not yet, "" if err is an answer: no.
func missing(err error) string {
	var refused *tls.CertificateVerificationError
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &refused) {
		return ""
	}
	var answer *pgconn.PgError
	var dial *pgconn.ConnectError
	if errors.As(err, &answer) || errors.As(err, &dial) || pgconn.Timeout(err) {
		if sink.MayPass(err) && !strings.Contains(err.Error(), "server refused TLS connection") {
			return "postgres"
		}
		return ""
	}
	// What NATS does not answer in time ends with the time's error; that of Postgres is above.
	if jetlog.Away(err) || errors.Is(err, context.DeadlineExceeded) {
		return "nats"
	}
	return ""
}
