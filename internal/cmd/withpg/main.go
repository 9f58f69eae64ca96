// Command withpg runs another command with PostgreSQL at hand, and stops it
// afterwards:
//
//	withpg -- go test ./...
//
// It starts one cluster per version of pgtest.Majors, names them in the command's
// environment (HUBTAIL_TEST_DATABASE_URL and HUBTAIL_TEST_DATABASE_URL_<major>),
// passes signals on and ends with the command's exit code. If the environment
// names a database already, that one is used and nothing is started.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hubtail/hubtail/internal/localpg"
	"github.com/hubtail/hubtail/internal/localpg/container"
	"github.com/hubtail/hubtail/internal/pgtest"
)

const startTimeout = 15 * time.Minute // two first downloads over a slow line

func main() {
	flag.Usage = func() { fmt.Fprintln(flag.CommandLine.Output(), "usage: withpg -- command [argument...]") }
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	code, err := run(flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpg:", err)
	}
	os.Exit(code)
}

func run(command []string) (code int, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	clusters, env, err := start(signals)
	defer func() {
		if stopErr := stopAll(clusters); stopErr != nil {
			code, err = max(code, 1), errors.Join(err, stopErr)
		}
	}()
	if err != nil {
		return 1, err
	}
	summary, err := os.CreateTemp("", "hubtail-summary-")
	if err != nil {
		return 1, err
	}
	defer os.Remove(summary.Name())
	defer summary.Close()

	env = append(env, pgtest.SummaryEnv+"="+summary.Name())
	code, err = execute(command, env, signals)
	printSummary(summary)
	return code, err
}

// start returns the clusters and what to add to the environment.
func start(signals <-chan os.Signal) ([]*localpg.Cluster, []string, error) {
	if os.Getenv(pgtest.Env) != "" {
		fmt.Println("PostgreSQL: the one of " + pgtest.Env)
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	started := make(chan struct{})
	defer close(started)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-started:
		}
	}()

	var clusters []*localpg.Cluster
	var env []string
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	for _, major := range pgtest.Majors {
		c, err := localpg.Start(ctx, localpg.Options{Major: major, NoSync: true, Container: container.Start, Logger: logger})
		if err != nil {
			return clusters, nil, fmt.Errorf("start PostgreSQL %d for the tests: %w", major, err)
		}
		fmt.Printf("PostgreSQL %d: %s\n", major, c.Source)
		clusters = append(clusters, c)
		if len(env) == 0 {
			env = append(env, pgtest.Env+"="+c.URL(""))
		}
		env = append(env, pgtest.Env+"_"+strconv.Itoa(major)+"="+c.URL(""))
	}
	return clusters, env, nil
}

func stopAll(clusters []*localpg.Cluster) error {
	var errs []error
	for _, c := range clusters {
		errs = append(errs, c.Stop())
	}
	return errors.Join(errs...)
}

// execute runs the command and returns its exit code.
func execute(command, env []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig) // it may just have ended
		case err := <-done:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return max(exit.ExitCode(), 1), nil // -1: ended by a signal
			}
			if err != nil {
				return 1, err
			}
			return 0, nil
		}
	}
}

// printSummary prints what tests counted, for example
// "container tests: 1 skipped (no Docker engine)".
func printSummary(file *os.File) {
	counts := map[string]int{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		counts[lines.Text()]++
	}
	for _, line := range slices.Sorted(maps.Keys(counts)) {
		kind, outcome, _ := strings.Cut(line, "\t")
		fmt.Printf("%s: %d %s\n", kind, counts[line], outcome)
	}
}
