package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// runOnce runs onePass with the parts of the command's flags, as they are by now.
func runOnce(c *cli.Context, pass func(context.Context, *connector.Source) error) error {
	return withParts(func(c *cli.Context, p *parts) error {
		return onePass(c, p, func(ctx context.Context, source *connector.Source) error {
			err := pass(ctx, source)
			if led := (*connector.LedError)(nil); errors.As(err, &led) && led.UpToDate {
				if !c.Bool("json") {
					printf(c.App.Writer, "%s\n", led) // no complaint: cron would send a mail
				}
				return nil
			}
			return err
		})
	})(c)
}

// onePass runs one pass of the source and, where a database is configured, applies the log up to what the pass wrote.
func onePass(c *cli.Context, p *parts, pass func(context.Context, *connector.Source) error) error {
	if err := p.requireHubSpot(); err != nil {
		return err
	}
	js, err := p.connectNATS(c.Context, true)
	if err != nil {
		return err
	}
	source, client, err := p.newSource(c.Context, js)
	if err != nil {
		return err
	}
	if p.databaseURL == "" {
		where := filepath.Join(p.dataDir, "nats")
		if p.natsURL != "" {
			where = "stream " + p.stream + " of NATS_URL"
		}
		fmt.Fprintf(os.Stderr, "hubtail: no database given: the changes are in the log only (%s)\n", where)
	}
	started := time.Now()
	shown := func(ctx context.Context) error {
		return withProgress(ctx, source, c.Command.Name == "backfill", func(ctx context.Context) error { return pass(ctx, source) })
	}
	err = untilStopped(c.Context, func(ctx context.Context) error {
		if p.databaseURL == "" {
			return shown(ctx)
		}
		s, _, err := p.newSink(ctx, js)
		if err != nil {
			return err
		}
		return passAndApply(ctx, s, shown,
			func(ctx context.Context) error { return waitApplied(ctx, js, p.stream, source.Portal(), s) })
	})
	printPass(c, source, client.Usage().Sent(), time.Since(started))
	return err
}

var errApplied = errors.New("applied")

// passAndApply runs the sink beside pass and until applied says that everything that is in the log afterwards is applied. What the pass
// appended before it failed is applied, too.
func passAndApply(ctx context.Context, s *sink.Sink, pass, applied func(context.Context) error) error {
	var passErr error
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.Run(ctx) })
	group.Go(func() error {
		passErr = pass(ctx)
		if err := applied(ctx); err != nil {
			return err
		}
		return errApplied // ends the sink
	})
	err := group.Wait()
	switch {
	case errors.Is(err, errApplied):
		return passErr
	case errors.Is(passErr, context.Canceled):
		return err // the sink failed, and ended the pass
	}
	return errors.Join(passErr, err)
}

// lastOf returns the sequence of the last message of a portal, 0 if it has none.
func lastOf(ctx context.Context, js jetstream.JetStream, stream, portal string) (uint64, error) {
	str, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	message, err := str.GetLastMsgForSubject(ctx, schemas.Root+"."+schemas.EncodeToken(portal)+".>")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up the end of the log: %w", err)
	}
	return message.Sequence, nil
}

// waitUntil looks every so often whether a condition has come true.
func waitUntil(ctx context.Context, every time.Duration, condition func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

var passFlags = []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}}

// passResult is what a pass reports, as JSON.
type passResult struct {
	Portal   string                   `json:"portal"`
	Objects  []connector.ObjectStatus `json:"objects"`
	Requests int64                    `json:"requests"` // to HubSpot
	Seconds  float64                  `json:"seconds"`
}

// printPass prints a line per object, and what the pass cost.
func printPass(c *cli.Context, source *connector.Source, requests int64, took time.Duration) {
	if c.Bool("json") {
		_ = printJSON(c, passResult{source.Portal(), source.Status(), requests, took.Seconds()}) // a closed pipe is the reader's business
		return
	}
	for _, s := range source.Status() {
		n := s.Counts
		printf(c.App.Writer, "%-14s %7d fetched  %7d created  %6d updated  %7d unchanged  %4d failed", s.Object, n.Fetched, n.Created, n.Updated, n.Unchanged, n.Failed)
		if s.LastError != "" {
			printf(c.App.Writer, "  %s", s.LastError)
		}
		printf(c.App.Writer, "\n")
	}
	printf(c.App.Writer, "%d requests, %s\n", requests, took.Round(time.Millisecond))
}
