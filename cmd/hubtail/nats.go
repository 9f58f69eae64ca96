package main

import (
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/localnats"
)

func natsCommand() *cli.Command {
	return &cli.Command{
		Name:  "nats",
		Usage: "run the embedded NATS server alone, with a listener",
		Description: "JetStream on disk, every acknowledged page synced. One disk is one disk: a cluster of three is the safe choice\n" +
			"where the log must outlive a machine.\n\n" +
			"Example:\n  hubtail nats --data-dir /var/lib/hubtail --listen 127.0.0.1:4222",
		Flags: flags(dataDirFlag,
			&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` to listen on", Value: "127.0.0.1:4222", EnvVars: env("HUBTAIL_NATS_LISTEN")}),
		Before: noArguments,
		Action: longRunning(runNATS),
	}
}

func runNATS(c *cli.Context, p *parts) error {
	defer limitMemoryWithNATS(c.Context)()
	server, err := localnats.Start(localnats.Options{
		StoreDir: filepath.Join(p.dataDir, "nats"), Listen: c.String("listen"), Logger: p.log,
	})
	if err != nil {
		return err
	}
	printf(c.App.Writer, "NATS listens on %s\n", server.URL())
	<-c.Context.Done()
	return server.Close()
}
