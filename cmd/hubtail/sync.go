package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
)

func syncCommand() *cli.Command {
	return &cli.Command{
		Name:  "sync",
		Usage: "one incremental pass, for cron and serverless jobs; a full one where there is no history",
		Description: "Reads what changed since the last pass into the log and, if a database is given, applies it, then ends.\n\n" +
			"Example (crontab):\n  */10 * * * *  hubtail sync --data-dir /var/lib/hubtail",
		Flags:  flags(hubspotFlags, natsFlags, postgresFlags, consumerFlag, objectFlags, pollFlags, dataDirFlag),
		Before: noArguments,
		Action: func(c *cli.Context) error {
			return runOnce(c, func(ctx context.Context, source *connector.Source) error { return source.Sync(ctx) })
		},
	}
}
