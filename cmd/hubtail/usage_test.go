package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// canary is part of every secret in these tests, so that one search finds them all.
const canary = "CaNaRy"

// secrets is an environment full of them. Nothing listens at these addresses.
func secrets() []string {
	return []string{
		"HUBSPOT_ACCESS_TOKEN=pat-" + canary, "HUBSPOT_CLIENT_ID=client", "HUBSPOT_CLIENT_SECRET=" + canary + "-client",
		"NATS_URL=nats://user:" + canary + "-nats@127.0.0.1:1", "DATABASE_URL=postgres://user:" + canary + "-pg@127.0.0.1:1/crm",
		"HUBTAIL_HUBSPOT_URL=http://127.0.0.1:1",
	}
}

func requireNoSecret(t testing.TB, r result) {
	t.Helper()
	if strings.Contains(r.stdout+r.stderr, canary) {
		t.Errorf("a secret is shown:\n%s%s", r.stdout, r.stderr)
	}
}

// TestHelpListsEveryFlagWithItsEnvironmentAndAnExample looks at help as a user sees it, with secrets in the environment.
func TestHelpListsEveryFlagWithItsEnvironmentAndAnExample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	top := hubtail(t, dir, nil, "--help")
	if bare := hubtail(t, dir, nil); bare != top || top.code != exitDone {
		t.Errorf("without arguments: %+v, want help", bare)
	}
	for _, c := range commands() {
		if !regexp.MustCompile(`(?m)^ +` + c.Name + ` +\S`).MatchString(top.stdout) {
			t.Errorf("hubtail --help does not list %s", c.Name)
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			r := hubtail(t, dir, secrets(), c.Name, "--help")
			requireNoSecret(t, r)
			if r.code != exitDone || r.stderr != "" {
				t.Errorf("exit code %d, %s", r.code, r.stderr)
			}
			if !regexp.MustCompile(`Examples?[ :(]`).MatchString(r.stdout) || !strings.Contains(r.stdout, "  hubtail "+c.Name) &&
				!strings.Contains(r.stdout, " hubtail "+c.Name+" ") {
				t.Errorf("no example:\n%s", r.stdout)
			}
			for _, f := range c.Flags {
				requireFlag(t, r.stdout, f)
			}
			for _, line := range strings.Split(r.stdout, "\n") {
				if len(line) > 250 {
					t.Errorf("a line of %d characters: %s", len(line), line)
				}
			}
		})
	}
}

func requireFlag(t *testing.T, help string, f cli.Flag) {
	t.Helper()
	name := f.Names()[0]
	line := regexp.MustCompile(`(?m)^  --` + name + `\b.*$`).FindString(help)
	if line == "" {
		t.Errorf("--%s is not listed", name)
		return
	}
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok || doc.GetUsage() == "" || !strings.Contains(line, strings.ReplaceAll(doc.GetUsage(), "`", "")) {
		t.Errorf("--%s is not explained: %s", name, line)
	}
	for _, env := range doc.GetEnvVars() {
		if !strings.Contains(line, "$"+env) {
			t.Errorf("--%s does not name %s: %s", name, env, line)
		}
	}
}

func TestFlagsOfOneNameAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	first := map[string]string{}
	for _, c := range commands() {
		if c.Name == "demo" || c.Name == "simulator" {
			continue // they have smaller sizes and addresses of their own
		}
		for _, f := range c.Flags {
			name, text := f.Names()[0], f.String()
			if name == "listen" || c.Name == "nats" && strings.HasPrefix(name, "nats-") { // those have short names, too, and a default
				continue
			}
			if first[name] == "" {
				first[name] = text
			}
			if first[name] != text {
				t.Errorf("--%s of %s: %q, elsewhere %q", name, c.Name, text, first[name])
			}
		}
	}
}

func TestVersionIsPrinted(t *testing.T) {
	t.Parallel()
	if r := hubtail(t, t.TempDir(), nil, "--version"); r.code != exitDone || !strings.HasPrefix(r.stdout, "hubtail version ") {
		t.Errorf("%+v", r)
	}
}

// TestWrongUsageIsExitCodeTwoAndOneLine covers mistakes on the command line and settings that are missing.
func TestWrongUsageIsExitCodeTwoAndOneLine(t *testing.T) {
	t.Parallel()
	const token, nats, database = "HUBSPOT_API_KEY=pat-" + canary, "NATS_URL=nats://127.0.0.1:1", "DATABASE_URL=postgres://user:" + canary + "@127.0.0.1:1/x"
	tests := map[string]struct {
		env   string
		args  string
		words string
	}{
		"unknown command":          {"", "replicate", `"replicate" hubtail --help`},
		"command, nearly":          {"", "stauts", `"stauts" (did you mean status?)`},
		"command, begun":           {"", "dead list", `(did you mean dead-letters?)`},
		"command under another":    {"", "dead-letters lst", `"lst" (did you mean list?) redrive`},
		"none under another":       {"", "dead-letters", "list, show, redrive, drop; hubtail dead-letters --help"},
		"none under alert":         {"", "alert", "test; hubtail alert --help"},
		"flag, nearly":             {"", "verify --repiar", "verify --repiar (did you mean --repair?)"},
		"flag, nearly, after all":  {"", "verify contacts --repiar=" + canary, "verify --repiar (did you mean --repair?)"},
		"flag of a command":        {"", "--objects contacts sync", "--objects behind hubtail COMMAND --objects"},
		"flag under another":       {"", "dead-letters --json list", "behind: hubtail dead-letters list --json"},
		"flag for an argument":     {"", "status json", "(did you mean --json?)"},
		"flags after arguments":    {"", "rebuild contacts --database-url " + canary + " --dry-run deals", "--database-url and --dry-run before arguments: hubtail rebuild --database-url ... --dry-run contacts deals"},
		"flag after a record":      {"", "explain contacts 5 --json", "hubtail explain --json contacts 5"},
		"flag after letters":       {"", "dead-letters show 5 --json", "hubtail dead-letters show --json 5"},
		"flag after a shell":       {"", "completion bash --help-me", "--help-me"},
		"object, nearly":           {token + " " + nats, "init --no-check --objects contcats", `"contcats" (did you mean contacts?)`},
		"unknown flag":             {"", "--nosuch", "nosuch hubtail --help"},
		"unknown flag of command":  {"", "source --nosuch", "nosuch hubtail source --help"},
		"flag without value":       {"", "source --stream", "stream hubtail source --help"},
		"flag with a wrong value":  {"", "source --poll-interval soon", "poll-interval soon"},
		"variable, wrong value":    {"HUBTAIL_BURST_LIMIT=many", "source", "HUBTAIL_BURST_LIMIT"},
		"argument":                 {"", "sync contacts", "sync contacts"},
		"argument of demo":         {"", "demo now", "demo now"},
		"log level":                {token, "source --log-level loud", "--log-level loud debug"},
		"log format":               {token, "source --log-format xml", "--log-format xml json"},
		"quota share":              {token, "source --quota-share 1.5", "--quota-share 1.5"},
		"source, no token":         {nats, "source", "HUBSPOT_ACCESS_TOKEN"},
		"source, no NATS":          {token, "source", "NATS_URL"},
		"sink, no NATS":            {database, "sink", "NATS_URL"},
		"sink, no database":        {nats, "sink", "DATABASE_URL SUPABASE_URL SUPABASE_DB_PASSWORD"},
		"up, no token":             {database, "up", "HUBSPOT_ACCESS_TOKEN"},
		"up, no database":          {token, "up", "DATABASE_URL"},
		"backfill, no token":       {nats, "backfill", "HUBSPOT_ACCESS_TOKEN"},
		"sync, no token":           {nats, "sync", "HUBSPOT_ACCESS_TOKEN"},
		"migrate, no database":     {"", "migrate", "DATABASE_URL"},
		"status, nothing":          {"", "status", "NATS_URL DATABASE_URL"},
		"refresh token alone":      {"HUBSPOT_REFRESH_TOKEN=" + canary, "sync", "HUBSPOT_CLIENT_ID HUBSPOT_CLIENT_SECRET"},
		"supabase, no password":    {"SUPABASE_URL=https://abc.supabase.co", "migrate", "SUPABASE_DB_PASSWORD missing"},
		"supabase, no project":     {"SUPABASE_DB_PASSWORD=" + canary, "migrate", "SUPABASE_URL missing"},
		"time without unit":        {"", "source --poll-interval 5", "poll-interval 5s"},
		"variable without unit":    {"HUBTAIL_SETTLE_TIME=90", "source", "HUBTAIL_SETTLE_TIME 90s"},
		"env file not first":       {"", "sync --env-file x", "--env-file before"},
		"env file, not there":      {"", "--env-file /nonexistent/env sync", "/nonexistent/env"},
		"help on nothing":          {"", "help replicate", "replicate"},
		"supabase, not an address": {"SUPABASE_URL=abc SUPABASE_DB_PASSWORD=" + canary, "migrate", "SUPABASE_URL"},
		"nats, open to all":        {"", "nats --data-dir /nonexistent/x --nats-listen 0.0.0.0:0", "0.0.0.0:0 --nats-user --nats-password --nats-token"},
		"nats, user alone":         {"", "nats --nats-user u", "--nats-user --nats-password"},
		"nats, user and token":     {"HUBTAIL_NATS_TOKEN=" + canary, "nats --user u --password " + canary, "--nats-token"},
		"up, open to all":          {token, "up --database-url postgres://x@127.0.0.1:1/x --nats-listen 0.0.0.0:0", "--nats-user --nats-password --nats-token"},
		"demo without an end":      {"", "demo --for 0", "--for"},
		"demo, negative size":      {"", "demo --contacts -5", "--contacts -5"},
		"demo, no quota":           {"", "demo --quota 0", "--quota"},
		"demo, negative changes":   {"", "demo --changes -1", "--changes -1"},
		"demo, negative time":      {"", "demo --for -1s", "--for -1s"},
		"simulator, negative size": {"", "simulator --calls -1", "--calls -1"},
		"simulator, no quota":      {"", "simulator --quota -1", "--quota -1"},
		"simulator, no daily":      {"", "simulator --daily-quota 0", "--daily-quota"},
		"simulator, changes":       {"", "simulator --changes NaN", "--changes NaN"},
	}
	dir := t.TempDir()
	t.Run("token with a line break", func(t *testing.T) {
		t.Parallel()
		r := hubtail(t, dir, []string{nats, token + "\nx"}, "source")
		r.complaint(t, exitUsage, "token", "line break")
		requireNoSecret(t, r)
	})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := hubtail(t, dir, strings.Fields(test.env), strings.Fields(test.args)...)
			r.complaint(t, exitUsage, strings.Fields(test.words)...)
			requireNoSecret(t, r)
			if r.stdout != "" {
				t.Errorf("it also wrote:\n%s", r.stdout)
			}
		})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("a command that was refused left files: %v %v", entries, err)
	}
}

// TestDotEnvIsReadAndTheEnvironmentWins uses messages that show which value counts.
func TestDotEnvIsReadAndTheEnvironmentWins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := "# settings\nexport HUBTAIL_LOG_LEVEL=fromfile\nHUBSPOT_API_KEY='pat-" + canary + "'\n"
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	hubtail(t, dir, nil, "source").complaint(t, exitUsage, `"fromfile"`)
	hubtail(t, dir, []string{"HUBTAIL_LOG_LEVEL=fromenv"}, "source").complaint(t, exitUsage, `"fromenv"`)
	hubtail(t, dir, []string{"HUBTAIL_LOG_LEVEL=fromenv"}, "source", "--log-level", "fromflag").complaint(t, exitUsage, `"fromflag"`)
	// The token of the file counts: only NATS is missing.
	hubtail(t, dir, []string{"HUBTAIL_LOG_LEVEL=info"}, "source").complaint(t, exitUsage, "NATS_URL")
}

func TestMalformedDotEnvIsRefusedWithoutItsContent(t *testing.T) {
	t.Parallel()
	for file, line := range map[string]int{
		"HUBSPOT_API_KEY='" + canary + "\nX=1\n": 1, "pat-" + canary + "\n": 1, "# a\nA=1\n\nB=2\npat-" + canary + "\nC=3\n": 5,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		r := hubtail(t, dir, nil, "status")
		r.complaint(t, exitUsage, ".env", "NAME=value", fmt.Sprintf("line %d:", line))
		requireNoSecret(t, r)
		for _, args := range [][]string{{"--help"}, {"--version"}, {"status", "--help"}, {"help", "status"}, {"version"}} {
			if r := hubtail(t, dir, nil, args...); r.code != exitDone || r.stderr != "" {
				t.Errorf("%v: %+v", args, r)
			}
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".env"), 0o700); err != nil {
		t.Fatal(err)
	}
	hubtail(t, dir, nil, "status").complaint(t, exitUsage, ".env", "directory")
}

func TestEmptyVariablesCountAsNotSet(t *testing.T) {
	t.Parallel()
	env := []string{"HUBTAIL_LOG_LEVEL=", "HUBTAIL_BURST_LIMIT=", "HUBTAIL_POLL_INTERVAL=", "HUBTAIL_HUBSPOT_TOKEN=", "HUBSPOT_ACCESS_TOKEN=", "HUBSPOT_API_KEY=pat-x"}
	hubtail(t, t.TempDir(), env, "source").complaint(t, exitUsage, "NATS_URL") // the token was found
}

func TestSupabaseURLAndPasswordMakeTheDatabaseURL(t *testing.T) {
	t.Parallel()
	got, err := supabaseURL("https://abcdefgh.supabase.co/", "p@ss/w:rd %")
	if want := "postgresql://postgres:p%40ss%2Fw%3Ard%20%25@db.abcdefgh.supabase.co:5432/postgres?sslmode=require"; got != want || err != nil {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	// As a command uses them: the name cannot be resolved, which the error says, and not the password. DATABASE_URL wins.
	env := []string{"SUPABASE_URL=https://abc.supabase.invalid", "SUPABASE_DB_PASSWORD=" + canary}
	r := hubtail(t, t.TempDir(), env, "migrate")
	if requireNoSecret(t, r); r.code != exitFailed || !strings.Contains(r.stderr, "db.abc.supabase.invalid") {
		t.Errorf("%+v", r)
	}
	r = hubtail(t, t.TempDir(), append(env, "DATABASE_URL=postgres://u@127.0.0.1:1/x"), "migrate")
	if r.code != exitFailed || !strings.Contains(r.stderr, "127.0.0.1") || strings.Contains(r.stderr, "supabase") {
		t.Errorf("%+v", r)
	}
}

func TestNothingThereIsAFailureThatSaysWhat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for args, words := range map[string]string{
		"migrate":            "connect to postgres 127.0.0.1:1 DATABASE_URL `hubtail doctor`",
		"sync":               "connect to nats nats://127.0.0.1:1 NATS_URL `hubtail doctor` `hubtail nats`",
		"explain contacts 5": "connect to nats connect to postgres DATABASE_URL",
		"history 0-1 5":      "connect to nats nats://127.0.0.1:1 NATS_URL `hubtail doctor` `hubtail nats`",
	} {
		r := hubtail(t, dir, append(secrets(), "HUBTAIL_LOG_LEVEL=debug"), strings.Fields(args)...)
		requireNoSecret(t, r)
		r.complaint(t, exitFailed, strings.Fields(words)...)
		if r.stdout != "" || strings.Count(r.stderr, "nothing listens there") > 1 || strings.Count(r.stderr, "refused") > 1 {
			t.Errorf("%s: %s%s", args, r.stdout, r.stderr)
		}
	}
	r := hubtail(t, dir, append(secrets(), "HUBTAIL_LOG_LEVEL=debug"), "status")
	if requireNoSecret(t, r); r.code != exitUnhealthy || !strings.Contains(r.stdout, "! log: ") || !strings.Contains(r.stdout, "! tables: ") {
		t.Errorf("status: %+v", r)
	}
	for _, bad := range []string{"postgres://user:" + canary + "%zz@127.0.0.1/x", "postgres://user:" + canary + "@127.0.0.1:port/x"} {
		r := hubtail(t, dir, nil, "migrate", "--database-url", bad)
		if requireNoSecret(t, r); r.code == exitDone || !strings.Contains(r.stderr, "database URL") {
			t.Errorf("%+v", r)
		}
	}
}

func TestEnvFileIsReadWhereverItIs(t *testing.T) {
	t.Parallel()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "settings")
	must(t, os.WriteFile(file, []byte("HUBTAIL_LOG_LEVEL=fromfile\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".env"), []byte("HUBTAIL_LOG_LEVEL=fromdotenv\n"), 0o600))
	hubtail(t, dir, nil, "--env-file", file, "source").complaint(t, exitUsage, `"fromfile"`)
	hubtail(t, dir, []string{"HUBTAIL_ENV_FILE=" + file}, "source").complaint(t, exitUsage, `"fromfile"`)
	hubtail(t, dir, nil, "source").complaint(t, exitUsage, `"fromdotenv"`)
}

func TestUnknownVariablesAreNamedWithTheNearestKnownOne(t *testing.T) {
	t.Parallel()
	r := hubtail(t, t.TempDir(), []string{"HUBTAIL_OBJECT=contacts", "HUBTAIL_WHATEVER_THIS_IS=1", "HUBTAIL_PG_MIRROR=x"}, "status")
	want := "hubtail: HUBTAIL_OBJECT is not a setting; did you mean HUBTAIL_OBJECTS?\n" +
		"hubtail: HUBTAIL_WHATEVER_THIS_IS is not a setting; `hubtail COMMAND --help` lists them\nhubtail: nothing to look at"
	if r.code != exitUsage || !strings.HasPrefix(r.stderr, want) {
		t.Errorf("%+v", r)
	}
}

func TestHelpAndVersionAreCommandsToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][2][]string{{{"help"}, {"--help"}}, {{"version"}, {"--version"}}, {{"help", "sync"}, {"sync", "--help"}},
		{{"help", "dead-letters", "list"}, {"dead-letters", "list", "--help"}}, {{"verify", "contacts", "--help"}, {"verify", "--help"}}} {
		if a, b := hubtail(t, dir, nil, args[0]...), hubtail(t, dir, nil, args[1]...); a != b || a.code != exitDone || a.stdout == "" {
			t.Errorf("%v: %+v", args[0], a)
		}
	}
}

func TestBackfillRefusesAnObjectTypeWithoutAName(t *testing.T) {
	t.Parallel()
	hubtail(t, t.TempDir(), []string{"HUBSPOT_API_KEY=x"}, "backfill", "").complaint(t, exitUsage, "no name")
}
