package main

import (
	"testing"

	"github.com/urfave/cli/v2"
)

// TestQuotaShareHoldsForTheBurstToo: unless it is set, only the daily quota is shared.
func TestQuotaShareHoldsForTheBurstToo(t *testing.T) {
	for args, want := range map[string][2]int{"": {100, 5}, "--quota-share=0.5": {50, 2}, "--quota-share=1": {100, 5}} {
		var limit, searches int
		app := &cli.App{Commands: []*cli.Command{{Name: "x", Flags: flags(hubspotFlags), Action: func(c *cli.Context) error {
			o, err := readOptions(c)
			if err != nil {
				return err
			}
			p, err := newParts(o)
			if err != nil {
				return err
			}
			client, err := p.newClient()
			if err != nil {
				return err
			}
			defer client.Close()
			u := client.Usage()
			limit, searches = u.Window.Limit, u.Search.Limit
			return nil
		}}}}
		line := []string{"hubtail", "x", "--hubspot-token=pat-x"}
		if args != "" {
			line = append(line, args)
		}
		if err := app.Run(line); err != nil {
			t.Fatal(err)
		}
		if got := [2]int{limit, searches}; got != want {
			t.Errorf("%q: %v requests per 10 s and searches a second, want %v", args, got, want)
		}
	}
}
