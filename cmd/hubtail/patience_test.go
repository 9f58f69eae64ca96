package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/sink"
)

// TestServicesWaitAsLongAsItTakes has Postgres away for a night, of an imagined clock.
func TestServicesWaitAsLongAsItTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var waits []string
		p := &parts{log: slog.New(slog.NewTextHandler(&log, nil)), patience: forever, waiting: func(what string) { waits = append(waits, what) }}
		began, tries := time.Now(), 0
		must(t, p.untilThere(t.Context(), func() error {
			if tries++; time.Since(began) < 9*time.Hour {
				return fmt.Errorf("open: %w", &pgconn.PgError{Code: "57P03", Message: "the database system is starting up"})
			}
			return nil
		}))
		if waited := time.Since(began); waited > 9*time.Hour+waitMost {
			t.Errorf("it noticed after %s", waited)
		}
		if least, most := int(9*time.Hour/waitMost), int(9*time.Hour/waitMost*2)+20; tries < least || tries > most {
			t.Errorf("%d tries, want %d to %d", tries, least, most)
		}
		if said := strings.Count(log.String(), "level=WARN"); said != 1 || !strings.Contains(log.String(), "postgres does not answer yet") ||
			!strings.Contains(log.String(), "postgres answers") {
			t.Errorf("it said %s", log.String())
		}
		if len(waits) < 2 || !strings.Contains(waits[0], "postgres does not answer yet: open: ") || waits[len(waits)-1] != "" {
			t.Errorf("who asks was told %q", waits)
		}

		// A command that is no service is told at once, and one that is stopped ends.
		p.patience, tries = 0, 0
		if err := p.untilThere(t.Context(), func() error { tries++; return nats.ErrTimeout }); !errors.Is(err, nats.ErrTimeout) || tries != 1 {
			t.Errorf("%d tries, %v", tries, err)
		}
		p.patience = forever
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := p.untilThere(ctx, func() error { return nats.ErrTimeout }); ctx.Err() == nil || err == nil {
			t.Errorf("it ended with %v", err)
		}
	})
}

// TestWhatSaysNoIsNotWaitedFor tells what passes from what does not.
func TestWhatSaysNoIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want string
	}{
		{&pgconn.PgError{Code: "57P03"}, "postgres"},
		{&pgconn.PgError{Code: "53300"}, "postgres"},
		{&pgconn.PgError{Code: "25006"}, "postgres"},
		{&pgconn.PgError{Code: "57P01"}, "postgres"},
		{&pgconn.PgError{Code: "28P01"}, ""},
		{&pgconn.PgError{Code: "3D000"}, ""},
		{&pgconn.PgError{Code: "42501"}, ""},
		{nats.ErrTimeout, "nats"},
		{nats.ErrNoResponders, "nats"},
		{context.DeadlineExceeded, "nats"},
		{&jetstream.APIError{Code: 503, ErrorCode: 10008}, "nats"}, // no quorum
		{&jetstream.APIError{Code: 400, ErrorCode: 10005}, "nats"}, // the others of the cluster are not there yet
		{jetstream.ErrJetStreamNotEnabled, ""},
		{jetstream.ErrJetStreamNotEnabledForAccount, ""},
		{nats.ErrPermissionViolation, ""},
		{context.Canceled, ""},
		{io.EOF, "postgres"},
		{io.ErrUnexpectedEOF, "postgres"},
		{&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, "postgres"},
		{errors.New("conn closed"), "postgres"},
		{&fs.PathError{Op: "open", Path: "/none.pem", Err: syscall.ENOENT}, ""},
		{fmt.Errorf("%w: %w", sink.ErrDatabaseURL, syscall.ENOENT), ""},
		{&url.Error{Op: "Get", URL: "https://api.hubapi.com/x", Err: context.DeadlineExceeded}, ""},
		{fmt.Errorf("%w: %w", hubspot.ErrUnavailable, context.DeadlineExceeded), ""},
		{fmt.Errorf("%w: read answer: %w", hubspot.ErrUnavailable, io.ErrUnexpectedEOF), ""},
		{&hubspot.Error{Status: 401}, ""},
		{errors.New("anything else"), ""},
		{nil, ""},
	} {
		err := test.err
		if err != nil {
			err = fmt.Errorf("start: %w", err)
		}
		if got := missing(err); got != test.want {
			t.Errorf("%v: %q, want %q", err, got, test.want)
		}
	}
}

// TestAStopWhileNATSIsTriedIsNoFailure has ctx end in a try, which fails for a reason of its own.
func TestAStopWhileNATSIsTriedIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{nats.ErrTimeout, errors.New("anything else")} {
		p := &parts{log: slog.New(slog.DiscardHandler), patience: forever}
		ctx, stop := context.WithCancel(t.Context())
		err := p.untilThere(ctx, func() error { stop(); return cause })
		if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) { // longRunning asks for the first
			t.Errorf("it ends with %v", err)
		}
	}
}

// TestAConnectionThatBreaksDuringTheStartIsMadeAgain cuts the connection that migrates, once, as a load balancer does.
func TestAConnectionThatBreaksDuringTheStartIsMadeAgain(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgtest.NewDatabase(t))
	must(t, err)
	address, cut := cutOnce(t, u.String(), 6000)
	q := u.Query()
	q.Del("host")
	q.Del("port")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = address, q.Encode()
	p := &parts{log: slog.New(slog.DiscardHandler), patience: forever}
	p.databaseURL, p.schema = u.String(), "hubspot"
	pool, err := p.openPool(t.Context())
	must(t, err)
	defer pool.Close()
	tries := 0
	err = p.untilThere(t.Context(), func() error { tries++; return p.migrate(t.Context(), pool) })
	if err != nil || !cut.Load() || tries < 2 {
		t.Errorf("%d tries (cut: %v): %v", tries, cut.Load(), err)
	}
}

// cutOnce passes connections on to a database, and ends the first that has sent so many bytes.
func cutOnce(t *testing.T, database string, bytes int) (address string, cut *atomic.Bool) {
	t.Helper()
	cfg, err := pgconn.ParseConfig(database)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	cut = new(atomic.Bool)
	var open sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	serve := func(in net.Conn) {
		defer in.Close()
		network, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
		out, err := net.Dial(network, address)
		if err != nil {
			return
		}
		defer out.Close()
		open.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		buf, sent := make([]byte, 4096), 0
		for {
			n, err := in.Read(buf)
			if sent += n; err != nil || sent > bytes && cut.CompareAndSwap(false, true) {
				return
			}
			_, _ = out.Write(buf[:n])
		}
	}
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { serve(in) })
		}
	})
	return l.Addr().String(), cut
}
