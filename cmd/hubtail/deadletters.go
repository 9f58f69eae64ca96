package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/sink"
)

func deadLettersCommand() *cli.Command {
	object := &cli.StringFlag{Name: "object", Usage: "only dead letters of this object `TYPE`", EnvVars: nil}
	all := &cli.BoolFlag{Name: "all", Usage: "all dead letters"}
	jsonFlag := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	return &cli.Command{
		Name:  "dead-letters",
		Usage: "look at what could not be applied, try it again, or forget it",
		Description: "An event that Postgres refuses (a constraint or trigger of yours, a broken message), or a record that the source could not\n" +
			"read, is put aside with its reason; all others go on. Once the cause is gone, redrive it.\n\n" +
			"The newest event of a record always counts, so order does not matter. Records that the source could not read are\n" +
			"asked of it again.\n\n" +
			"Examples:\n  hubtail dead-letters list\n" +
			"  hubtail dead-letters show 4711\n" +
			"  hubtail dead-letters redrive --object contacts       or --all, or sequences as list shows them\n" +
			"  hubtail dead-letters drop --yes 4711 4712",
		Subcommands: []*cli.Command{
			deadLettersSub("list", "what there is, with reason, SQLSTATE, first and last try", "", "hubtail dead-letters list --object contacts --json", withParts(runDeadLettersList),
				flags(postgresFlags, object, jsonFlag)),
			deadLettersSub("show", "one or more of them whole, with their events", "sequence...", "hubtail dead-letters show 4711", withParts(runDeadLettersShow),
				flags(postgresFlags, jsonFlag)),
			deadLettersSub("redrive", "apply them again", "[sequence...]", "hubtail dead-letters redrive --all", withParts(runDeadLettersRedrive),
				flags(natsFlags, replicasFlag, postgresFlags, consumerFlag, portalFlag, dataDirFlag, object, all, jsonFlag,
					&cli.DurationFlag{Name: "wait", Usage: "how long to wait for the source to read records again", Value: 10 * time.Second})),
			deadLettersSub("drop", "forget them", "[sequence...]", "hubtail dead-letters drop --yes 4711", withParts(runDeadLettersDrop),
				flags(postgresFlags, object, all, &cli.BoolFlag{Name: "yes", Usage: "do not ask"})),
		},
	}
}

func deadLettersSub(name, usage, args, example string, action cli.ActionFunc, flags []cli.Flag) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: args, Description: "Example:\n  " + example, Flags: flags, Action: action,
	}
}

// lettersSelected reads which letters are meant: sequences, an object type, or all.
func lettersSelected(c *cli.Context, needed bool) (selected sink.DeadLetters, err error) {
	for _, arg := range c.Args().Slice() {
		seq, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || seq <= 0 {
			return selected, usageError{fmt.Errorf("%q is no sequence: `hubtail dead-letters list` shows them", arg)}
		}
		selected.Seqs = append(selected.Seqs, seq)
	}
	selected.Object = c.String("object")
	given := 0
	for _, is := range []bool{len(selected.Seqs) > 0, selected.Object != "", c.Bool("all")} {
		if is {
			given++
		}
	}
	switch {
	case needed && given == 0:
		return selected, usageError{errors.New("say which dead letters: their sequences, --object TYPE, or --all")}
	case given > 1:
		return selected, usageError{errors.New("say which dead letters by one of: their sequences, --object TYPE, --all")}
	}
	return selected, nil
}

func runDeadLettersList(c *cli.Context, p *parts) error {
	if err := noArguments(c); err != nil {
		return err
	}
	letters, err := p.deadLetters(c.Context, &sink.DeadLetters{Object: c.String("object")}, false)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, append([]sink.DeadLetter{}, letters...))
	}
	if len(letters) == 0 {
		printf(c.App.Writer, "no dead letters\n")
		return nil
	}
	table := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	printf(table, "SEQUENCE\tOBJECT\tID\tFROM\tSQLSTATE\tTRIES\tFIRST\tLAST\tREASON\n")
	for _, l := range letters {
		printf(table, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.Seq, orNone(l.Object), orNone(l.ID), l.Origin, orNone(l.SQLState), l.Tries,
			l.FirstAt.UTC().Format(time.DateTime), l.LastAt.UTC().Format(time.DateTime), cut(oneLine(l.Reason), 100))
	}
	return table.Flush()
}

func runDeadLettersShow(c *cli.Context, p *parts) error {
	selected, err := lettersSelected(c, true)
	if err != nil {
		return err
	}
	letters, err := p.deadLetters(c.Context, &selected, true)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if err := printJSON(c, append([]sink.DeadLetter{}, letters...)); err != nil {
			return err
		}
	} else {
		for _, l := range letters {
			showDeadLetter(c.App.Writer, l)
		}
	}
	return missingLetters(selected, letters)
}

func missingLetters(selected sink.DeadLetters, letters []sink.DeadLetter) error {
	for _, seq := range selected.Seqs {
		if !slices.ContainsFunc(letters, func(l sink.DeadLetter) bool { return l.Seq == seq }) {
			return fmt.Errorf("there is no dead letter %d: `hubtail dead-letters list` shows those there are", seq)
		}
	}
	return nil
}

func showDeadLetter(w io.Writer, l sink.DeadLetter) {
	printf(w, "dead letter %d of stream %s, from the %s\n", l.Seq, l.Stream, l.Origin)
	printf(w, "  subject   %s\n  object    %s %s\n  reason    %s\n", l.Subject, orNone(l.Object), orNone(l.ID), l.Reason)
	if l.SQLState != "" {
		printf(w, "  sqlstate  %s\n", l.SQLState)
	}
	printf(w, "  tries     %d, first %s, last %s\n", l.Tries, l.FirstAt.UTC().Format(time.DateTime), l.LastAt.UTC().Format(time.DateTime))
	for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
		printf(w, "  %s: %s\n", name, strings.Join(l.Headers[name], ", "))
	}
	var pretty bytes.Buffer
	if !l.Truncated && json.Indent(&pretty, l.Payload, "", "  ") == nil {
		printf(w, "%s\n", pretty.String())
	} else {
		printf(w, "%q\n", []byte(l.Payload))
	}
	if l.Truncated {
		printf(w, "(cut at %d bytes; the log has the whole: nats stream get %s %d)\n", l.Bytes, l.Stream, l.Seq)
	}
}

func runDeadLettersRedrive(c *cli.Context, p *parts) error {
	selected, err := lettersSelected(c, true)
	if err != nil {
		return err
	}
	js, err := p.connectLog(c.Context)
	if err != nil {
		return err
	}
	s, pool, err := p.newSink(c.Context, js)
	if err != nil {
		return err
	}
	if err := p.nameLetters(c.Context, pool, &selected); err != nil {
		return err
	}
	if letters, err := sink.ListDeadLetters(c.Context, pool, p.schema, selected, false); err != nil {
		return err
	} else if err := missingLetters(selected, letters); err != nil {
		return err
	}
	done, err := s.Redrive(c.Context, selected)
	if err == nil {
		err = p.askSource(c, js, s, done)
	}
	if c.Bool("json") {
		if printErr := printJSON(c, append([]sink.Redriven{}, done...)); err == nil {
			err = printErr
		}
	} else {
		printRedriven(c.App.Writer, done)
	}
	if err != nil {
		return err
	}
	if n := count(done, sink.RedriveFailed) + count(done, sink.RedriveAsk); n > 0 {
		return fmt.Errorf("%d of %d dead letters are left: see `hubtail dead-letters list`", n, len(done))
	}
	return nil
}

// askSource lets the source read records again that it could not, and waits for that a while.
func (p *parts) askSource(c *cli.Context, js jetstream.JetStream, s *sink.Sink, done []sink.Redriven) error {
	asked := map[string][]string{}
	var waiting []int64
	for _, r := range done {
		if r.Outcome == sink.RedriveAsk && !strings.HasPrefix(r.ID, "unknown") {
			asked[r.Object] = append(asked[r.Object], r.ID)
			waiting = append(waiting, r.Seq)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	portal, err := p.onlyPortal(c.Context, js)
	if err != nil {
		return err
	}
	cfg := connector.ReadAgainConfig{JetStream: js, Stream: p.stream, Replicas: p.replicas, Portal: portal, Logger: p.log}
	for _, object := range slices.Sorted(maps.Keys(asked)) {
		if err := connector.ReadAgain(c.Context, cfg, object, asked[object]...); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("wait"))
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return c.Context.Err()
		case <-tick.C:
		}
		read, err := s.ReadSince(c.Context, sink.DeadLetters{Seqs: waiting})
		if err != nil {
			return err
		}
		waiting = slices.DeleteFunc(waiting, func(seq int64) bool { return slices.Contains(read, seq) })
		for i := range done {
			if slices.Contains(read, done[i].Seq) {
				done[i].Outcome = sink.RedriveApplied
			}
		}
	}
	return nil
}

func printRedriven(w io.Writer, done []sink.Redriven) {
	for _, r := range done {
		switch {
		case r.Outcome == sink.RedriveFailed:
			printf(w, "%d %s %s failed again: %s\n", r.Seq, orNone(r.Object), orNone(r.ID), oneLine(r.Reason))
		case r.Outcome == sink.RedriveAsk && strings.HasPrefix(r.ID, "unknown"):
			printf(w, "%d %s: the source could not read its id (%s); a full read (`hubtail backfill %s`) reads it again, then drop the letter\n", r.Seq, r.Object, oneLine(r.Reason), r.Object)
		case r.Outcome == sink.RedriveAsk:
			printf(w, "%d %s %s: the source was asked to read it again and brought nothing new yet (%s)\n", r.Seq, r.Object, r.ID, oneLine(r.Reason))
		}
	}
	printf(w, "%d applied, %d failed again, %d left to the source\n", count(done, sink.RedriveApplied), count(done, sink.RedriveFailed), count(done, sink.RedriveAsk))
}

func count(done []sink.Redriven, outcome string) (n int) {
	for _, r := range done {
		if r.Outcome == outcome {
			n++
		}
	}
	return n
}

func runDeadLettersDrop(c *cli.Context, p *parts) error {
	selected, err := lettersSelected(c, true)
	if err != nil {
		return err
	}
	letters, err := p.deadLetters(c.Context, &selected, false)
	if err != nil {
		return err
	}
	if err := missingLetters(selected, letters); err != nil {
		return err
	}
	if err := confirmDrop(c, len(letters)); err != nil {
		return err
	}
	pool, err := p.openDatabase(c.Context)
	if err != nil {
		return err
	}
	selected.Seqs = nil
	for _, l := range letters { // what was shown, not what came since
		selected.Seqs = append(selected.Seqs, l.Seq)
	}
	if len(letters) == 0 {
		printf(c.App.Writer, "no dead letters\n")
		return nil
	}
	n, err := sink.DropDeadLetters(c.Context, pool, p.schema, selected)
	if err != nil {
		return err
	}
	printf(c.App.Writer, "%d dead letters dropped\n", n)
	return nil
}

// confirmDrop asks on the terminal, unless --yes says that nobody has to be asked.
func confirmDrop(c *cli.Context, n int) error {
	if c.Bool("yes") || n == 0 {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usageError{errors.New("nobody can be asked here whether to forget dead letters: say --yes")}
	}
	printf(c.App.Writer, "Forget %d dead letters? [y/N] ", n)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n') // no answer is a no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing was dropped")
	}
	return nil
}

// deadLetters reads letters; that there are no tables yet is said as elsewhere. It gives the object type its name.
func (p *parts) deadLetters(ctx context.Context, selected *sink.DeadLetters, whole bool) ([]sink.DeadLetter, error) {
	pool, err := p.openDatabase(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.nameLetters(ctx, pool, selected); err != nil {
		return nil, err
	}
	letters, err := sink.ListDeadLetters(ctx, pool, p.schema, *selected, whole)
	if codeOf(err) == "42P01" {
		return nil, fmt.Errorf("schema %s has no hubtail tables: run `hubtail migrate`, or start the sink", p.schema)
	}
	return letters, err
}

// nameLetters gives the object type of a selection the name that the tables have for it. A letter may be of a type without a
// table.
func (p *parts) nameLetters(ctx context.Context, pool *pgxpool.Pool, selected *sink.DeadLetters) error {
	if selected.Object == "" {
		return nil
	}
	rows, err := pool.Query(ctx, `select distinct object from `+p.table("dead_letters")+` where object is not null`)
	if err != nil {
		return nil // read again in a moment, which says what is the matter
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil
	}
	names, err := p.tableObjects(ctx, pool, []string{selected.Object}, others...)
	if err == nil {
		selected.Object = names[0]
	}
	return err
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
