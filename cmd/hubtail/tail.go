package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
)

func tailCommand() *cli.Command {
	return &cli.Command{
		Name:      "tail",
		Usage:     "follow the changes as they come, like tail -f",
		ArgsUsage: "[object...]",
		Description: "Shows every event of the log from now on, or from an earlier moment and then on, until Ctrl-C; it waits for NATS where\n" +
			"that restarts. It reads by a consumer of its own that leaves nothing behind, and takes nothing from sinks.\n" +
			"--json prints one document per line, a shape that stays: {\"seq\": of the stream, \"logged_at\", \"origin\", \"event\": the event\n" +
			"as schemas/README.md specifies it}. --changed shows events in which one of the properties changed, and records that\n" +
			"were created with one. --from takes a duration before now (2h, 7d), a time (2026-03-01, \"2026-03-01 14:30\"), the sequence\n" +
			"of the first message, or start.\n\n" +
			"Examples:\n  hubtail tail\n  hubtail tail --changed lifecyclestage contacts\n" +
			"  hubtail tail --from 1h --op archived,merged\n" +
			"  hubtail tail --json deals | jq --unbuffered 'select(.event.properties.dealstage == \"closedwon\")'\n" +
			"  hubtail tail --from start --limit 10 contacts | head -3",
		Flags: flags(natsFlags, portalFlag, dataDirFlag, changedFlag, jsonFlag,
			&cli.StringFlag{Name: "from", Usage: "`MOMENT` to begin at: a duration ago, a time, a sequence, start or now", Value: "now"},
			&cli.StringFlag{Name: "op", Usage: "only these `OPS`, comma-separated: " + opsText()},
			&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Usage: "end after `N` events; 0 means never"}),
		Action: withParts(runTail),
	}
}

var allOps = []schemas.Op{
	schemas.OpSnapshot, schemas.OpCreated, schemas.OpUpdated, schemas.OpArchived, schemas.OpRestored, schemas.OpMerged, schemas.OpPurged,
}

func opsText() string {
	names := make([]string, len(allOps))
	for i, op := range allOps {
		names[i] = string(op)
	}
	return strings.Join(names, ", ")
}

// tailing is a tail that runs.
type tailing struct {
	out        *readWriter
	json       bool
	ops        []string
	properties []string
	left       int // events to show yet; -1 means any number
}

// errShown says that a tail has shown all that it was asked for.
var errShown = errors.New("all is shown")

func runTail(c *cli.Context, p *parts) error {
	t := &tailing{
		out: newReadWriter(c.App.Writer), json: c.Bool("json"), ops: splitList(c.String("op")), properties: splitList(c.String("changed")), left: -1,
	}
	for _, op := range t.ops {
		if !slices.Contains(allOps, schemas.Op(op)) {
			return usageError{fmt.Errorf("--op %s is none of %s", op, opsText())}
		}
	}
	if n := c.Int("limit"); n < 0 {
		return usageError{fmt.Errorf("--limit is %d; it must be 0 or more", n)}
	} else if n > 0 {
		t.left = n
	}
	if p.natsURL == "" && c.String("from") == "now" {
		return usageError{errors.New("no NATS server: set NATS_URL. Without one a tail has the log in --data-dir to itself, and nobody can write what it waits for (--from start shows what is there)")}
	}
	log, err := p.openPast(c.Context)
	if err != nil {
		return err
	}
	objects, err := log.objects(c.Args().Slice())
	if err != nil {
		return err
	}
	if err := log.warnOfUnknown(c.Context, p.log, objects, t.properties); err != nil {
		return err
	}
	from, err := log.tailFrom(c.Context, c.String("from"))
	if err != nil {
		return err
	}
	err = log.Follow(c.Context, from, log.Filters(objects...), t.show, func(err error) {
		p.log.Warn("the log does not answer, trying on", "error", err)
	})
	if errors.Is(err, errShown) || c.Context.Err() != nil {
		return nil
	}
	return err
}

// tailFrom returns the sequence to begin at: of a time the next one, of a sequence that one, also if it is still to come, so
// that whoever has seen some can go on behind them.
func (p *past) tailFrom(ctx context.Context, text string) (uint64, error) {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil && seq <= p.LastSeq+1 {
		return seq, nil
	}
	m, err := p.moment(ctx, text)
	return m.Seq + 1, err
}

// show writes an event if it is one that was asked for.
func (t *tailing) show(e history.Entry) error {
	if subject, err := schemas.ParseSubject(e.Subject); err != nil || subject.Kind != schemas.KindRecord {
		return nil
	}
	v := history.VersionOf(e)
	if len(t.ops) > 0 && !slices.Contains(t.ops, string(v.Op)) || !versionHas(v, t.properties) {
		return nil
	}
	if t.json {
		t.showJSON(e, v)
	} else {
		printEvent(t.out, v, t.properties)
	}
	select {
	case <-t.out.unread: // whoever read it has enough
		return errShown
	default:
	}
	if t.left--; t.left == 0 {
		return errShown
	}
	return nil
}

// tailed is a line of `hubtail tail --json`.
type tailed struct {
	Seq      uint64          `json:"seq"`
	LoggedAt time.Time       `json:"logged_at"`
	Origin   schemas.Origin  `json:"origin"`
	Event    json.RawMessage `json:"event"`
	Error    string          `json:"error,omitempty"` // why the event cannot be read
}

func (t *tailing) showJSON(e history.Entry, v history.Version) {
	line := tailed{Seq: e.Seq, LoggedAt: e.Time.UTC(), Origin: v.Origin, Event: e.Data, Error: v.Error}
	if v.Error != "" && !json.Valid(e.Data) {
		line.Event = json.RawMessage("null")
	}
	encoder := newJSONEncoder(t.out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(line) // the writer notices
}

// printEvent writes an event on one line.
func printEvent(w io.Writer, v history.Version, properties []string) {
	var line strings.Builder
	fmt.Fprintf(&line, "%s  %-10s %-12s %-8s", stamp(v.LoggedAt), v.Object, v.ID, v.Op)
	if v.Error != "" {
		fmt.Fprintf(&line, "  unreadable: %s", shownName(v.Error))
	}
	if v.MergedInto != "" {
		fmt.Fprintf(&line, "  into %s", shownName(v.MergedInto))
	}
	separator := "  "
	for _, c := range v.Changed {
		if wanted(properties, c.Property) {
			fmt.Fprintf(&line, "%s%s %s -> %s", separator, shownName(c.Property), shown(c.Old), shown(c.New))
			separator = ", "
		}
	}
	if v.PreviousSeq == 0 {
		for _, name := range properties {
			if value, has := v.Properties.Get(name); has {
				fmt.Fprintf(&line, "%s%s %s", separator, shownName(name), shown(&value))
				separator = ", "
			}
		}
	}
	printf(w, "%s\n", line.String())
}
