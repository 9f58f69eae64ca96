package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/sink"
)

// asOfFlags are what `hubtail rebuild` takes to build the tables of the past.
var asOfFlags = []cli.Flag{
	&cli.StringFlag{Name: "as-of", Usage: "build the tables as they were at this `MOMENT`: a duration ago, a time, a sequence of the log; needs --into"},
	&cli.StringFlag{Name: "into", Usage: "`SCHEMA` for --as-of: a new one, or, with --replace, one of an earlier run"},
	&cli.BoolFlag{Name: "replace", Usage: "with --as-of: drop what an earlier run built in --into, and everything else there"},
	&cli.BoolFlag{Name: "partial", Usage: "with --as-of: leave out records whose versions of then the log no longer keeps, or had not loaded yet, and say so, instead of refusing"},
}

// isAsOf reports whether a rebuild is one of the past.
func isAsOf(c *cli.Context) bool {
	return c.IsSet("as-of") || c.IsSet("into") || c.IsSet("partial") || c.IsSet("replace")
}

// asOfOptions are the options that arguments and flags ask for, but for the moment and the object types' names in the log.
func asOfOptions(c *cli.Context) (o sink.AsOfOptions, err error) {
	o = sink.AsOfOptions{Schema: c.String("into"), Partial: c.Bool("partial")}
	for _, name := range []string{"rollback", "drop-old", "copy", "force"} {
		if c.IsSet(name) {
			return o, usageError{fmt.Errorf("--%s is about the live tables, which --as-of leaves alone", name)}
		}
	}
	switch {
	case c.String("as-of") == "":
		return o, usageError{errors.New("--into, --partial and --replace go with --as-of: hubtail rebuild --as-of 24h --into crm_yesterday")}
	case o.Schema == "" && !c.Bool("dry-run"):
		return o, usageError{errors.New("name a schema for the tables of then: hubtail rebuild --as-of " + joinWords([]string{c.String("as-of")}) + " --into crm_then")}
	}
	for _, arg := range c.Args().Slice() {
		o.Objects = append(o.Objects, splitList(arg)...)
	}
	return o, nil
}

// runAsOf is `hubtail rebuild --as-of`: the tables as they were, in a schema of their own. It touches neither the live ones
// nor anybody's consumer.
func runAsOf(c *cli.Context, p *parts) error {
	o, err := asOfOptions(c)
	if err != nil {
		return err
	}
	log, err := p.openPast(c.Context)
	if err != nil {
		return err
	}
	if o.Objects, err = log.objects(o.Objects); err != nil {
		return err
	}
	if o.At, err = log.moment(c.Context, c.String("as-of")); err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return planAsOf(c, log, o)
	}
	p.portal = log.Portal()
	s, pool, err := p.newSink(c.Context, log.js)
	if err != nil {
		return err
	}
	if !c.Bool("replace") {
		if err := p.requireNoTables(c.Context, pool, o.Schema); err != nil {
			return err
		}
	}
	walk := newWalkProgress(os.Stderr)
	o.Progress = func(done, total int64) { walk.see("as of then", done, total) }
	var result *sink.AsOf
	err = untilStopped(c.Context, func(ctx context.Context) (err error) {
		result, err = s.BuildAsOf(ctx, o)
		return err
	})
	walk.end()
	switch {
	case errors.Is(err, sink.ErrNotAsOf):
		return usageError{err}
	case err != nil:
		return adviseAsOf(err)
	case c.Bool("json"):
		return printJSON(c, result)
	}
	printAsOf(c.App.Writer, result)
	return nil
}

// requireNoTables refuses a schema that holds the tables of some moment: somebody may be looking at them. What a run left that
// was interrupted is nothing to keep.
func (p *parts) requireNoTables(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	held, found, err := sink.FindCopy(ctx, pool, p.schema, schema)
	if err != nil || !found || held.Kind != sink.CopyAsOf || held.Phase != "" {
		return err
	}
	var there bool
	if err := pool.QueryRow(ctx, `select to_regnamespace($1) is not null`, pgx.Identifier{schema}.Sanitize()).Scan(&there); err != nil || !there {
		return err
	}
	return usageError{fmt.Errorf("schema %s holds the tables as of message %d (%s): name another one, or replace them with --replace", schema, held.AsOfSeq, stamp(held.AsOf))}
}

// adviseAsOf adds what can be done where the log keeps too little.
func adviseAsOf(err error) error {
	var gone *history.NotCoveredError
	switch {
	case !errors.As(err, &gone):
		return err
	case gone.Nothing != "":
		return fmt.Errorf("%w; --as-of %d is the first that works", err, gone.Seq)
	case gone.Seq == 0:
		return fmt.Errorf("%w; --partial builds what is left", err)
	case len(gone.Gaps) == 0:
		return fmt.Errorf("%w; --as-of %d works, or name other object types, and --partial builds what was there", err, gone.Seq)
	}
	return fmt.Errorf("%w; --as-of %d works, and --partial leaves out what is gone", err, gone.Seq)
}

// asOfPlan is what `hubtail rebuild --as-of --dry-run` reports.
type asOfPlan struct {
	At       history.Moment `json:"at"`
	Messages int            `json:"messages"` // to be applied
	Erased   int            `json:"erased"`
	Missing  []history.Gap  `json:"missing"` // what --partial would leave out
	// Unloaded are object types whose first load had not ended.
	Unloaded []history.Unloaded `json:"not_loaded,omitempty"`
	// Forgotten says that the stream may have forgotten whole records.
	Forgotten string `json:"forgotten,omitempty"`
}

// planAsOf says what would be built.
func planAsOf(c *cli.Context, log *past, o sink.AsOfOptions) error {
	state, err := log.At(c.Context, o.At, o.Objects...)
	var gone *history.NotCoveredError
	if err != nil && !(errors.As(err, &gone) && o.Partial && gone.Nothing == "") {
		return adviseAsOf(err)
	}
	plan := asOfPlan{At: o.At, Messages: state.Subjects(), Erased: len(state.Purged()), Missing: append([]history.Gap{}, state.Gaps()...)}
	if gone != nil {
		plan.Forgotten, plan.Unloaded = gone.Forgotten, gone.Unloaded
	}
	if c.Bool("json") {
		return printJSON(c, plan)
	}
	printf(c.App.Writer, "as of %s: %s messages would be applied, one of each record and set of links; left out: %s\n",
		plan.At, thousands(int64(plan.Messages)), thousands(int64(len(plan.Missing))))
	printIncomplete(c.App.Writer, plan.Forgotten, plan.Unloaded)
	return nil
}

// printIncomplete says what the tables lack without anybody knowing which records.
func printIncomplete(w io.Writer, forgotten string, unloaded []history.Unloaded) {
	if forgotten != "" {
		printf(w, "not complete: %s\n", forgotten)
	}
	for _, u := range unloaded {
		printf(w, "not complete: %s %s were loaded later, until %s (sequence %d)\n", thousands(int64(u.Records)), u.Object, stamp(u.Since), u.Seq)
	}
}

// maxNamed is how many records are named one by one.
const maxNamed = 20

func printAsOf(w io.Writer, r *sink.AsOf) {
	what := "all object types"
	if len(r.Objects) > 0 {
		what = joinList(r.Objects)
	}
	printf(w, "schema %s holds %s as of %s: %s rows of records, from %s messages in %.1fs\n", r.Schema, what, r.At,
		thousands(r.Written), thousands(r.Messages), r.Seconds)
	if r.Erased > 0 {
		printf(w, "erased for privacy since, so that only tombstones are there: %s\n", thousands(int64(r.Erased)))
	}
	if len(r.Replaced) > 0 {
		printf(w, "the definitions of %s of that moment are no longer kept: the nearest later ones are used\n", joinList(r.Replaced))
	}
	printIncomplete(w, r.Forgotten, r.Unloaded)
	if len(r.Missing) == 0 {
		return
	}
	printf(w, "left out, because what they were then is no longer kept: %s\n", thousands(int64(len(r.Missing))))
	for _, g := range r.Missing[:min(maxNamed, len(r.Missing))] {
		printf(w, "  %s\n", g)
	}
	if more := len(r.Missing) - maxNamed; more > 0 {
		printf(w, "  and %s more (--json names all)\n", thousands(int64(more)))
	}
}
