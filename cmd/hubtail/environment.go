package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/joho/godotenv"
	"github.com/urfave/cli/v2"
)

// defaultEnvFile is read if it is there; a file that was asked for must be.
const defaultEnvFile = ".env"

// envFileFlag is the one global flag.
var envFileFlag = &cli.StringFlag{Name: "env-file", Usage: "`FILE` of settings as NAME=value lines; .env of the working directory, if there is one", EnvVars: env(envFileVariable)}

const envFileVariable = "HUBTAIL_ENV_FILE"

// prepareEnvironment comes after the global flags and before those of the command, which take their defaults from the
// environment. Help must work whatever the settings are.
func prepareEnvironment(c *cli.Context) error {
	if slices.ContainsFunc(c.Args().Slice(), func(arg string) bool { return strings.TrimLeft(arg, "-") == "help" || arg == "-h" }) {
		return nil
	}
	if err := loadEnvFile(c.String("env-file")); err != nil {
		return err
	}
	known := variables(c.App.Commands)
	unsetEmpty(known)
	if c.Args().Present() {
		warnUnknown(os.Stderr, os.Environ(), known)
	}
	return nil
}

// loadEnvFile reads a file of settings, "" means .env if there is one; the real environment wins over it.
func loadEnvFile(path string) error {
	named := path != ""
	if !named {
		path = defaultEnvFile
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil
	}
	if err != nil {
		return usageError{fmt.Errorf("read the file of settings: %w", err)}
	}
	settings, err := godotenv.UnmarshalBytes(data)
	if err != nil {
		// The parser's message can quote the line, which may hold a secret.
		return usageError{fmt.Errorf("%s, line %d: not a NAME=value line, or a quote that does not end", path, badLine(data))}
	}
	for name, value := range settings {
		if _, given := os.LookupEnv(name); !given {
			if err := os.Setenv(name, value); err != nil {
				return usageError{fmt.Errorf("%s: set %s: %w", path, name, err)}
			}
		}
	}
	return nil
}

// badLine returns the number of the first line that the parser does not take: the first after the longest beginning of
// the file that it does.
func badLine(data []byte) int {
	lines := bytes.SplitAfter(data, []byte("\n"))
	good := 0
	for n := range lines {
		if _, err := godotenv.UnmarshalBytes(bytes.Join(lines[:n+1], nil)); err == nil {
			good = n + 1
		}
	}
	return min(good+1, len(lines))
}

// unsetEmpty makes a variable that is set to nothing, as compose files and CI settings do, count as not set: its flag has
// its default, and the next name in its list counts.
func unsetEmpty(names []string) {
	for _, name := range names {
		if os.Getenv(name) == "" {
			_ = os.Unsetenv(name)
		}
	}
}

// variables are the names in the environment that stand for flags.
func variables(commands []*cli.Command) []string {
	names := []string{envFileVariable}
	for _, c := range commands {
		for _, f := range c.Flags {
			if documented, ok := f.(cli.DocGenerationFlag); ok {
				names = append(names, documented.GetEnvVars()...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// otherPrefixes begin the names of variables that are no flags: of tests and benchmarks, and of the private Postgres.
var otherPrefixes = []string{"HUBTAIL_TEST_", "HUBTAIL_BENCH_", "HUBTAIL_PG_", "HUBTAIL_CACHE_DIR"}

// warnUnknown names the variables that look like ours and are not: a setting with a typo would be silently without effect.
func warnUnknown(w io.Writer, environ []string, known []string) {
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "HUBTAIL_") || slices.Contains(known, name) ||
			slices.ContainsFunc(otherPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		if near := nearest(name, known); near != "" {
			printf(w, "hubtail: %s is not a setting; did you mean %s?\n", name, near)
		} else {
			printf(w, "hubtail: %s is not a setting; `hubtail COMMAND --help` lists them\n", name)
		}
	}
}
