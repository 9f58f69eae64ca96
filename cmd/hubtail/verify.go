package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/sink"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "compare HubSpot, log and tables, record by record, and repair what differs",
		ArgsUsage: "[object...]",
		Description: "HubSpot is walked by list, 100 records a request, at the lowest priority; all values are compared, and associations\n" +
			"with --links (a request per 500 records and pair). It may run beside running sources and sinks and takes the lead from\n" +
			"none. Without a HubSpot token only log and tables are compared, without a database only HubSpot and log.\n" +
			"Of the tables, rows, links and what was erased are compared; not cursors, sync_logs, definitions, pipelines, dead letters.\n" +
			"--repair appends to the log what it lacks, and applies events of the log once more to rows that differ.\n" +
			"Exit code 0 if all is equal or repaired, 3 if differences remain. Every comparison has a row in\n" +
			"sync_logs, and those with HubSpot show as VERIFIED in hubtail status.\n\n" +
			"Examples:\n  hubtail verify                        every object type of --objects\n" +
			"  hubtail verify --repair contacts deals\n" +
			"  hubtail verify --json | jq '.reports[] | select(.kinds)'",
		Flags: flags(hubspotFlags, natsFlags, replicasFlag, postgresFlags, consumerFlag, objectFlags, dataDirFlag, comparisonFlags),
		Action: func(c *cli.Context) error {
			objects, err := chosenObjects(c)
			if err != nil {
				return err
			}
			return withParts(func(c *cli.Context, p *parts) error { return runVerify(c, p, objects) })(c)
		},
	}
}

var comparisonFlags = []cli.Flag{
	&cli.BoolFlag{Name: "repair", Usage: "repair what differs"},
	&cli.BoolFlag{Name: "links", Usage: "compare associations with HubSpot, too"},
	&cli.BoolFlag{Name: "full", Usage: "compare all values also where an object type has more properties than a URL holds: two requests per 100 records"},
	&cli.DurationFlag{Name: "patience", Usage: "how long a difference that bears no time (restored, recalculated, gone) may be one under way", Value: 10 * time.Second},
	&cli.BoolFlag{Name: "dry-run", Usage: "only say what it would do, and how many requests and rows it would read"},
	&cli.BoolFlag{Name: "json", Usage: "print JSON"},
}

// verification is what `hubtail verify` reports, and its JSON.
type verification struct {
	Portal      string               `json:"portal"`
	Reports     []*difference.Report `json:"reports"`
	Differences int64                `json:"differences"`
	Repaired    int64                `json:"repaired"`
	Remaining   int64                `json:"remaining"`
	Requests    int64                `json:"requests"` // to HubSpot
	Seconds     float64              `json:"seconds"`
	Skipped     []string             `json:"skipped"` // what was not compared, and why
}

// verifyRun is one run of the command.
type verifyRun struct {
	*parts
	c       *cli.Context
	js      jetstream.JetStream
	source  *connector.Source // nil without a token
	sink    *sink.Sink        // nil without a database
	objects []string
	walk    *walkProgress
	result  verification
}

func runVerify(c *cli.Context, p *parts, objects []string) error {
	v := &verifyRun{parts: p, c: c, objects: objects, walk: newWalkProgress(os.Stderr)}
	hubspot, database := p.hubspotToken != "" || p.hubspotRefreshToken != "", p.databaseURL != ""
	if !hubspot && !database {
		return usageError{errors.New("nothing to compare the log with: set HUBSPOT_ACCESS_TOKEN to compare it with HubSpot, DATABASE_URL to compare it with the tables, or both")}
	}
	var err error
	if v.js, err = p.connectLog(c.Context); err != nil {
		return err
	}
	if hubspot {
		if v.source, _, err = p.newSource(c.Context, v.js); err != nil {
			return err
		}
		v.result.Portal = v.source.Portal()
	} else {
		v.skip("HubSpot: no token given")
	}
	if database {
		if v.sink, err = v.openSink(c.Context); err != nil {
			return err
		}
	} else {
		v.skip("the tables: no database given")
	}
	if c.Bool("dry-run") {
		return v.plan()
	}
	started := time.Now()
	err = untilStopped(c.Context, v.run)
	v.result.Seconds = time.Since(started).Seconds()
	v.walk.end()
	v.sum()
	if errors.Is(err, context.Canceled) {
		return err
	}
	if printErr := v.print(); err == nil {
		err = printErr
	}
	if err != nil {
		return err
	}
	return v.verdict()
}

func (v *verifyRun) skip(what string) { v.result.Skipped = append(v.result.Skipped, what) }

// openSink opens the tables as they are: to verify is no reason to migrate them.
func (v *verifyRun) openSink(ctx context.Context) (*sink.Sink, error) {
	pool, err := v.openDatabase(ctx)
	if err != nil {
		return nil, err
	}
	return sink.New(ctx, sink.Config{
		Pool: pool, JetStream: v.js, Stream: v.stream, Portal: v.portal, Schema: v.schema, Consumer: v.consumer, Logger: v.log,
	})
}

// run compares, and signs it off. An embedded NATS server has no other sink than ours: it runs meanwhile.
func (v *verifyRun) run(ctx context.Context) error {
	if v.natsURL != "" || v.sink == nil {
		return v.compare(ctx)
	}
	applied := func(ctx context.Context) error { return waitApplied(ctx, v.js, v.stream, v.result.Portal, v.sink) }
	return passAndApply(ctx, v.sink, v.compare, applied)
}

func (v *verifyRun) compare(ctx context.Context) error {
	err := v.findPortal(ctx)
	if err != nil {
		return err
	}
	if v.source != nil {
		reports, walkErr := v.source.Verify(ctx, connector.VerifyOptions{
			Repair: v.c.Bool("repair"), Full: v.c.Bool("full"), Links: v.c.Bool("links"),
			Patience: v.patience(), Progress: v.walk.hubspot,
		}, v.objects...)
		v.result.Reports, err = reports, walkErr
	}
	if v.sink != nil && ctx.Err() == nil {
		v.awaitRepairs(ctx)
		reports, tableErr := v.sink.Verify(ctx, sink.VerifyOptions{
			Repair: v.c.Bool("repair"), Patience: min(v.patience(), 2*time.Second), Progress: v.walk.tables,
		}, v.tables()...)
		v.result.Reports, err = append(v.result.Reports, reports...), errors.Join(err, tableErr)
	}
	if err != nil {
		return err
	}
	return v.sign(ctx)
}

// patience returns --patience in the way that options have it: none is negative.
func (v *verifyRun) patience() time.Duration {
	if d := v.c.Duration("patience"); d > 0 {
		return d
	}
	return -1
}

// tables returns the object types to compare the tables of, by the names that they have in the log; none means all.
func (v *verifyRun) tables() []string {
	if v.source == nil {
		return v.objects
	}
	var names []string
	for _, r := range v.result.Reports {
		names = append(names, r.Object)
	}
	return names
}

// findPortal finds out which portal's log it is, where no token says so.
func (v *verifyRun) findPortal(ctx context.Context) error {
	if v.result.Portal == "" {
		v.result.Portal = v.portal
	}
	if v.result.Portal != "" {
		return nil
	}
	log, err := connector.ReadStatus(ctx, v.js, v.stream, "")
	if err != nil {
		return err
	}
	var portals []string
	for _, o := range log.Objects {
		portals = append(portals, o.Portal)
	}
	slices.Sort(portals)
	switch portals = slices.Compact(portals); len(portals) {
	case 1:
		v.result.Portal = portals[0]
		return nil
	case 0:
		return fmt.Errorf("stream %s is empty: run a source first", v.stream)
	}
	return usageError{fmt.Errorf("stream %s has several portals (%s): name one with --portal", v.stream, joinList(portals))}
}

// repairsApplied is how long a running sink may take to apply what was appended to the log as a repair.
const repairsApplied = 30 * time.Second

// awaitRepairs gives the sink time to apply the repairs of the log, ours all that it has. What it has not applied then
// counts as too new.
func (v *verifyRun) awaitRepairs(ctx context.Context) {
	if v.sum(); v.result.Repaired == 0 && v.natsURL != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, repairsApplied)
	defer cancel()
	last, err := lastOf(ctx, v.js, v.stream, v.result.Portal)
	if err != nil {
		return
	}
	_ = waitUntil(ctx, 100*time.Millisecond, func() bool {
		position, err := v.sink.Applied(ctx)
		return err == nil && position >= last
	})
}

// sign records a run per object type, which the sink turns into a row of sync_logs.
func (v *verifyRun) sign(ctx context.Context) error {
	byObject := map[string][]*difference.Report{}
	var order []string
	for _, r := range v.result.Reports {
		if r.Compared == 0 && r.Note != "" {
			continue // nothing was compared
		}
		if byObject[r.Object] == nil {
			order = append(order, r.Object)
		}
		byObject[r.Object] = append(byObject[r.Object], r)
	}
	for _, object := range order {
		if err := connector.PublishRun(ctx, v.js, v.stream, connector.VerifyRun(v.result.Portal, byObject[object]...)); err != nil {
			return err
		}
	}
	return nil
}

// sum adds up the reports.
func (v *verifyRun) sum() {
	r := &v.result
	r.Differences, r.Repaired, r.Requests = 0, 0, 0
	for _, report := range r.Reports {
		r.Differences += report.Differences()
		r.Repaired += report.Repaired
		r.Requests += report.APICalls
	}
	r.Remaining = r.Differences - r.Repaired
}

// verdict is the exit code: unhealthy if differences remain, or if what was to be compared could not be.
func (v *verifyRun) verdict() error {
	var never []string
	for _, r := range v.result.Reports {
		if r.Note != "" && r.Compared == 0 {
			never = append(never, r.Object)
		}
	}
	switch {
	case v.result.Remaining > 0 && !v.c.Bool("repair"):
		return unhealthyError{fmt.Errorf("%d differences; repair them with --repair", v.result.Remaining)}
	case v.result.Remaining > 0:
		return unhealthyError{fmt.Errorf("%d differences remain", v.result.Remaining)}
	case len(never) > 0:
		return unhealthyError{fmt.Errorf("not compared: %s", strings.Join(never, ", "))}
	}
	return nil
}

func (v *verifyRun) printJSON() error {
	return printJSON(v.c, v.result)
}
