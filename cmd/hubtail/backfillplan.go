package main

import (
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
)

// planBackfill says what a backfill of the objects would cost. It makes neither a stream nor a directory.
func planBackfill(c *cli.Context, p *parts, objects []string) error {
	client, err := p.newClient()
	if err != nil {
		return err
	}
	js, err := p.logToPlan(c)
	if err != nil {
		return err
	}
	plan, err := connector.PlanBackfill(c.Context, p.sourceConfig(client, js), objects...)
	if err != nil {
		return p.badObject(err)
	}
	if c.Bool("json") {
		return printJSON(c, plan)
	}
	return printBackfillPlan(c, p, plan)
}

// logToPlan connects to the log, nil if there is none yet.
func (p *parts) logToPlan(c *cli.Context) (jetstream.JetStream, error) {
	if p.natsURL == "" {
		if _, err := os.Stat(filepath.Join(p.dataDir, "nats")); err != nil {
			return nil, nil
		}
	}
	return p.connectNATS(c.Context, true)
}

func printBackfillPlan(c *cli.Context, p *parts, plan *connector.BackfillPlan) error {
	w := c.App.Writer
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printf(table, "OBJECT\tRECORDS AND ROWS\tREQUESTS, ABOUT\tOF THESE FOR RECORDS\tRECYCLE BIN\tLINKS\tOTHER\tREAD AFTER\n")
	for _, o := range plan.Objects {
		printf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", o.Object, thousands(o.Records), thousands(o.Requests),
			thousands(o.Load), thousands(o.Bin), thousands(o.Links), thousands(o.Other), about(o.Seconds))
	}
	printf(table, "in all\t%s\t%s\t\t\t\t\t%s\n", thousands(plan.Records), thousands(plan.Requests), about(plan.Seconds))
	if err := table.Flush(); err != nil {
		return err
	}
	for _, o := range plan.Objects {
		if o.Resumes {
			printf(w, "%s: an interrupted full read goes on; this is the rest of it\n", o.Object)
		}
		if o.Note != "" {
			printf(w, "%s: %s\n", o.Object, o.Note)
		}
	}
	printf(w, "\nat %s requests per 10 s", thousands(int64(plan.Burst)))
	if plan.Daily.Limit > 0 {
		printf(w, "; today %s of %s requests are left", thousands(int64(max(plan.Daily.Remaining, 0))), thousands(int64(plan.Daily.Limit)))
	}
	if p.databaseURL == "" {
		printf(w, "; into the log only: no database given")
	}
	printf(w, "\nThis is an estimate, by %s requests: %s\nNothing was written.\n", thousands(plan.Asked), plan.Method)
	return nil
}

// about shows seconds as nobody knows them better.
func about(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
