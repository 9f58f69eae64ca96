package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector/simulator"
)

func simulatorCommand() *cli.Command {
	return &cli.Command{
		Name:  "simulator",
		Usage: "run a strict local HubSpot, for trying and testing without an account",
		Description: "It rejects what HubSpot rejects and limits what HubSpot limits. Its control API is under /_control/.\n\n" +
			"Example:\n  hubtail simulator --listen 127.0.0.1:8080 --changes 5\n" +
			"  HUBTAIL_HUBSPOT_URL=http://127.0.0.1:8080 HUBSPOT_ACCESS_TOKEN=pat-simulator hubtail source ...",
		Flags: flags(
			&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` to listen on", Value: "127.0.0.1:8080", EnvVars: env("HUBTAIL_SIMULATOR_LISTEN")},
			&cli.StringFlag{Name: "token", Usage: "access token it accepts", Value: "pat-simulator", EnvVars: env("HUBTAIL_SIMULATOR_TOKEN")},
			&cli.Int64Flag{Name: "seed", Usage: "decides all data and all chance", Value: 1},
			portalSizeFlags(),
			&cli.IntFlag{Name: "quota", Usage: "requests per 10 seconds", Value: 100},
			&cli.IntFlag{Name: "daily-quota", Usage: "requests per day", Value: 250_000},
			&cli.DurationFlag{Name: "index-lag", Usage: "how long changes may take to reach search", Value: 10 * time.Second},
			&cli.Float64Flag{Name: "changes", Usage: "random changes per second", EnvVars: env("HUBTAIL_SIMULATOR_CHANGES")},
		),
		Before: noArguments,
		Action: longRunning(runSimulator),
	}
}

func runSimulator(c *cli.Context, p *parts) error {
	if err := requireSizes(c); err != nil {
		return err
	}
	size := portalSize(c)
	size.Token = c.String("token")
	size.BurstLimit, size.DailyLimit = c.Int("quota"), c.Int("daily-quota")
	size.IndexLag.Max = c.Duration("index-lag")
	size.Logger = p.log
	s := simulator.New(size)
	url, err := s.Start(c.String("listen"))
	if err != nil {
		return err
	}
	printf(c.App.Writer, "simulated HubSpot on %s\n", url)
	if rate := c.Float64("changes"); rate > 0 {
		s.Live(c.Context, rate)
	}
	<-c.Context.Done()
	return s.Close()
}
