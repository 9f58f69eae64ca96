package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "look at everything a run depends on, and name what is wrong and how to mend it",
		Description: "HubSpot token and scopes, quota, NATS and its permissions, the stream, database, rights, tables, webhooks, clocks and disk.\n" +
			"It changes nothing and may run beside everything else; what is not configured is not asked. HubSpot is asked 2 requests,\n" +
			"2 per object type (1 for owners and with all) and 1 where custom types are named, 13 with the default --objects; --no-hubspot: none.\n" +
			"A webhook receiver is sent an empty delivery, signed, and one that is signed wrongly. Exit code 3 if something fails.\n\n" +
			"Examples:\n  hubtail doctor\n" +
			"  hubtail doctor --json | jq '.findings[] | select(.severity != \"ok\")'",
		Flags: flags(hubspotFlags, natsFlags, replicasFlag, postgresFlags, consumerFlag, objectFlags, webhookFlags, dataDirFlag,
			&cli.BoolFlag{Name: "no-hubspot", Usage: "ask HubSpot nothing"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"}),
		Before: noArguments,
		Action: withParts(runDoctor),
	}
}

// severity is how bad a finding is.
type severity string

const (
	severityOK   severity = "ok"
	severityWarn severity = "warn"      // it works, and will not for ever or not as well as it could
	severityFail severity = "fail"      // it does not work
	severityNone severity = "not asked" // it is not configured, or cannot be seen from here
)

// finding is what a check found out.
type finding struct {
	Part     string   `json:"part"`
	Check    string   `json:"check"`
	Severity severity `json:"severity"`
	What     string   `json:"what"`
	Why      string   `json:"why,omitempty"` // it matters
	Fix      string   `json:"fix,omitempty"` // the command or the click
}

// findings collects those of one check.
type findings struct {
	check *check
	list  []finding
}

func (f *findings) add(s severity, what, why, fix string) {
	oneLine := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	f.list = append(f.list, finding{f.check.part, f.check.name, s, oneLine(what), oneLine(why), oneLine(fix)})
}

func (f *findings) ok(format string, args ...any) {
	f.add(severityOK, fmt.Sprintf(format, args...), "", "")
}
func (f *findings) none(format string, args ...any) {
	f.add(severityNone, fmt.Sprintf(format, args...), "", "")
}
func (f *findings) warn(what, why, fix string) { f.add(severityWarn, what, why, fix) }
func (f *findings) fail(what, why, fix string) { f.add(severityFail, what, why, fix) }

// healthy reports whether nothing is wrong so far.
func (f *findings) healthy() bool {
	return !slices.ContainsFunc(f.list, func(one finding) bool { return one.Severity == severityWarn || one.Severity == severityFail })
}

// check looks at one thing. It is bounded in time and stops no other: what several need is made once, by whoever asks first.
type check struct {
	part, name string
	run        func(context.Context, *doctor, *findings)
}

// checks is the table of all checks, in the order of the report.
var checks = []check{
	{"hubspot", "token", checkToken},
	{"hubspot", "scopes", checkScopes},
	{"hubspot", "quota", checkQuota},
	{"hubspot", "search", checkSearch},
	{"hubspot", "clock", checkHubSpotClock},
	{"nats", "connection", checkNATS},
	{"nats", "jetstream", checkJetStream},
	{"nats", "permissions", checkPermissions},
	{"nats", "message size", checkMessageSize},
	{"log", "stream", checkStream},
	{"log", "settings", checkStreamSettings},
	{"log", "size", checkStreamSize},
	{"log", "source", checkLeader},
	{"log", "clock", checkNATSClock},
	{"database", "connection", checkDatabase},
	{"database", "pooler", checkPooler},
	{"database", "version", checkPostgresVersion},
	{"database", "rights", checkRights},
	{"database", "schema", checkMigrations},
	{"database", "closed", checkClosed},
	{"database", "limits", checkPostgresLimits},
	{"database", "size", checkDatabaseSize},
	{"database", "clock", checkPostgresClock},
	{"tables", "position", checkPosition},
	{"tables", "sink", checkConsumer},
	{"webhooks", "settings", checkWebhookSettings},
	{"webhooks", "delivery", checkWebhookDelivery},
	{"machine", "secrets", checkSecretFiles},
	{"machine", "data", checkDataDir},
}

// checkBound is how long a check may take.
const checkBound = 10 * time.Second

// examination is what `hubtail doctor` reports, and its JSON.
type examination struct {
	At       time.Time `json:"at"`
	Worst    severity  `json:"worst"`
	Requests int64     `json:"hubspot_requests"`
	Findings []finding `json:"findings"`
}

func runDoctor(c *cli.Context, p *parts) error {
	d := newDoctor(c.Context, p, c.String("env-file"), !c.Bool("no-hubspot"))
	defer d.close()
	if !d.asksHubSpot() && p.natsURL == "" && p.databaseURL == "" && p.webhookURL == "" && p.webhookAddr == "" {
		return usageError{errors.New("nothing to look at: set HUBSPOT_ACCESS_TOKEN, NATS_URL or DATABASE_URL; `hubtail init` asks for them and writes .env")}
	}
	e := d.examine(c.Context)
	if c.Context.Err() != nil {
		return c.Context.Err()
	}
	if c.Bool("json") {
		if err := printJSON(c, e); err != nil {
			return err
		}
	} else {
		e.print(c.App.Writer)
	}
	if n := e.count(severityFail); n > 0 {
		return unhealthyError{fmt.Errorf("%d of %d checks fail", n, len(e.Findings))}
	}
	return nil
}

// examine runs all checks at once.
func (d *doctor) examine(ctx context.Context) examination {
	found := make([]findings, len(checks))
	var running sync.WaitGroup
	for i := range checks {
		found[i].check = &checks[i]
		running.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, checkBound)
			defer cancel()
			checks[i].run(bounded, d, &found[i])
		})
	}
	running.Wait()
	e := examination{At: time.Now().UTC(), Worst: severityOK, Requests: d.wire.requests.Load(), Findings: []finding{}}
	for _, f := range found {
		for _, one := range f.list {
			one.What, one.Why, one.Fix = d.redact(one.What), d.redact(one.Why), d.redact(one.Fix)
			e.Findings = append(e.Findings, one)
		}
	}
	for _, s := range []severity{severityWarn, severityFail} {
		if e.count(s) > 0 {
			e.Worst = s
		}
	}
	return e
}

func (e examination) count(s severity) (n int) {
	for _, f := range e.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func (e examination) print(w io.Writer) {
	marks := map[severity]string{severityOK: "ok  ", severityWarn: "WARN", severityFail: "FAIL", severityNone: "-   "}
	part := ""
	for _, f := range e.Findings {
		if f.Part != part {
			part = f.Part
			printf(w, "%s\n", part)
		}
		printf(w, "  %s  %-12s  %s\n", marks[f.Severity], f.Check, f.What)
		if f.Why != "" {
			printf(w, "        %-12s  why: %s\n", "", f.Why)
		}
		if f.Fix != "" {
			printf(w, "        %-12s  do:  %s\n", "", f.Fix)
		}
	}
	printf(w, "\n%d ok, %d to look at, %d failing; %d requests to HubSpot\n",
		e.count(severityOK), e.count(severityWarn), e.count(severityFail), e.Requests)
}
