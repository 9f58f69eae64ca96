package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/internal/difference"
)

// print writes the result: a line per object type and hop, and the first differences of each kind.
func (v *verifyRun) print() error {
	if v.c.Bool("json") {
		return v.printJSON()
	}
	w := v.c.App.Writer
	for _, what := range v.result.Skipped {
		printf(w, "not compared with %s\n", what)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printf(table, "OBJECT\tHOP\tCOMPARED\tTOO NEW\tDEAD LETTERS\tDIFFERENCES\tREPAIRED\tREQUESTS\n")
	for _, r := range v.result.Reports {
		printf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Object, hopName(r.Hop), thousands(r.Compared), thousands(r.Pending),
			thousands(r.Explained), kindsText(r), thousands(r.Repaired), thousands(r.APICalls))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range v.result.Reports {
		printReport(w, r)
	}
	printf(w, "\n%s differences, %s repaired; %s requests, %s\n", thousands(v.result.Differences), thousands(v.result.Repaired),
		thousands(v.result.Requests), time.Duration(v.result.Seconds*float64(time.Second)).Round(100*time.Millisecond))
	return nil
}

func hopName(h difference.Hop) string {
	if h == difference.LogToTables {
		return "log > tables"
	}
	return "HubSpot > log"
}

func kindsText(r *difference.Report) string {
	if len(r.Kinds) == 0 {
		return "none"
	}
	var parts []string
	for _, kind := range r.Found() {
		parts = append(parts, fmt.Sprintf("%s %s", thousands(r.Kinds[kind]), kind))
	}
	return strings.Join(parts, ", ")
}

// printReport writes what a line of the table has no room for.
func printReport(w io.Writer, r *difference.Report) {
	if r.Note != "" {
		printf(w, "\n%s, %s: %s\n", r.Object, hopName(r.Hop), r.Note)
	}
	if r.StampsOnly {
		printf(w, "\n%s: modification times were compared, not values: it has more properties than a URL holds (--full compares them)\n", r.Object)
	}
	if len(r.Examples) == 0 {
		return
	}
	printf(w, "\n%s, %s:\n", r.Object, hopName(r.Hop))
	examples := slices.Clone(r.Examples)
	slices.SortStableFunc(examples, func(a, b difference.Difference) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	for _, d := range examples {
		printf(w, "  %-10s %s  %s\n", d.Kind, d.ID, d.Reason)
	}
	if more := r.Differences() - int64(len(examples)); more > 0 {
		printf(w, "  and %s more\n", thousands(more))
	}
}

// plan says what the command would read.
func (v *verifyRun) plan() error {
	plans := []connector.VerifyPlan{}
	if v.source != nil {
		var err error
		plans, err = v.source.PlanVerify(v.c.Context, connector.VerifyOptions{Full: v.c.Bool("full"), Links: v.c.Bool("links")}, v.objects...)
		if err != nil {
			return err
		}
	}
	if v.c.Bool("json") {
		return printJSON(v.c, plans)
	}
	if v.source == nil {
		printf(v.c.App.Writer, "no requests to HubSpot: no token given. The last event of every record is compared with its row.\n")
		return nil
	}
	table := tabwriter.NewWriter(v.c.App.Writer, 0, 0, 2, ' ', 0)
	printf(table, "OBJECT\tRECORDS AND ROWS\tREQUESTS, ABOUT\n")
	var records, requests int64
	for _, p := range plans {
		printf(table, "%s\t%s\t%s\n", p.Object, thousands(p.Records), thousands(p.Requests))
		records, requests = records+p.Records, requests+p.Requests
	}
	printf(table, "in all\t%s\t%s\n", thousands(records), thousands(requests))
	return table.Flush()
}

// walkProgress shows how far long comparisons are, on standard error: bars on a terminal, else a line now and then. It is
// safe for concurrent use.
type walkProgress struct {
	mu   sync.Mutex // guards the fields below
	bars []bar
	p    progress
	last time.Time
}

func newWalkProgress(f *os.File) *walkProgress {
	return &walkProgress{last: time.Now(), p: progress{
		w: f, terminal: term.IsTerminal(int(f.Fd())), width: stdoutWidth, last: time.Now(), // nothing of what is over soon
	}}
}

func (w *walkProgress) hubspot(object string, done, total int64) { w.see(object, done, total) }

func (w *walkProgress) tables(object string, done int64) { w.see(object+" rows", done, done) }

func (w *walkProgress) see(name string, done, total int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.bars, func(b bar) bool { return b.object == name })
	if i < 0 {
		i = len(w.bars)
		w.bars = append(w.bars, bar{object: name})
	}
	w.bars[i].done, w.bars[i].total = done, total
	const often = 200 * time.Millisecond
	if time.Since(w.last) >= often {
		w.last = time.Now()
		w.p.show(w.bars)
	}
}

// end leaves what is on the screen.
func (w *walkProgress) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.p.end()
}
