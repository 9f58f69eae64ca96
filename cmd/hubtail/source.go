package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

func sourceCommand() *cli.Command {
	return &cli.Command{
		Name:  "source",
		Usage: "read HubSpot continuously and append every change to the log",
		Description: "Without history it starts with a full read (changes keep flowing meanwhile), then polls.\n" +
			"Killed at any moment, it goes on where the log says it was.\n\n" +
			"Example:\n  HUBSPOT_ACCESS_TOKEN=... hubtail source --nats-url nats://localhost:4222 --objects contacts,deals",
		Flags:  flags(hubspotFlags, natsFlags, replicasFlag, objectFlags, linkFlags, pollFlag, settleFlag, rereadFlags, verifyFlag, adminFlag, pageFlags, alertFlags, webhookFlags),
		Before: noArguments,
		Action: longRunning(runSource),
	}
}

func runSource(c *cli.Context, p *parts) error {
	limitMemory(memoryAlone)
	if err := p.requireHubSpot(); err != nil {
		return err
	}
	if err := p.requireWebhooks(); err != nil {
		return err
	}
	admin, err := p.startAdmin(c)
	if err != nil {
		return err
	}
	js, err := p.connectNATS(c.Context, false)
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
	admin.watch(watched{nats: js.Conn(), source: source, client: client})
	run, err := admin.monitored(c, p, func(ctx context.Context) error { return hooks.runWith(ctx, source) })
	if err != nil {
		return err
	}
	p.logSource(source)
	return untilStopped(c.Context, run)
}
