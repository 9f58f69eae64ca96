package main

import (
	"fmt"
	"net/url"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector/simulator"
)

func simulatorCommand() *cli.Command {
	return &cli.Command{
		Name:  "simulator",
		Usage: "run a strict local HubSpot, for trying and testing without an account",
		Description: "It rejects what HubSpot rejects and limits what HubSpot limits. Its control API asks no token. Below /_control/:\n" +
			"GET truth, truth/OBJECT, ids/OBJECT, stats, index, clock; POST create, update, archive, restore, purge, live, webhooks,\n" +
			"faults, clock (JSON bodies); DELETE stats, faults. connector/simulator/control*.go has their fields.\n" +
			"--webhook-url is told of everything, signed as HubSpot signs it.\n\n" +
			"Examples:\n  hubtail simulator --listen 127.0.0.1:8080 --changes 5\n" +
			"  HUBTAIL_HUBSPOT_URL=http://127.0.0.1:8080 HUBSPOT_ACCESS_TOKEN=pat-simulator hubtail source ...\n" +
			"  curl 127.0.0.1:8080/_control/stats\n" +
			"  hubtail simulator --changes 5 --webhook-url http://127.0.0.1:8090/hubspot\n" +
			"  HUBSPOT_CLIENT_SECRET=simulator-secret hubtail source --webhook-addr :8090 --webhook-url http://127.0.0.1:8090/hubspot ...",
		Flags: flags(
			&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` to listen on", Value: "127.0.0.1:8080", EnvVars: env("HUBTAIL_SIMULATOR_LISTEN")},
			&cli.StringFlag{Name: "token", Usage: "access token it accepts", Value: "pat-simulator", EnvVars: env("HUBTAIL_SIMULATOR_TOKEN")},
			&cli.Int64Flag{Name: "seed", Usage: "decides all data and all chance", Value: 1},
			portalSizeFlags(),
			&cli.IntFlag{Name: "quota", Usage: "requests per 10 seconds", Value: 100},
			&cli.IntFlag{Name: "daily-quota", Usage: "requests per day", Value: 250_000},
			&cli.DurationFlag{Name: "index-lag", Usage: "how long changes may take to reach search", Value: 10 * time.Second},
			&cli.Float64Flag{Name: "changes", Usage: "random changes per second", EnvVars: env("HUBTAIL_SIMULATOR_CHANGES")},
			&cli.StringFlag{Name: "webhook-url", Usage: "`URL` to send webhooks to; none if absent", EnvVars: env("HUBTAIL_SIMULATOR_WEBHOOK_URL")},
			&cli.StringFlag{Name: "webhook-secret", Usage: "client `SECRET` to sign them with", Value: "simulator-secret", EnvVars: env("HUBTAIL_SIMULATOR_WEBHOOK_SECRET")},
		),
		Before: noArguments,
		Action: longRunning(runSimulator),
	}
}

func runSimulator(c *cli.Context, p *parts) error {
	if err := requireSizes(c); err != nil {
		return err
	}
	hooks := c.String("webhook-url")
	if u, err := url.Parse(hooks); hooks != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return usageError{fmt.Errorf("--webhook-url is %q; it should look like http://127.0.0.1:8090/hubspot", hooks)}
	}
	size := portalSize(c)
	size.Token = c.String("token")
	size.BurstLimit, size.DailyLimit = c.Int("quota"), c.Int("daily-quota")
	size.IndexLag.Max = c.Duration("index-lag")
	size.Webhooks.URL, size.ClientSecret = hooks, c.String("webhook-secret")
	size.Logger = p.log
	s := simulator.New(size)
	address, err := s.Start(c.String("listen"))
	if err != nil {
		return err
	}
	printf(c.App.Writer, "simulated HubSpot on %s\n", address)
	if hooks != "" {
		printf(c.App.Writer, "webhooks go to %s, signed with the client secret that --webhook-secret gives (HUBSPOT_CLIENT_SECRET of the source)\n", hooks)
	}
	if rate := c.Float64("changes"); rate > 0 {
		s.Live(c.Context, rate)
	}
	<-c.Context.Done()
	return s.Close()
}
