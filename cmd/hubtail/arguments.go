package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// withForm gives a command, and those under it, what all have in common.
func withForm(c *cli.Command) *cli.Command {
	c.OnUsageError, c.HideHelpCommand, c.CustomHelpTemplate = onUsageError, true, commandHelp
	for _, sub := range c.Subcommands {
		withForm(sub)
	}
	if len(c.Subcommands) > 0 {
		c.Action = refuseGroup
	}
	if action := c.Action; len(c.Subcommands) == 0 && c.ArgsUsage != "" {
		c.Action = func(ctx *cli.Context) error {
			if asksHelp(ctx.Args().Slice()) {
				return cli.ShowSubcommandHelp(ctx)
			}
			if err := flagsFirst(ctx); err != nil {
				return err
			}
			return action(ctx)
		}
	}
	return c
}

// refuseGroup is the action of a command that has others under it, of which none, or no known one, was named.
func refuseGroup(c *cli.Context) error {
	names := commandNames(c.Command.Subcommands)
	if !c.Args().Present() {
		return usageError{fmt.Errorf("say which: hubtail %s %s; see hubtail %[1]s --help", c.Command.Name, strings.Join(names, ", "))}
	}
	return usageError{fmt.Errorf("%s has no command %q%s; it has %s", c.Command.Name, c.Args().First(), didYouMean(c.Args().First(), names), strings.Join(names, ", "))}
}

func commandNames(commands []*cli.Command) (names []string) {
	for _, c := range commands {
		names = append(names, c.Name)
	}
	return names
}

func asksHelp(args []string) bool {
	return slices.Contains(args, "--help") || slices.Contains(args, "-h")
}

// noArguments refuses arguments on commands that take none.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("%s takes no argument, got %q%s; see %s --help",
			shortName(c.Command.HelpName), c.Args().First(), didYouMean(c.Args().First(), flagNames(c.Command.Flags)), c.Command.HelpName)}
	}
	return nil
}

// flagsFirst refuses flags that come after an argument, where the parser takes them for arguments, and says how the line is
// written. It never shows a value of a flag: that may be a secret.
func flagsFirst(c *cli.Context) error {
	var late, line, arguments []string
	args := c.Args().Slice()
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") || args[i] == "-" {
			arguments = append(arguments, args[i])
			continue
		}
		name, _, valued := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		known := findFlag(c.Command.Flags, name)
		if known == nil {
			return usageError{noFlag(c, c.Command.HelpName, name)}
		}
		late = append(late, dashed(name))
		if line = append(line, dashed(name)); known.TakesValue() {
			line = append(line, "...")
			if !valued {
				i++
			}
		}
	}
	if len(late) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s behind an argument: flags go before arguments: %s %s",
		strings.Join(late, " and "), c.Command.HelpName, joinWords(append(line, arguments...)))}
}

// noFlag is the error about a flag that a command does not have. It says where the flag belongs, or which one is meant.
func noFlag(c *cli.Context, command, name string) error {
	flags, under, advice := c.App.Flags, c.App.Commands, ""
	if c.Command != nil && command != c.App.Name {
		flags, under = c.Command.Flags, c.Command.Subcommands
	}
	i := slices.IndexFunc(under, func(c *cli.Command) bool { return findFlag(c.Flags, name) != nil })
	switch {
	case i >= 0 && command == c.App.Name:
		advice = fmt.Sprintf(" (it goes behind the command: hubtail COMMAND %s)", dashed(name))
	case i >= 0:
		advice = fmt.Sprintf(" (it goes behind: %s %s %s)", command, under[i].Name, dashed(name))
	case findFlag(c.App.Flags, name) != nil:
		advice = fmt.Sprintf(" (it goes before the command: hubtail %s ... COMMAND)", dashed(name))
	default:
		advice = didYouMean("--"+name, flagNames(flags))
	}
	if command == c.App.Name {
		return fmt.Errorf("no flag %s%s; see %s --help", dashed(name), advice, command)
	}
	return fmt.Errorf("%s has no flag %s%s; see %s --help", shortName(command), dashed(name), advice, command)
}

// shortName is the name of a command in errors, which begin with the program's.
func shortName(command string) string { return strings.TrimPrefix(command, "hubtail ") }

// dashed writes the name of a flag as one types it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// findFlag returns the flag of a name, nil if there is none.
func findFlag(flags []cli.Flag, name string) cli.DocGenerationFlag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			documented, _ := f.(cli.DocGenerationFlag)
			return documented
		}
	}
	return nil
}

func flagNames(flags []cli.Flag) (names []string) {
	for _, f := range flags {
		names = append(names, "--"+f.Names()[0])
	}
	return names
}
