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
		Description: "hubtail COMMAND --help shows flags and examples. Flags have a name in the environment too, in brackets there; a file of\n" +
			"settings may have them: .env here, or --env-file. Flags go before arguments.\n" +
			"Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something needs attention.",
		Version:         version(),
		HideHelpCommand: true,

		CustomAppHelpTemplate: appHelp,
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

// commands is the command table, in the groups and the order of the help text.
func commands() []*cli.Command {
	var list []*cli.Command
	for _, group := range []struct {
		name     string
		commands []*cli.Command
	}{
		{"Begin", []*cli.Command{demoCommand(), initCommand(), doctorCommand()}},
		{"Run", []*cli.Command{upCommand(), sourceCommand(), sinkCommand(), backfillCommand(), syncCommand()}},
		{"Look", []*cli.Command{statusCommand(), tailCommand(), explainCommand(), historyCommand(), diffCommand()}},
		{"Prove and mend", []*cli.Command{verifyCommand(), rebuildCommand(), deadLettersCommand(), eraseCommand()}},
		{"Set up", []*cli.Command{migrateCommand(), exposeCommand(), webhooksCommand(), alertCommand()}},
		{"Parts and tools", []*cli.Command{natsCommand(), simulatorCommand(), schemaCommand(), completionCommand(), healthcheckCommand()}},
	} {
		for _, c := range group.commands {
			c.Category = group.name
		}
		list = append(list, group.commands...)
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
