package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/history"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "what changed between two moments: records created, loaded, changed, archived, restored, merged, erased",
		ArgsUsage: "T1 T2 [object...]",
		Description: "A moment is a time (2026-03-01, \"2026-03-01 14:30\", 2026-03-01T14:30:00Z; local without a zone), a duration before\n" +
			"now (90m, 7d), a sequence of the log, start or now. All events in between are taken together: what was changed and\n" +
			"changed back is not listed. Created is what HubSpot created after T1; what it had before and the log got after T1, by its\n" +
			"first load above all, is loaded. Reads the log from T1 on; asks HubSpot nothing.\n" +
			"The log keeps the last 16 versions of a record. Where that no longer reaches back to T1, nothing is guessed: exit code 1,\n" +
			"with the records and the moment from which on all is known.\n\n" +
			"Examples:\n  hubtail diff 24h now                                  everything of the last day\n" +
			"  hubtail diff --changed dealstage 7d now deals         deals that are in another stage than a week ago\n" +
			"  hubtail diff --json 2026-03-01 2026-04-01 contacts | jq .counts",
		Flags:  flags(natsFlags, portalFlag, dataDirFlag, changedFlag, jsonFlag),
		Action: withParts(runDiff),
	}
}

func runDiff(c *cli.Context, p *parts) error {
	args := c.Args().Slice()
	if len(args) < 2 {
		return usageError{errors.New("name two moments: hubtail diff 24h now")}
	}
	log, err := p.openPast(c.Context)
	if err != nil {
		return err
	}
	objects, err := log.objects(args[2:])
	if err != nil {
		return err
	}
	properties := splitList(c.String("changed"))
	if err := log.warnOfUnknown(c.Context, p.log, objects, properties); err != nil {
		return err
	}
	from, err := log.moment(c.Context, args[0])
	if err != nil {
		return err
	}
	to, err := log.moment(c.Context, args[1])
	if err != nil {
		return err
	}
	d, err := log.Diff(c.Context, from, to, objects...)
	var gone *history.NotCoveredError
	switch {
	case errors.Is(err, history.ErrMoment):
		return usageError{err}
	case errors.As(err, &gone):
		return fmt.Errorf("%w: hubtail diff %d %s", err, gone.Seq, joinWords(args[1:]))
	case err != nil:
		return err
	}
	if len(properties) > 0 {
		onlyChanged(d, properties)
	}
	if c.Bool("json") {
		encoder := newJSONEncoder(c.App.Writer)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(d)
	}
	printDiff(c.App.Writer, d)
	return nil
}

// joinWords joins arguments as one would type them.
func joinWords(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		if quoted[i] = arg; strings.Contains(arg, " ") {
			quoted[i] = `"` + arg + `"`
		}
	}
	return strings.Join(quoted, " ")
}

// onlyChanged leaves the records in which one of the properties changed, and of their changes those.
func onlyChanged(d *history.Diff, properties []string) {
	kept := []history.RecordChange{}
	for _, r := range d.Records {
		changes := []history.Change{}
		for _, c := range r.Changed {
			if wanted(properties, c.Property) {
				changes = append(changes, c)
			}
		}
		if r.Changed = changes; len(changes) > 0 {
			kept = append(kept, r)
		} else {
			d.Counts[r.Kind]--
		}
	}
	d.Records = kept
}

func printDiff(w io.Writer, d *history.Diff) {
	for _, r := range d.Records {
		printf(w, "%s %s %s", r.Object, shownName(r.ID), r.Kind)
		if r.MergedInto != "" {
			printf(w, " into %s", shownName(r.MergedInto))
		}
		if (r.Kind == history.Created || r.Kind == history.Loaded) && r.Archived {
			printf(w, ", in the recycle bin")
		}
		printf(w, ", %s\n", stamp(r.LoggedAt))
		for _, c := range r.Changed {
			printf(w, "    %s  %s -> %s\n", shownName(c.Property), shown(c.Old), shown(c.New))
		}
	}
	if len(d.Records) > 0 {
		printf(w, "\n")
	}
	var counts []string
	for _, kind := range history.Kinds {
		if n := d.Counts[kind]; n > 0 {
			counts = append(counts, fmt.Sprintf("%s %s", thousands(int64(n)), kind))
		}
	}
	if len(counts) == 0 {
		counts = []string{"nothing changed"}
	}
	printf(w, "%s, from %s to %s\n", strings.Join(counts, ", "), d.From, d.To)
	if d.Counts[history.Loaded] > 0 {
		printf(w, "loaded: HubSpot had them before, the log got them for the first time\n")
	}
	if !d.LogBegins.IsZero() {
		printf(w, "the log begins at %s: of what changed before it knows nothing\n", stamp(d.LogBegins))
	}
}
