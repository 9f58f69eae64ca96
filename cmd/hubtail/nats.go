package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/localnats"
)

const defaultNATSListen = "127.0.0.1:4222"

func natsCommand() *cli.Command {
	return &cli.Command{
		Name:  "nats",
		Usage: "run the embedded NATS server alone, with a listener",
		Description: "JetStream on disk, every acknowledged page synced. One disk is one disk: a cluster of three is the safe choice\n" +
			"where the log must outlive a machine. Beyond this machine it listens only with --nats-user and --nats-password, or\n" +
			"--nats-token, as `hubtail up` does (the names without nats- do as well here);\n" +
			"clients then use NATS_URL=nats://USER:PASSWORD@HOST:4222, or nats://TOKEN@HOST:4222.\n\n" +
			"Example:\n  hubtail nats --data-dir /var/lib/hubtail --nats-listen 127.0.0.1:4222",
		Flags:  flags(dataDirFlag, natsListenFlag(defaultNATSListen, "listen"), natsAccessFlags("user", "password", "token")),
		Before: noArguments,
		Action: longRunning(runNATS),
	}
}

// natsListenFlag says where a server of ours listens.
func natsListenFlag(value string, aliases ...string) cli.Flag {
	return &cli.StringFlag{
		Name: "nats-listen", Aliases: aliases, Value: value, EnvVars: env("HUBTAIL_NATS_LISTEN"),
		Usage: "`ADDRESS` for clients of the embedded NATS server, for example 127.0.0.1:4222",
	}
}

// natsAccessFlags say who may connect to a server of ours; aliases are other names of the three.
func natsAccessFlags(aliases ...string) []cli.Flag {
	all := []*cli.StringFlag{
		{Name: "nats-user", Usage: "`NAME` that clients of the embedded NATS server must give", EnvVars: env("HUBTAIL_NATS_USER")},
		{Name: "nats-password", Usage: "their password; better in the environment than on a command line", EnvVars: env("HUBTAIL_NATS_PASSWORD")},
		{Name: "nats-token", Usage: "a token that they must give instead; better in the environment", EnvVars: env("HUBTAIL_NATS_TOKEN")},
	}
	var flags []cli.Flag
	for i, f := range all {
		if i < len(aliases) {
			f.Aliases = slices.Clone(aliases[i : i+1])
		}
		flags = append(flags, f)
	}
	return flags
}

func runNATS(c *cli.Context, p *parts) error {
	defer limitMemoryWithNATS(c.Context)()
	p.natsListen = c.String("nats-listen")
	server, err := p.startNATS(c)
	if err != nil {
		return err
	}
	printf(c.App.Writer, "NATS listens on %s\n", server.URL())
	<-c.Context.Done()
	return nil
}

// startNATS starts the embedded server with the access that the flags give, and stops it at the end.
func (p *parts) startNATS(c *cli.Context) (*localnats.Server, error) {
	opts := localnats.Options{StoreDir: filepath.Join(p.dataDir, "nats"), Listen: p.natsListen, Logger: p.log}
	opts.User, opts.Password, opts.Token = c.String("nats-user"), c.String("nats-password"), c.String("nats-token")
	if (opts.User == "") != (opts.Password == "") {
		return nil, usageError{errors.New("--nats-user and --nats-password go together")}
	}
	if opts.User != "" && opts.Token != "" {
		return nil, usageError{errors.New("give --nats-user and --nats-password, or --nats-token, not both")}
	}
	server, err := localnats.Start(opts)
	if errors.Is(err, localnats.ErrOpen) {
		return nil, usageError{fmt.Errorf("%w: give --nats-user and --nats-password (HUBTAIL_NATS_USER, HUBTAIL_NATS_PASSWORD) or --nats-token (HUBTAIL_NATS_TOKEN), or listen on 127.0.0.1", err)}
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
