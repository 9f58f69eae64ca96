package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/localnats"
)

const defaultNATSListen = "127.0.0.1:4222"

func natsCommand() *cli.Command {
	return &cli.Command{
		Name:  "nats",
		Usage: "run the embedded NATS server alone, with a listener",
		Description: "JetStream on disk, every acknowledged page synced. One disk is one disk: a cluster of three is the safe choice\n" +
			"where the log must outlive a machine. Beyond this machine it listens only with --user and --password, or --token;\n" +
			"clients then use NATS_URL=nats://USER:PASSWORD@HOST:4222, or nats://TOKEN@HOST:4222.\n\n" +
			"Example:\n  hubtail nats --data-dir /var/lib/hubtail --listen 127.0.0.1:4222",
		Flags: flags(dataDirFlag,
			&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` to listen on", Value: defaultNATSListen, EnvVars: env("HUBTAIL_NATS_LISTEN")},
			natsAccessFlags("")),
		Before: noArguments,
		Action: longRunning(runNATS),
	}
}

// natsAccessFlags say who may connect to a server of ours; their names begin with prefix.
func natsAccessFlags(prefix string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: prefix + "user", Usage: "`NAME` that clients of the embedded NATS server must give", EnvVars: env("HUBTAIL_NATS_USER")},
		&cli.StringFlag{Name: prefix + "password", Usage: "their password; better in the environment than on a command line", EnvVars: env("HUBTAIL_NATS_PASSWORD")},
		&cli.StringFlag{Name: prefix + "token", Usage: "a token that they must give instead; better in the environment", EnvVars: env("HUBTAIL_NATS_TOKEN")},
	}
}

func runNATS(c *cli.Context, p *parts) error {
	defer limitMemoryWithNATS(c.Context)()
	p.natsListen = c.String("listen")
	server, err := p.startNATS(c, "")
	if err != nil {
		return err
	}
	printf(c.App.Writer, "NATS listens on %s\n", server.URL())
	<-c.Context.Done()
	return nil
}

// startNATS starts the embedded server with the access that the flags of this prefix give, and stops it at the end.
func (p *parts) startNATS(c *cli.Context, prefix string) (*localnats.Server, error) {
	opts := localnats.Options{StoreDir: filepath.Join(p.dataDir, "nats"), Listen: p.natsListen, Logger: p.log}
	opts.User, opts.Password, opts.Token = c.String(prefix+"user"), c.String(prefix+"password"), c.String(prefix+"token")
	if (opts.User == "") != (opts.Password == "") {
		return nil, usageError{fmt.Errorf("--%[1]suser and --%[1]spassword go together", prefix)}
	}
	if opts.User != "" && opts.Token != "" {
		return nil, usageError{fmt.Errorf("give --%[1]suser and --%[1]spassword, or --%[1]stoken, not both", prefix)}
	}
	server, err := localnats.Start(opts)
	if errors.Is(err, localnats.ErrOpen) {
		return nil, usageError{fmt.Errorf("%w: give --%suser and --%spassword (HUBTAIL_NATS_USER, HUBTAIL_NATS_PASSWORD) or --%stoken (HUBTAIL_NATS_TOKEN), or listen on 127.0.0.1",
			err, prefix, prefix, prefix)}
	}
	if errors.Is(err, localnats.ErrInUse) {
		return nil, p.inUse(err)
	}
	if err != nil {
		return nil, err
	}
	p.onClose("embedded NATS server", server.Close)
	return server, nil
}
