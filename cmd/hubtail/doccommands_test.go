package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// foreign are texts of other programs among those that docs/operations.md explains.
var foreign = []string{"no such host", "network is unreachable", "db.PROJECT.supabase.co", "prepared statement ... does not exist", "already exists",
	"permission denied for schema", `relation "hubspot. ..." does not exist`, "column ... does not exist", "database ... does not exist",
	"cannot execute ... in a read-only transaction", "hubspot answered 401", "hubspot answered 403 MISSING_SCOPES"}

// TestErrorsInDocumentsAreThoseOfTheProgram looks for what the tables of docs/operations.md explain in the source.
func TestErrorsInDocumentsAreThoseOfTheProgram(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	for _, pattern := range []string{"*.go", "../../sink/*.go", "../../connector/*.go", "../../connector/hubspot/*.go", "../../internal/*/*.go", "../../migrations/*.go"} {
		files, err := filepath.Glob(pattern)
		must(t, err)
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				text, err := os.ReadFile(file)
				must(t, err)
				source.Write(text)
			}
		}
	}
	text, err := os.ReadFile("../../docs/operations.md")
	must(t, err)
	explained := 0
	for _, row := range regexp.MustCompile(`(?m)^\| `+"(`[^|]*)"+` \|.*\|.*\|$`).FindAllStringSubmatch(string(text), -1) {
		for _, said := range inlineCode.FindAllStringSubmatch(row[1], -1) {
			if slices.Contains(foreign, said[1]) {
				continue
			}
			for _, part := range regexp.MustCompile(`\.\.\.| N `).Split(said[1], -1) {
				explained++
				if part = strings.TrimSpace(strings.TrimPrefix(part, "N ")); !strings.Contains(source.String(), part) {
					t.Errorf("no error says %q (%s)", part, said[1])
				}
			}
		}
	}
	if explained < 20 {
		t.Errorf("%d texts are explained, that is too few to be true", explained)
	}
}

var (
	inlineCode  = regexp.MustCompile("`([^`\n]+)`")
	commandLine = regexp.MustCompile(`(?:^|[\s/"'(;])hubtail((?:\s+[^\s|&;#)\x60]+)+)`)
	wordOfHelp  = regexp.MustCompile(`^[A-Z]+$`)
)

// shownCommands returns what follows "hubtail" in the code of a document, word by word.
func shownCommands(text string) (lines [][]string) {
	fenced := false
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    "):
			code, _, _ := strings.Cut(line, " #")
			if !strings.HasPrefix(strings.TrimSpace(code), "#") && !strings.HasPrefix(strings.TrimSpace(code), "--") {
				lines = append(lines, commandsOf(code)...)
			}
		default:
			for _, code := range inlineCode.FindAllStringSubmatch(line, -1) {
				lines = append(lines, commandsOf(code[1])...)
			}
		}
	}
	return lines
}

func commandsOf(code string) (lines [][]string) {
	for _, m := range commandLine.FindAllStringSubmatch(code, -1) {
		lines = append(lines, strings.Fields(m[1]))
	}
	return lines
}

// complaintAbout says what is wrong with a command line, "" if it could be typed.
func complaintAbout(words []string) string {
	list, flags := commands(), []cli.Flag{envFileFlag, cli.HelpFlag, cli.VersionFlag}
	at := "hubtail"
	skip := false
	for _, word := range words {
		word = strings.Trim(word, `"',.:`)
		name, isFlag := strings.CutPrefix(word, "--")
		switch {
		case skip:
			skip = false
		case isFlag:
			name, _, assigned := strings.Cut(name, "=")
			i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
			if i < 0 && name != "help" {
				return at + " has no flag --" + name
			}
			skip = i >= 0 && takesValue(flags[i]) && !assigned
		case at == "hubtail" && (wordOfHelp.MatchString(word) || word == "help" || word == "version"):
			return ""
		default:
			i := slices.IndexFunc(list, func(c *cli.Command) bool { return c.Name == word })
			if i < 0 && at == "hubtail" {
				return "there is no command " + word
			}
			if i >= 0 {
				at, flags, list = at+" "+word, list[i].Flags, list[i].Subcommands
			}
		}
	}
	return ""
}

// TestCommandsInDocumentsExist reads everything in code in the README and in docs: whoever renames a command or a flag is
// told where it is still shown.
func TestCommandsInDocumentsExist(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../*.md")
	must(t, err)
	more, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	shown := 0
	for _, file := range slices.Concat(files, more) {
		text, err := os.ReadFile(file)
		must(t, err)
		if filepath.Base(file) == "CHANGELOG.md" {
			continue // it tells of commands that were
		}
		for _, words := range shownCommands(string(text)) {
			shown++
			if complaint := complaintAbout(words); complaint != "" {
				t.Errorf("%s: hubtail %s: %s", filepath.Base(file), strings.Join(words, " "), complaint)
			}
		}
	}
	if shown < 20 {
		t.Errorf("%d command lines were found, that is too few to be true", shown)
	}
	for line, wrong := range map[string]string{
		"    hubtail replicate": "no command replicate", "see `hubtail sink --nosuch`": "no flag --nosuch", "    bin/hubtail source &": "",
		"    hubtail --env-file x sync --objects contacts # hubtail never": "", "`hubtail help source`": "", "hubtail is a tool": "",
		"    hubtail dead-letters redrive --nosuch": "no flag --nosuch", "    hubtail status --json | jq . && hubtail nosuch": "no command nosuch",
	} {
		got := ""
		for _, words := range shownCommands(line) {
			got += complaintAbout(words)
		}
		if (wrong == "") != (got == "") || !strings.Contains(got, wrong) {
			t.Errorf("%q: complaint %q, want %q", line, got, wrong)
		}
	}
}
