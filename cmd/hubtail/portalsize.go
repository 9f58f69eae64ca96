package main

import (
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector/simulator"
)

// portalSizeFlags say how large a simulated portal is.
func portalSizeFlags() []cli.Flag {
	size := simulator.DemoOptions()
	return []cli.Flag{
		&cli.IntFlag{Name: "contacts", Usage: "contacts in the portal", Value: size.Contacts},
		&cli.IntFlag{Name: "companies", Usage: "companies in the portal", Value: size.Companies},
		&cli.IntFlag{Name: "deals", Usage: "deals in the portal", Value: size.Deals},
		&cli.IntFlag{Name: "tickets", Usage: "tickets in the portal", Value: size.Tickets},
		&cli.IntFlag{Name: "calls", Usage: "calls in the portal", Value: size.Calls},
	}
}

// portalSize returns the demo's portal in the size, and with the seed, that the flags ask for.
func portalSize(c *cli.Context) simulator.Options {
	o := simulator.DemoOptions()
	o.Seed = c.Int64("seed")
	o.Contacts, o.Companies, o.Deals = c.Int("contacts"), c.Int("companies"), c.Int("deals")
	o.Tickets, o.Calls = c.Int("tickets"), c.Int("calls")
	return o
}
