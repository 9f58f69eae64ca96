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
		Description: "Reads what changed since the last pass into the log and, if a database is given, applies it, then ends. Beside a\n" +
			"running source there is nothing to read: it says so, and fails only if that source does not keep up.\n\n" +
			"Examples:\n  hubtail sync --objects contacts,deals\n" +
			"  */10 * * * *  /usr/local/bin/hubtail --env-file /etc/hubtail.env sync --data-dir /var/lib/hubtail   (crontab)",
		Flags:  flags(hubspotFlags, natsFlags, replicasFlag, postgresFlags, consumerFlag, objectFlags, linkFlags, settleFlag, rereadFlags, dataDirFlag, passFlags),
		Before: noArguments,
		Action: func(c *cli.Context) error {
			return runOnce(c, func(ctx context.Context, source *connector.Source) error { return source.Sync(ctx) })
		},
	}
}
