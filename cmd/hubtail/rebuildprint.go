package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/sink"
)

func printLost(c *cli.Context, lost []string) {
	if len(lost) == 0 {
		return
	}
	printf(c.App.Writer, "does not carry over:\n")
	for _, what := range lost {
		printf(c.App.Writer, "  %s\n", what)
	}
}

func printRebuildPlan(c *cli.Context, p *sink.RebuildPlan) {
	w := c.App.Writer
	printf(w, "would read %s messages of stream %s into schema %s and swap its tables with those of schema %s; 0 requests to HubSpot\n",
		thousands(p.Messages), p.Stream, p.Copy, p.Schema)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, o := range p.Objects {
		printf(table, "  %s\tabout %s rows now\n", o.Object, thousands(o.Rows))
	}
	_ = table.Flush()
	if p.NewLog {
		printf(w, "the live tables are of another log: stop the sinks before, start them after\n")
	}
	if p.Replaces {
		printf(w, "the old tables that an earlier rebuild kept in schema %s go first\n", p.Copy)
	}
	if len(p.Forgotten) > 0 {
		printf(w, "it would be refused: the log does not have %s, which the live tables have; let a source read HubSpot whole into the log first,\n"+
			"or lose these rows with --force\n", strings.Join(p.Forgotten, ", "))
	}
	if printLost(c, p.Lost); len(p.Lost) == 0 {
		printf(w, "everything on the tables carries over\n")
	}
}

func printRebuilt(c *cli.Context, r *sink.Rebuilt, back bool) {
	w := c.App.Writer
	what := "rebuilt"
	if back {
		what = "put back"
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, o := range r.Objects {
		differs := "as the live table was"
		if o.OnlyLive+o.OnlyNew+o.Newer+o.Values > 0 {
			differs = fmt.Sprintf("the live table had %s that the log has not, lacked %s, had another version of %s and other values in %s",
				thousands(o.OnlyLive), thousands(o.OnlyNew), thousands(o.Newer), thousands(o.Values))
		}
		printf(table, "  %s\t%s rows\t%s\n", o.Object, thousands(o.Rows), differs)
	}
	_ = table.Flush()
	printLost(c, r.Lost)
	printf(w, "schema %s %s in %.1f s from %s messages, 0 requests to HubSpot; tables locked for %s in try %d\n",
		r.Schema, what, r.Seconds, thousands(r.Messages), r.Locked.Round(100*time.Microsecond), r.Tries)
	printf(w, "the tables that were live are in schema %s: `hubtail rebuild --rollback` puts them back, --drop-old drops them\n", r.Copy)
}
