package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

// appHelp is the help of the program: commands by what one is about to do.
const appHelp = `{{.Name}} - {{.Usage}}

Usage: {{.Name}} [--env-file FILE] COMMAND [flags] [arguments]

{{.Description}}
{{$group := ""}}{{range .VisibleCommands}}{{if ne .Category $group}}{{$group = .Category}}
{{$group}}:
{{end}}  {{printf "%-12s" .Name}}  {{.Usage}}
{{end}}
Flags:
{{range .VisibleFlags}}  {{.}}
{{end}}`

// commandHelp is the help of a command, flags last, with the examples where a reader looks first; of one that has others under
// it, these.
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

// printHelp writes help so that it fits the terminal; elsewhere every flag has one line, which grep finds.
func printHelp(w io.Writer, template string, data any) {
	var b bytes.Buffer
	cli.HelpPrinterCustom(&b, template, data, nil)
	text := strings.ReplaceAll(b.String(), " (default: false)", "")
	if width := stdoutWidth(); width > 0 {
		text = fitHelp(text, width)
	}
	_, _ = io.WriteString(w, text) // a reader that went away has seen enough
}

const (
	helpWidest = 110 // longer lines are hard to read
	flagColumn = 26  // where the texts of flags begin on a terminal
)

var (
	flagLine = regexp.MustCompile(`^  (-\S.*?) {2,}(\S.*)$`)
	listLine = regexp.MustCompile(`^(  \S+ {2,})(\S.*)$`)
	tabled   = regexp.MustCompile(`\S {3,}\S`)
)

// fitHelp breaks the lines of a help text anew. Examples, which are indented, stay as they are: they are there to be copied.
func fitHelp(text string, width int) string {
	width = min(width, helpWidest)
	var out []string
	var prose []string
	flush := func() {
		if len(prose) > 0 {
			out = append(out, hang("", 0, strings.Join(prose, " "), width))
			prose = nil
		}
	}
	for _, line := range strings.Split(text, "\n") {
		heading := strings.HasSuffix(line, ":") && len(line) < width
		if line != "" && line[0] != ' ' && !heading && !tabled.MatchString(line) {
			prose = append(prose, line)
			continue
		}
		flush()
		if m := flagLine.FindStringSubmatch(line); m != nil {
			line = hang("  "+m[1], flagColumn, m[2], width)
		} else if m := listLine.FindStringSubmatch(line); m != nil {
			line = hang(m[1], len(m[1]), m[2], width)
		}
		out = append(out, line)
	}
	flush()
	return strings.Join(out, "\n")
}

// hang writes a text in words from a column on, behind what comes before it, or below that where it is too long.
func hang(before string, column int, text string, width int) string {
	var b strings.Builder
	b.WriteString(before)
	if at := len(before); column > 0 && at > column-1 && before[at-1] != ' ' {
		b.WriteString("\n" + strings.Repeat(" ", column))
	} else {
		b.WriteString(strings.Repeat(" ", column-at))
	}
	at := column
	for i, word := range strings.Fields(text) {
		if i > 0 && at+1+len(word) > width {
			b.WriteString("\n" + strings.Repeat(" ", column))
			at = column
		} else if i > 0 {
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}
