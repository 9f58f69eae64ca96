package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
)

func historyCommand() *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "the versions of a record: what changed, when, found by which way of reading",
		ArgsUsage: "object id",
		Description: "Reads the log; asks HubSpot nothing. The newest version comes last. The log keeps the last 16 versions of a record\n" +
			"(MaxMsgsPerSubject of the stream), however old; it says so where there were more. Times are those of the log, in UTC.\n" +
			"Exit code 1 if the log never had the record: `hubtail explain` says why. Of an erased one there is its erasure only.\n" +
			"--json prints a version per line, all its values included.\n\n" +
			"Examples:\n  hubtail history contacts 713492963559\n" +
			"  hubtail history --changed dealstage,amount deals 60120034\n" +
			"  hubtail history --json 0-3 60120034 | jq -r '[.logged_at, .op, .properties.dealstage] | @tsv'",
		Flags:  flags(natsFlags, portalFlag, dataDirFlag, changedFlag, jsonFlag),
		Action: withParts(runHistory),
	}
}

var (
	changedFlag = &cli.StringFlag{Name: "changed", Usage: "only where one of these `PROPERTIES` changed, comma-separated"}
	jsonFlag    = &cli.BoolFlag{Name: "json", Usage: "print JSON"}
)

func runHistory(c *cli.Context, p *parts) error {
	name, id, err := recordArguments("history", c.Args().Slice())
	if err != nil {
		return err
	}
	log, err := p.openPast(c.Context)
	if err != nil {
		return err
	}
	object, err := log.object(name)
	if err != nil {
		return err
	}
	r, err := log.ReadRecord(c.Context, object, id)
	if err != nil {
		return err
	}
	if r.Last() == nil {
		return fmt.Errorf("the log never had %s %s; `hubtail explain %s %s` says what is known of it", object, id, object, id)
	}
	properties := splitList(c.String("changed"))
	if err := log.warnOfUnknown(c.Context, p.log, []string{object}, properties); err != nil {
		return err
	}
	if c.Bool("json") {
		encoder := newJSONEncoder(c.App.Writer)
		encoder.SetEscapeHTML(false)
		for _, v := range r.Versions {
			if versionHas(v, properties) {
				if err := encoder.Encode(v); err != nil {
					return err
				}
			}
		}
		return nil
	}
	printHistory(c.App.Writer, r, properties, log.Depth)
	return nil
}

// versionHas reports whether one of the properties changed in a version; none named means any. A record that was created with
// a value has changed it, one that was only seen for the first time has not.
func versionHas(v history.Version, properties []string) bool {
	if len(properties) == 0 || slices.ContainsFunc(v.Changed, func(c history.Change) bool { return slices.Contains(properties, c.Property) }) {
		return true
	}
	return v.Op == schemas.OpCreated && slices.ContainsFunc(properties, func(name string) bool {
		_, has := v.Properties.Get(name)
		return has
	})
}

func printHistory(w io.Writer, r *history.Record, properties []string, depth int64) {
	if first := r.Versions[0]; !r.Complete() {
		printf(w, "%s %s: older versions than these %d are no longer kept (the log keeps %d of a record)\n\n", r.Object, r.ID, len(r.Versions), depth)
	} else if first.Op == schemas.OpPurged {
		printf(w, "%s %s was erased for privacy: nothing is kept of it\n\n", r.Object, r.ID)
	}
	hidden := 0
	for _, v := range r.Versions {
		if !versionHas(v, properties) {
			hidden++
			continue
		}
		printVersion(w, v, properties)
	}
	if hidden > 0 {
		printf(w, "%d of %d versions changed none of %s\n", hidden, len(r.Versions), joinList(properties))
	}
}

// printVersion writes a line about the event and one about each property that changed.
func printVersion(w io.Writer, v history.Version, properties []string) {
	printf(w, "%s  %-9d %-8s", stamp(v.LoggedAt), v.Seq, v.Op)
	if v.Error != "" {
		printf(w, "unreadable: %s\n", shownName(v.Error))
		return
	}
	origin := string(v.Origin)
	if v.Op == schemas.OpPurged { // the event does not say which: a tombstone has nothing but the id
		origin = "webhook or erase"
	}
	printf(w, " by %-8s  HubSpot %s", origin, stamp(v.UpdatedAt))
	if v.MergedInto != "" {
		printf(w, "  into %s", shownName(v.MergedInto))
	}
	if len(v.Changed) == 0 && v.PreviousSeq == 0 {
		printf(w, "  %d values", v.Properties.Len())
	}
	printf(w, "\n")
	for _, c := range v.Changed {
		if wanted(properties, c.Property) {
			printf(w, "    %s  %s -> %s\n", shownName(c.Property), shown(c.Old), shown(c.New))
		}
	}
	if v.PreviousSeq > 0 || len(properties) == 0 {
		return
	}
	for _, name := range properties { // of the first version: what it had
		if value, has := v.Properties.Get(name); has {
			printf(w, "    %s  %s\n", shownName(name), shown(&value))
		}
	}
}
