package main

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
)

func upCommand() *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "source and sink in one process, with an embedded NATS server when no --nats-url is given",
		Description: "For small installations: one process, one Postgres, nothing else to run. With --nats-listen, `hubtail status`, the\n" +
			"nats CLI and other subscribers reach the log of the embedded server, too.\n\n" +
			"Example:\n  HUBSPOT_ACCESS_TOKEN=... DATABASE_URL=... hubtail up --data-dir /var/lib/hubtail",
		Flags: flags(hubspotFlags, natsFlags, replicasFlag, postgresFlags, consumerFlag, objectFlags, linkFlags, pollFlag, settleFlag, rereadFlags, verifyFlag, dataDirFlag, adminFlag, pageFlags, alertFlags, webhookFlags,
			natsListenFlag(""), natsAccessFlags()),
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
	if err := p.requireWebhooks(); err != nil {
		return err
	}
	admin, err := p.startAdmin(c)
	if err != nil {
		return err
	}
	js, err := p.upNATS(c)
	if err != nil {
		return err
	}
	source, client, err := p.newSource(c.Context, js)
	if err != nil {
		return err
	}
	hooks, err := p.newWebhooks(source)
	if err != nil {
		return err
	}
	s, pool, err := p.newSink(c.Context, js)
	if err != nil {
		return err
	}
	admin.watch(watched{nats: js.Conn(), source: source, client: client, sink: s, pool: pool})
	run, err := admin.monitored(c, p, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return hooks.runWith(ctx, source) })
		group.Go(func() error { return s.Run(ctx) })
		return group.Wait()
	})
	if err != nil {
		return err
	}
	p.logSource(source)
	p.logSink()
	return untilStopped(c.Context, run)
}

// upNATS connects to --nats-url, or to a server of our own, which listens for others too if asked to.
func (p *parts) upNATS(c *cli.Context) (jetstream.JetStream, error) {
	p.natsListen = c.String("nats-listen")
	if p.natsURL != "" || p.natsListen == "" {
		if p.natsListen != "" {
			p.log.Warn("there is a NATS server already, so none of ours listens", "nats_listen", p.natsListen)
		}
		return p.connectNATS(c.Context, true)
	}
	server, err := p.startNATS(c)
	if err != nil {
		return nil, err
	}
	nc, err := server.Connect()
	if err != nil {
		return nil, err
	}
	p.onClose("NATS connection", func() error { nc.Close(); return nil })
	p.log.Info("the embedded NATS server listens", "url", server.URL())
	return jetstream.New(nc)
}
