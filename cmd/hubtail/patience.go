package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/connector/hubspot"
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
// Once ctx has ended, so has what fails: the error is that of ctx, and has the last one with it.
func (p *parts) untilThere(ctx context.Context, do func() error) error {
	defer p.waitsFor("")
	began, said := time.Now(), ""
	for wait := waitLeast; ; wait = min(2*wait, waitMost) {
		err := do()
		what := missing(err)
		if err == nil && said != "" {
			p.log.Info(said+" answers", "waited", time.Since(began).Round(time.Second))
		}
		if err != nil && ctx.Err() != nil {
			return stopped(ctx, err)
		}
		if what == "" || time.Since(began) >= p.patience {
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
			return stopped(ctx, err)
		}
	}
}

// stopped is the error of what was being tried when ctx ended.
func stopped(ctx context.Context, err error) error {
	return fmt.Errorf("%w while it was tried: %w", ctx.Err(), err)
}

// waitsFor tells whoever looks at the admin listener what holds up the start, nothing if it is "".
func (p *parts) waitsFor(what string) {
	if p.waiting != nil {
		p.waiting(what)
	}
}

// missing names what did not answer, or not yet, "" if err is an answer: no. What HubSpot's client says is not waited for: it
// has tried for minutes.
func missing(err error) string {
	var refused *tls.CertificateVerificationError
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &refused) || ofHubSpot(err) || jetlog.Refused(err) {
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
	// A connection to Postgres that breaks has no error of its own; one to NATS has, above. A file that is not there is like
	// a network error to Go.
	var file *fs.PathError
	if sink.MayPass(err) && !errors.As(err, &file) && !errors.Is(err, sink.ErrDatabaseURL) {
		return "postgres"
	}
	return ""
}

// ofHubSpot reports whether an error is of HubSpot's client, whatever made it.
func ofHubSpot(err error) bool {
	var answer *hubspot.Error
	var request *url.Error
	if errors.As(err, &answer) || errors.As(err, &request) {
		return true
	}
	for _, known := range []error{hubspot.ErrUnavailable, hubspot.ErrMalformed, hubspot.ErrDailyLimit} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
