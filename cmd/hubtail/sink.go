package main

import "github.com/urfave/cli/v2"

func sinkCommand() *cli.Command {
	return &cli.Command{
		Name:  "sink",
		Usage: "apply the log to Postgres tables continuously",
		Description: "Creates and extends the tables as HubSpot's property definitions say. Rows and the sink's position are\n" +
			"committed together; killed at any moment, it goes on where the database says it was.\n\n" +
			"Example:\n  hubtail sink --nats-url nats://localhost:4222 --database-url postgresql://hubtail@localhost/crm",
		Flags:  flags(natsFlags, postgresFlags, consumerFlag, portalFlag, adminFlag, pageFlags, alertFlags),
		Before: noArguments,
		Action: longRunning(runSink),
	}
}

func runSink(c *cli.Context, p *parts) error {
	limitMemory(memorySink)
	if err := p.requireDatabase(); err != nil {
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
	s, pool, err := p.newSink(c.Context, js)
	if err != nil {
		return err
	}
	admin.watch(watched{nats: js.Conn(), sink: s, pool: pool})
	run, err := admin.monitored(c, p, s.Run)
	if err != nil {
		return err
	}
	p.logSink()
	return untilStopped(c.Context, run)
}
