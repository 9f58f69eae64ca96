package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

func newApp() *cli.App {
	return &cli.App{
		Name:  "hubtail",
		Usage: "tail -f for HubSpot: CRM changes onto NATS JetStream and into Postgres tables",
		Description: "hubtail demo            see everything work, on real parts, in a minute\n" +
			"hubtail up              source and sink in one process\n" +
			"hubtail source | sink   the two long-running processes on their own\n\n" +
			"Every flag can be set in the environment (or a .env file) under the name in brackets.\n" +
			"Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unhealthy.",
		Version:         version(),
		HideHelpCommand: true,
		// Errors are reported once, in run.
		ExitErrHandler: func(*cli.Context, error) {},
		ErrWriter:      os.Stderr,
		OnUsageError:   onUsageError,
		CommandNotFound: func(_ *cli.Context, name string) {
			fmt.Fprintf(os.Stderr, "hubtail: no command %q\n", name)
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("no command %q; see hubtail --help", c.Args().First())}
			}
			return cli.ShowAppHelp(c)
		},
		Commands: commands(),
	}
}

// commands is the command table, in the order of the help text.
func commands() []*cli.Command {
	list := []*cli.Command{
		demoCommand(),
		upCommand(),
		sourceCommand(),
		sinkCommand(),
		backfillCommand(),
		syncCommand(),
		migrateCommand(),
		statusCommand(),
		natsCommand(),
		simulatorCommand(),
	}
	for _, c := range list {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		c.CustomHelpTemplate = commandHelp
	}
	return list
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "hubtail"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != name {
		name += " " + c.Command.Name
	}
	return usageError{fmt.Errorf("%w; see %s --help", err, name)}
}

// noArguments refuses arguments on commands that take none.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("%s takes no argument, got %q (flags go before arguments)",
			c.Command.Name, strings.Join(c.Args().Slice(), " "))}
	}
	return nil
}

// commandHelp is cli's template, flags last, with the examples where a reader looks first.
const commandHelp = `{{.HelpName}} - {{.Usage}}

Usage: {{.HelpName}} [flags]{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}
{{if .Description}}
{{.Description}}
{{end}}
Flags:
{{range .VisibleFlags}}  {{.}}
{{end}}`

// buildVersion is set by the Makefile; `go install` leaves it empty and records the module's version instead.
var buildVersion string

func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
