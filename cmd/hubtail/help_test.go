package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestHelpFitsTheTerminalAndLosesNoWord leaves examples alone: they are there to be copied.
func TestHelpFitsTheTerminalAndLosesNoWord(t *testing.T) {
	t.Parallel()
	app := newApp()
	app.Setup()
	texts := map[string]string{"": helpText(appHelp, app)}
	for _, c := range app.Commands {
		texts[c.Name] = helpText(commandHelp, c)
		for _, sub := range c.Subcommands {
			sub.HelpName = c.HelpName + " " + sub.Name
			texts[c.Name+" "+sub.Name] = helpText(commandHelp, sub)
		}
	}
	for name, text := range texts {
		for _, width := range []int{60, 80, 100, 300} {
			fitted := fitHelp(text, width)
			if !slices.Equal(strings.Fields(fitted), strings.Fields(text)) {
				t.Errorf("%s: words are lost or moved at %d:\n%s", name, width, fitted)
			}
			examples := false
			for _, line := range strings.Split(fitted, "\n") {
				examples = strings.HasPrefix(line, "Example") || examples && strings.HasPrefix(line, "  ")
				if len(line) > min(width, helpWidest) && !examples && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("%s: %d characters at %d: %s", name, len(line), width, line)
				}
			}
		}
	}
	if narrow := fitHelp(texts["up"], 80); !strings.Contains(narrow, "\n  --nats-creds FILE       NATS credentials FILE [$HUBTAIL_NATS_CREDS,\n                          $NATS_CREDS]\n") {
		t.Errorf("flags do not hang:\n%s", narrow)
	}
}

func helpText(template string, data any) string {
	var b bytes.Buffer
	cli.HelpPrinterCustom(&b, template, data, nil)
	return b.String()
}
