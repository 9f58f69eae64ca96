package main

import (
	"fmt"
	"os"
	"regexp"
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
			"hubtail source | sink   the two long-running processes on their own\n" +
			"hubtail help COMMAND    flags and examples of a command; also hubtail COMMAND --help\n\n" +
			"Every flag can be set in the environment, or in a file of settings (.env here, or --env-file before the command),\n" +
			"under the name in brackets.\n" +
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
				return usageError{fmt.Errorf("no command %q%s; see hubtail --help", c.Args().First(), didYouMean(c.Args().First(), commandNames(c.App.Commands)))}
			}
			return cli.ShowAppHelp(c)
		},
		Flags:    []cli.Flag{envFileFlag},
		Before:   prepareEnvironment,
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
		verifyCommand(),
		rebuildCommand(),
		deadLettersCommand(),
		eraseCommand(),
		migrateCommand(),
		exposeCommand(),
		statusCommand(),
		historyCommand(),
		diffCommand(),
		tailCommand(),
		explainCommand(),
		webhooksCommand(),
		initCommand(),
		doctorCommand(),
		completionCommand(),
		healthcheckCommand(),
		alertCommand(),
		schemaCommand(),
		natsCommand(),
		simulatorCommand(),
	}
	for _, c := range list {
		withForm(c)
	}
	return list
}

// notDefined is in the complaint about a flag that there is not.
var notDefined = regexp.MustCompile(`^flag provided but not defined: -(\S+)$`)

// bareNumber is in the complaint about a time that has no unit; for other flags a number is no mistake.
var bareNumber = regexp.MustCompile(`"(\d+)" (?:for flag|as duration)`)

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "hubtail"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != name {
		name += " " + strings.TrimPrefix(c.Command.HelpName, name+" ")
	}
	if flag := notDefined.FindStringSubmatch(err.Error()); flag != nil {
		return usageError{noFlag(c, name, flag[1])}
	}
	advice := ""
	if n := bareNumber.FindStringSubmatch(err.Error()); n != nil {
		advice = fmt.Sprintf(" (a time has a unit: write %ss, or %sm for minutes)", n[1], n[1])
	}
	return usageError{fmt.Errorf("%w%s; see %s --help", err, advice, name)}
}

// commandHelp is cli's template, flags last, with the examples where a reader looks first.
const commandHelp = `{{.HelpName}} - {{.Usage}}

Usage: {{.HelpName}}{{if .Subcommands}} COMMAND{{end}} [flags]{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}
{{if .Description}}
{{.Description}}
{{end}}{{if .Subcommands}}
Commands, with flags of their own ({{.HelpName}} COMMAND --help):
{{range .Subcommands}}  {{.Name}}{{"\t"}}{{.Usage}}
{{end}}{{else}}
Flags:
{{range .VisibleFlags}}  {{.}}
{{end}}{{end}}`

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
