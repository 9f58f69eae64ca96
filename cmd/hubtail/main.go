package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // the daily quota starts anew at midnight of the account's zone, also where the image has no zones

	"github.com/urfave/cli/v2"
)

// Exit codes, for scripts.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitUnhealthy = 3
)

// usageError is a mistake in flags, arguments or environment.
type usageError struct{ error }

// unhealthyError is what `status` returns when something needs attention.
type unhealthyError struct{ error }

func main() {
	// A write to a closed pipe is an error then, and no sudden end: the demo has servers to stop.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: after the first, the default handling is restored.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args)
	stop()
	os.Exit(exitCode(err))
}

// run executes one command line and reports its error on standard error.
func run(ctx context.Context, args []string) error {
	cli.HelpPrinter = printHelp
	err := newApp().RunContext(ctx, asFlags(args))
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "hubtail: interrupted before it was done")
	case err != nil:
		// Postgres' connection errors come with a line per address.
		fmt.Fprintln(os.Stderr, "hubtail:", plain(strings.ReplaceAll(err.Error(), "\n\t", " ")+adviceOn(err)))
	}
	return err
}

// asFlags turns `hubtail help COMMAND` and `hubtail version`, which other programs have, into the flags that do the same.
func asFlags(args []string) []string {
	switch {
	case len(args) == 2 && args[1] == "help":
		return []string{args[0], "--help"}
	case len(args) > 2 && args[1] == "help":
		return append(append([]string{args[0]}, args[2:]...), "--help")
	case len(args) == 2 && args[1] == "version":
		return []string{args[0], "--version"}
	}
	return args
}

func exitCode(err error) int {
	var usage usageError
	var unhealthy unhealthyError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &unhealthy):
		return exitUnhealthy
	}
	return exitFailed
}
