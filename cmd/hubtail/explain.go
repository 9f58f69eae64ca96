package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "a record's whole story, and why it is, or is not, in the tables",
		ArgsUsage: "object id",
		Description: "Looks at the log, the hints of webhooks that wait, and the tables; asks HubSpot nothing and changes nothing. With only\n" +
			"NATS or only a database it looks at what there is, and says at what it did not. The answer comes first; exit code 0 if the\n" +
			"tables have the record as the log has it, ended or not, 3 if something is missing or in the way.\n\n" +
			"Examples:\n  hubtail explain contacts 713492963559\n" +
			"  hubtail explain --json 0-3 60120034 | jq -r '.verdict, .answer'",
		Flags:  flags(natsFlags, postgresFlags, consumerFlag, portalFlag, dataDirFlag, jsonFlag),
		Action: withParts(runExplain),
	}
}

// explanation is what `hubtail explain` reports, and its JSON.
type explanation struct {
	Portal  string   `json:"portal,omitempty"`
	Object  string   `json:"object"`
	ID      string   `json:"id"`
	Verdict verdict  `json:"verdict"`
	Answer  string   `json:"answer"`  // why it is, or is not, in the tables, and what to do
	Skipped []string `json:"skipped"` // what was not looked at, and why

	Log    *logStory    `json:"log,omitempty"`    // nil if it was not looked at
	Tables *tablesStory `json:"tables,omitempty"` // nil if they were not looked at
}

func runExplain(c *cli.Context, p *parts) error {
	name, id, err := recordArguments("explain", c.Args().Slice())
	if err != nil {
		return err
	}
	e := &explanation{Object: objectName(name, nil), ID: id, Skipped: []string{}}
	if err := p.explainLog(c.Context, e, name); err != nil {
		return err
	}
	if err := p.explainTables(c.Context, e, name); err != nil {
		return err
	}
	if e.Log == nil && e.Tables == nil {
		err := fmt.Errorf("nothing to look at: %s", strings.Join(e.Skipped, "; "))
		if p.natsURL == "" && p.databaseURL == "" {
			return usageError{err}
		}
		return err
	}
	if !e.isObjectType() {
		return usageError{fmt.Errorf("there is no object type %q%s: standard ones are named as in contacts, custom ones p_<name>", name, didYouMean(name, e.objectTypes()))}
	}
	e.judge()
	if c.Bool("json") {
		encoder := newJSONEncoder(c.App.Writer)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(e); err != nil {
			return err
		}
	} else {
		e.print(c.App.Writer)
	}
	if !e.Verdict.healthy() {
		return unhealthyError{fmt.Errorf("%s %s: %s", e.Object, e.ID, strings.ReplaceAll(string(e.Verdict), "_", " "))}
	}
	return nil
}

// isObjectType reports whether there may be such an object type: why nothing reads one that HubSpot has is worth an answer.
func (e *explanation) isObjectType() bool {
	return e.Tables != nil && e.Tables.Table != "" || slices.Contains(e.objectTypes(), e.Object) ||
		strings.HasPrefix(e.Object, "p_") || typeID.MatchString(e.Object)
}

// typeID is how HubSpot writes the id of an object type.
var typeID = regexp.MustCompile(`^\d+-\d+$`)

// objectTypes are the standard ones and those of the log.
func (e *explanation) objectTypes() []string {
	types := standardObjects()
	if e.Log != nil {
		types = append(types, e.Log.Types...)
	}
	return types
}

// explainLog looks at the log, unless there is none to look at.
func (p *parts) explainLog(ctx context.Context, e *explanation, name string) error {
	log, err := p.openPast(ctx)
	var usage usageError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &usage) && p.natsURL != "": // several portals
		return err
	case err != nil:
		e.skip("the log", err)
		return nil
	}
	e.Portal, e.Object = log.Portal(), objectName(name, log.types)
	if e.Log, err = log.story(ctx, p.stream, e.Object, e.ID); err != nil {
		e.skip("the log", err)
	}
	return nil
}

func (e *explanation) skip(what string, err error) {
	e.Skipped = append(e.Skipped, what+": "+strings.Join(strings.Fields(err.Error()), " "))
}

func (e *explanation) print(w io.Writer) {
	printf(w, "%s %s: %s\n", e.Object, e.ID, e.Answer)
	for _, what := range e.Skipped {
		printf(w, "not looked at: %s\n", what)
	}
	if t := e.Tables; t != nil {
		t.print(w)
	}
	if l := e.Log; l != nil {
		l.print(w)
	}
}

func (l *logStory) print(w io.Writer) {
	if len(l.Versions) > 0 {
		kept := ""
		if !l.Complete {
			kept = "; older ones are no longer kept"
		}
		printf(w, "\nEvents (%d%s)\n", len(l.Versions), kept)
	}
	for _, v := range l.Versions {
		printVersion(w, v, nil)
	}
	if len(l.Links) > 0 {
		printf(w, "\nLinks by the log\n")
	}
	for _, set := range l.Links {
		printf(w, "  %s: %d, since %s: %s\n", set.To, len(set.IDs), stamp(set.LoggedAt), joinMost(set.IDs))
	}
	if len(l.Hints) > 0 {
		printf(w, "\nWebhooks that wait for a source\n")
	}
	for _, h := range l.Hints {
		printf(w, "  %s: %s, %s\n", h.Kind, shownName(h.Cause), stamp(h.OccurredAt))
	}
	for _, d := range l.DeadLetters {
		printf(w, "\nThe source could not make an event of it at %s: %s\n", stamp(d.At), shownName(d.Reason))
	}
}

func (t *tablesStory) print(w io.Writer) {
	if r := t.Row; r != nil {
		printf(w, "\nRow of %s.%s: from event %d, written %s", t.Schema, t.Table, r.Seq, stamp(r.SyncedAt))
		for _, flag := range r.flags() {
			printf(w, ", %s", flag)
		}
		printf(w, "; %d values in columns, %d in _extra\n", r.Values, r.Extra)
	}
	for _, l := range []struct {
		what string
		list []tableLink
	}{{"to", t.LinksTo}, {"from", t.LinksFrom}} {
		for _, link := range l.list {
			printf(w, "linked %s %s %s (%s %d", l.what, link.Object, link.ID, shownName(link.Category), link.TypeID)
			if link.Label != "" {
				printf(w, ", %s", shownName(link.Label))
			}
			printf(w, ")\n")
		}
	}
	for _, d := range t.DeadLetters {
		printf(w, "dead letter %d (%s), tried %d times, last %s: %s %s\n", d.Seq, d.Origin, d.Tries, stamp(d.LastAt), d.SQLState, shownName(d.Reason))
	}
}

// joinMost joins ids, the first ones of many.
func joinMost(ids []string) string {
	if len(ids) > maxNamed {
		return strings.Join(ids[:maxNamed], " ") + fmt.Sprintf(" and %d more", len(ids)-maxNamed)
	}
	return strings.Join(ids, " ")
}
