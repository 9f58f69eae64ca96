package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
)

func backfillCommand() *cli.Command {
	return &cli.Command{
		Name:      "backfill",
		Usage:     "one full read of HubSpot into the log, and into the tables if a database is given",
		ArgsUsage: "[object...]",
		Description: "Records that are unchanged since their last event cost no event. An interrupted full read is resumed. One source at a\n" +
			"time reads a portal: beside a running one it fails and says so.\n\n" +
			"Examples:\n  hubtail backfill                      every object type of --objects\n" +
			"  hubtail backfill contacts p_pets      these two\n" +
			"  hubtail backfill --dry-run            how many records, requests and seconds it would be",
		Flags: flags(hubspotFlags, natsFlags, replicasFlag, postgresFlags, consumerFlag, objectFlags, linkFlags, settleFlag, dataDirFlag, passFlags,
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what it would do, and how many requests and rows it would read"}),
		Action: runBackfill,
	}
}

func runBackfill(c *cli.Context) error {
	objects, err := chosenObjects(c)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return withParts(func(c *cli.Context, p *parts) error { return planBackfill(c, p, objects) })(c)
	}
	return runOnce(c, func(ctx context.Context, source *connector.Source) error {
		return source.Backfill(ctx, objects...)
	})
}

// chosenObjects returns the object types that a command's arguments name, none meaning all of --objects.
func chosenObjects(c *cli.Context) ([]string, error) {
	for _, arg := range c.Args().Slice() {
		if len(splitList(arg)) == 0 {
			return nil, usageError{errors.New("an object type has no name: name one, or none for all of --objects")}
		}
	}
	objects := spelledAll(splitList(joinList(c.Args().Slice())))
	if len(objects) > 0 {
		// The source must know the objects it is asked for.
		if err := c.Set("objects", joinList(objects)); err != nil {
			return nil, usageError{err}
		}
	}
	return objects, nil
}
