package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/sink"
)

// asOfFlags are what `hubtail rebuild` takes to build the tables of the past.
var asOfFlags = []cli.Flag{
	&cli.StringFlag{Name: "as-of", Usage: "build the tables as they were at this `MOMENT`: a duration ago, a time, a sequence of the log; needs --into"},
	&cli.StringFlag{Name: "into", Usage: "`SCHEMA` for --as-of: a new one, or one that holds the tables of another moment, which are replaced"},
	&cli.BoolFlag{Name: "partial", Usage: "with --as-of: leave out records whose versions of then the log no longer keeps, and name them, instead of refusing"},
}

// isAsOf reports whether a rebuild is one of the past.
func isAsOf(c *cli.Context) bool { return c.IsSet("as-of") || c.IsSet("into") || c.IsSet("partial") }

// rebuildAsOf is `hubtail rebuild --as-of`: the tables as they were, in a schema of their own. It touches neither the live
// ones nor anybody's consumer.
func rebuildAsOf(c *cli.Context, p *parts, names []string) error {
	schema := c.String("into")
	switch {
	case c.String("as-of") == "":
		return usageError{errors.New("--into and --partial go with --as-of: hubtail rebuild --as-of 24h --into crm_yesterday")}
	case schema == "":
		return usageError{errors.New("name a schema for the tables of then: hubtail rebuild --as-of " + joinWords([]string{c.String("as-of")}) + " --into crm_then")}
	}
	log, err := p.openPast(c.Context)
	if err != nil {
		return err
	}
	objects, err := log.objects(names)
	if err != nil {
		return err
	}
	at, err := log.moment(c.Context, c.String("as-of"))
	if err != nil {
		return err
	}
	p.portal = log.Portal()
	s, _, err := p.newSink(c.Context, log.js)
	if err != nil {
		return err
	}
	walk := newWalkProgress(os.Stderr)
	result, err := s.BuildAsOf(c.Context, sink.AsOfOptions{
		Schema: schema, At: at, Objects: objects, Partial: c.Bool("partial"),
		Progress: func(done, total int64) { walk.see("as of then", done, total) },
	})
	walk.end()
	var gone *history.NotCoveredError
	switch {
	case errors.As(err, &gone):
		return fmt.Errorf("%w; --as-of %d works, and --partial leaves out what is gone", err, gone.Seq)
	case errors.Is(err, sink.ErrNotAsOf):
		return usageError{err}
	case err != nil:
		return err
	}
	if c.Bool("json") {
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetIndent("", "  ")
		return encoder.Encode(result)
	}
	printAsOf(c.App.Writer, result)
	return nil
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
		printf(w, "%s records were erased for privacy since: their rows are tombstones\n", thousands(int64(r.Erased)))
	}
	if len(r.Replaced) > 0 {
		printf(w, "the definitions of %s of that moment are no longer kept: the nearest later ones are used\n", joinList(r.Replaced))
	}
	if len(r.Missing) == 0 {
		return
	}
	printf(w, "%s left out, because what they were then is no longer kept:\n", thousands(int64(len(r.Missing))))
	for _, g := range r.Missing[:min(maxNamed, len(r.Missing))] {
		printf(w, "  %s\n", g)
	}
	if more := len(r.Missing) - maxNamed; more > 0 {
		printf(w, "  and %s more (--json names all)\n", thousands(int64(more)))
	}
}
