package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/hubtail/hubtail/sink"
)

func rebuildCommand() *cli.Command {
	return &cli.Command{
		Name:      "rebuild",
		Usage:     "make the tables again from the log, beside the live ones, and swap them in",
		ArgsUsage: "[object...]",
		Description: "Asks HubSpot nothing. The log's last values go into shadow tables in the schema <schema>_rebuild, while sinks and readers go on\n" +
			"with the live ones; they are compared with the log, and swapped in by one short transaction that waits for no reader longer\n" +
			"than --lock-wait. Rights, policies, comments, triggers, indexes, constraints, columns and views of yours carry over; what does not is\n" +
			"listed before anything begins, and only --force goes on. Named object types have their tables of records rebuilt; links, cursors\n" +
			"and the rest are rebuilt with the whole schema only. Interrupted at any point, the live tables are whole; run it again.\n" +
			"The tables that were live are kept in <schema>_rebuild until --drop-old or the next rebuild. --rollback puts them back,\n" +
			"caught up with the log. It is also the way on after the stream was made anew: stop the sinks, rebuild, start them.\n" +
			"The role needs the schema <schema>_rebuild, or the right to create it.\n\n" +
			"--as-of builds the tables as they were at a moment, in a schema of their own (--into), and leaves the live ones alone: a time\n" +
			"(2026-03-01, \"2026-03-01 14:30\", 2026-03-01T14:30:00Z), a duration before now (24h, 7d) or a sequence of the log. The log\n" +
			"keeps the last 16 versions of a record: where that is too little, or the moment is before the end of the first load, it\n" +
			"refuses, and says of which records and from when on it works.\n" +
			"Whoever was erased for privacy since is a tombstone there. A schema that holds the tables of a moment is refused unless\n" +
			"--replace says so; --drop-old --copy SCHEMA drops it.\n\n" +
			"Examples:\n  hubtail rebuild --dry-run                what it would do, and what would not carry over\n" +
			"  hubtail rebuild\n" +
			"  hubtail rebuild contacts deals\n" +
			"  hubtail rebuild --rollback\n" +
			"  hubtail rebuild --as-of 24h --into crm_yesterday",
		Flags: flags(natsFlags, postgresFlags, consumerFlag, portalFlag, dataDirFlag, rebuildFlags, asOfFlags),
		Action: withParts(func(c *cli.Context, p *parts) error {
			switch {
			case isAsOf(c):
				return runAsOf(c, p)
			case c.Bool("rollback") && c.Bool("drop-old"):
				return usageError{errors.New("--rollback needs the old tables that --drop-old drops: choose one")}
			case c.Bool("drop-old"):
				return runDropOld(c, p)
			case c.Bool("dry-run"):
				return runRebuildPlan(c, p)
			}
			return runRebuild(c, p)
		}),
	}
}

var rebuildFlags = []cli.Flag{
	&cli.BoolFlag{Name: "dry-run", Usage: "only say what it would do, and how many requests and rows it would read"},
	&cli.BoolFlag{Name: "force", Usage: "go on though something does not carry over, or the log lacks records that the tables have"},
	&cli.BoolFlag{Name: "rollback", Usage: "put the tables back that the last rebuild replaced"},
	&cli.BoolFlag{Name: "drop-old", Usage: "drop the tables that the last rebuild replaced"},
	&cli.StringFlag{Name: "copy", Usage: "`SCHEMA` of the shadow tables, and of the old ones afterwards; <schema>_rebuild when absent", EnvVars: env("HUBTAIL_COPY_SCHEMA")},
	&cli.DurationFlag{Name: "lock-wait", Usage: "how long one try of the swap may wait for readers, and others behind it", Value: 40 * time.Millisecond},
	&cli.DurationFlag{Name: "swap-patience", Usage: "how long to try the swap while readers hold the tables", Value: 10 * time.Minute},
	&cli.BoolFlag{Name: "json", Usage: "print JSON"},
}

// rebuildOptions are the options that arguments and flags ask for.
func rebuildOptions(c *cli.Context) (sink.RebuildOptions, error) {
	o := sink.RebuildOptions{
		Copy: c.String("copy"), Force: c.Bool("force"), LockWait: c.Duration("lock-wait"), Patience: c.Duration("swap-patience"),
	}
	for _, arg := range c.Args().Slice() {
		o.Objects = append(o.Objects, splitList(arg)...)
	}
	slices.Sort(o.Objects)
	o.Objects = slices.Compact(o.Objects)
	for _, name := range []string{"rollback", "drop-old"} {
		if c.Bool(name) && len(o.Objects) > 0 {
			return o, usageError{fmt.Errorf("--%s is about the last rebuild, whatever it rebuilt: it takes no object types", name)}
		}
	}
	for _, name := range []string{"lock-wait", "swap-patience"} {
		if d := c.Duration(name); d <= 0 {
			return o, usageError{fmt.Errorf("--%s is %s; it must be above 0", name, d)}
		}
	}
	return o, nil
}

// openRebuild returns a sink on the live tables, and gives the object types of the options their names. Nothing is applied by it.
func (p *parts) openRebuild(ctx context.Context, o *sink.RebuildOptions) (*sink.Sink, error) {
	js, err := p.connectLog(ctx)
	if err != nil {
		return nil, err
	}
	s, pool, err := p.newSink(ctx, js)
	if err != nil {
		return nil, err
	}
	o.Objects, err = p.tableObjects(ctx, pool, o.Objects)
	return s, err
}

func runRebuild(c *cli.Context, p *parts) error {
	o, err := rebuildOptions(c)
	if err != nil {
		return err
	}
	s, err := p.openRebuild(c.Context, &o)
	if err != nil {
		return err
	}
	show := newRebuildProgress()
	o.Progress = show.show
	run := s.Rebuild
	if c.Bool("rollback") {
		run = s.Rollback
	}
	var result *sink.Rebuilt
	err = untilStopped(c.Context, func(ctx context.Context) (err error) {
		result, err = run(ctx, o)
		return err
	})
	show.end()
	switch {
	case errors.Is(err, sink.ErrNotCarried):
		printLost(c, result.Lost)
		return fmt.Errorf("%d thing(s) would not carry over; nothing was changed. Change or drop them first, or go on with --force", len(result.Lost))
	case err != nil:
		return err
	case c.Bool("json"):
		return printJSON(c, result)
	}
	printRebuilt(c, result, c.Bool("rollback"))
	return nil
}

func runDropOld(c *cli.Context, p *parts) error {
	o, err := rebuildOptions(c)
	if err != nil {
		return err
	}
	s, err := p.openRebuild(c.Context, &o)
	if err != nil {
		return err
	}
	dropped, err := s.DropOld(c.Context, o.Copy)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, dropped)
	}
	printf(c.App.Writer, "schema %s (%s tables of %s) dropped\n", dropped.Schema, dropped.Kind, dropped.CreatedAt.Format(time.RFC3339))
	return nil
}

func runRebuildPlan(c *cli.Context, p *parts) error {
	o, err := rebuildOptions(c)
	if err != nil {
		return err
	}
	s, err := p.openRebuild(c.Context, &o)
	if err != nil {
		return err
	}
	plan, err := s.PlanRebuild(c.Context, o)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, plan)
	}
	printRebuildPlan(c, plan)
	return nil
}

// rebuildProgress shows the phases of a rebuild, on stderr: the result is the output.
type rebuildProgress struct {
	progress
	phase string
	began time.Time
}

func newRebuildProgress() *rebuildProgress {
	terminal := term.IsTerminal(int(os.Stderr.Fd()))
	return &rebuildProgress{progress: progress{w: os.Stderr, terminal: terminal, width: stdoutWidth}}
}

func (r *rebuildProgress) show(at sink.RebuildProgress) {
	if at.Phase != r.phase {
		r.end()
		r.phase, r.began = at.Phase, time.Now()
		if at.Total == 0 {
			printf(r.w, "%s\n", at.Phase)
		}
	}
	if at.Total == 0 {
		return
	}
	rate := float64(at.Done) / max(time.Since(r.began).Seconds(), 0.001)
	r.progress.show([]bar{{object: "messages", done: at.Done, total: at.Total, rate: rate, phase: at.Phase}})
}
