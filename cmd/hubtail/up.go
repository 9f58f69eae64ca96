package main

import (
	"context"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
)

func upCommand() *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "source and sink in one process, with an embedded NATS server when no --nats-url is given",
		Description: "For small installations: one process, one Postgres, nothing else to run.\n\n" +
			"Example:\n  HUBSPOT_ACCESS_TOKEN=... DATABASE_URL=... hubtail up --data-dir /var/lib/hubtail",
		Flags:  flags(hubspotFlags, natsFlags, postgresFlags, consumerFlag, objectFlags, pollFlags, dataDirFlag),
		Before: noArguments,
		Action: longRunning(runUp),
	}
}

func runUp(c *cli.Context, p *parts) error {
	defer limitMemoryWithNATS(c.Context)()
	if err := p.requireHubSpot(); err != nil {
		return err
	}
	if err := p.requireDatabase(); err != nil {
		return err
	}
	_, js, err := p.connectNATS(c.Context, true)
	if err != nil {
		return err
	}
	source, _, err := p.newSource(c.Context, js)
	if err != nil {
		return err
	}
	s, _, err := p.newSink(c.Context, js)
	if err != nil {
		return err
	}
	p.logSource(source)
	p.logSink()
	return untilStopped(c.Context, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return source.Run(ctx) })
		group.Go(func() error { return s.Run(ctx) })
		return group.Wait()
	})
}
