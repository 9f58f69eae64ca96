package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
