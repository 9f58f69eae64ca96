package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

var staleFlag = &cli.DurationFlag{Name: "stale", Usage: "a watermark older than this needs attention", Value: 15 * time.Minute, EnvVars: env("HUBTAIL_STALE")}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "how far, how fresh, how many, what failed, how much quota",
		Description: "Reads the log and the database; asks HubSpot nothing and needs no running source or sink. Exit code 3 if something\n" +
			"needs attention; it says what.\n\n" +
			"Example:\n  hubtail status --json | jq '.objects[] | {object, complete_through, rows}'",
		Flags: flags(natsFlags, postgresFlags, consumerFlag, portalFlag,
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			staleFlag),
		Before: noArguments,
		Action: withParts(runStatus),
	}
}

// status is what `hubtail status` reports, and its JSON.
type status struct {
	At     time.Time            `json:"at"`
	Log    *connector.LogStatus `json:"log,omitempty"`
	Tables *tablesStatus        `json:"tables,omitempty"`
	// Leaders say who reads the portals of the log.
	Leaders []portalLeader `json:"leaders,omitempty"`
	// Sinks are those that run and answer, Reader what their consumer says.
	Sinks  []sink.Report `json:"sinks,omitempty"`
	Reader *readerStatus `json:"reader,omitempty"`
	// Quota is as of the newest cursor.
	Quota    *schemas.Quota `json:"quota,omitempty"`
	Objects  []objectStatus `json:"objects"`
	Problems []string       `json:"problems"`

	lacksLog, lacksTables bool                                  // they were not configured
	end                   func(context.Context) (uint64, error) // asks for the log's last sequence; set with Log
}

// objectStatus joins what the log and the tables know of one object type.
type objectStatus struct {
	Portal string `json:"portal,omitempty"`
	Object string `json:"object"`
	// CompleteThrough is the log's watermark, TablesThrough how far of that the tables are.
	CompleteThrough time.Time `json:"complete_through,omitzero"`
	TablesThrough   time.Time `json:"tables_through,omitzero"`
	// Settle is what was learned of how late HubSpot's search is; CompleteThrough trails by it.
	Settle *schemas.Settle `json:"settle,omitempty"`
	// Records is how many live records the log has, 0 if unknown; Reread the last walk over them for calculated values.
	Records int64           `json:"records,omitempty"`
	Reread  *schemas.Reread `json:"reread,omitempty"`
	// BackfillDone and BackfillTotal count the records of a full read under way.
	BackfillDone  int64 `json:"backfill_done,omitempty"`
	BackfillTotal int64 `json:"backfill_total,omitempty"`
	// Rows and DeadLetters are of the tables; nil if these were not asked.
	Rows        *int64  `json:"rows,omitempty"`
	DeadLetters *int64  `json:"dead_letters,omitempty"`
	LastRun     *runRow `json:"last_run,omitempty"`
	// Links is how far the links of its records were read.
	Links *schemas.LinkProgress `json:"links,omitempty"`
	// Verified is the last comparison with HubSpot: the source's own, or by `hubtail verify`.
	Verified *schemas.Verified `json:"verified,omitempty"`
	// Webhooks is what they told of since the source started; nil if nothing.
	Webhooks *schemas.Webhooks `json:"webhooks,omitempty"`

	state string
	at    time.Time // when the source last said how far it is
}

// runRow is the last finished run of an object type.
type runRow struct {
	Type        string    `json:"type"`
	Status      string    `json:"status"`
	CompletedAt time.Time `json:"completed_at"`
	Error       string    `json:"error,omitempty"`
}

func runStatus(c *cli.Context, p *parts) error {
	if p.natsURL == "" && p.databaseURL == "" {
		return usageError{errors.New("nothing to look at: set NATS_URL, DATABASE_URL or both")}
	}
	s := p.readStatus(c.Context, c.Duration("stale"))
	if c.Bool("json") {
		if err := printJSON(c, s); err != nil {
			return err
		}
	} else {
		s.print(c.App.Writer)
	}
	if len(s.Problems) > 0 {
		return unhealthyError{fmt.Errorf("%d thing(s) need attention", len(s.Problems))}
	}
	return nil
}

// readStatus asks the log and the database; what cannot be reached is a problem, not a failure.
func (p *parts) readStatus(ctx context.Context, stale time.Duration) *status {
	s := &status{At: time.Now().UTC(), Objects: []objectStatus{}, Problems: []string{}}
	if p.natsURL != "" {
		if err := p.readLog(ctx, s); err != nil {
			s.problem("log: %v", err)
		}
	}
	if p.databaseURL != "" {
		if err := p.readTables(ctx, s); err != nil {
			s.problem("tables: %v", err)
		}
		s.lookAgain(ctx)
	}
	s.lacksLog, s.lacksTables = p.natsURL == "", p.databaseURL == ""
	s.conclude(stale)
	return s
}

// conclude says what follows from what was read.
func (s *status) conclude(stale time.Duration) {
	for i := range s.Objects {
		if o := &s.Objects[i]; s.Log == nil {
			o.CompleteThrough = o.TablesThrough // the log is at least as far
		}
	}
	s.judge(stale)
}

func (s *status) problem(format string, args ...any) {
	s.Problems = append(s.Problems, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

func (p *parts) readLog(ctx context.Context, s *status) error {
	js, err := p.connectNATS(ctx, false)
	if err != nil {
		return err
	}
	return p.fillLog(ctx, js, s)
}

// fillLog fills in what the log says.
func (p *parts) fillLog(ctx context.Context, js jetstream.JetStream, s *status) error {
	log, err := connector.ReadStatus(ctx, js, p.stream, p.portal)
	if err != nil {
		return err
	}
	s.Log = &log
	s.end = func(ctx context.Context) (uint64, error) {
		stream, err := js.Stream(ctx, p.stream)
		if err != nil {
			return 0, err
		}
		return stream.CachedInfo().State.LastSeq, nil
	}
	s.readLeaders(ctx, js)
	s.readSinks(ctx, js, p.stream, p.consumer)
	var newest time.Time
	for _, l := range log.Objects {
		if l.Cursor.Quota != nil && l.Cursor.At.After(newest) {
			newest, s.Quota = l.Cursor.At, l.Cursor.Quota
		}
		o := objectStatus{Portal: l.Portal, Object: l.Object, CompleteThrough: l.Cursor.CompleteThrough, Webhooks: l.Cursor.Webhooks, Links: l.Cursor.Links, Verified: l.Cursor.Verified, at: l.Cursor.At}
		o.Settle, o.Records, o.Reread = l.Cursor.Settle, l.Cursor.Records, l.Cursor.Reread
		if b := l.Cursor.Backfill; b != nil {
			o.BackfillDone, o.BackfillTotal = b.Counts.Fetched, b.Total
		}
		if l.LastRun != nil {
			o.LastRun = &runRow{l.LastRun.SyncType, l.LastRun.Status, l.LastRun.CompletedAt, l.LastRun.Error}
		}
		s.Objects = append(s.Objects, o)
	}
	return s.readVerified(ctx, js, p.stream)
}

// lookAgain asks the log for its end once more if the tables, which were asked after it, are ahead of what it said: they
// may just have been given what came in between.
func (s *status) lookAgain(ctx context.Context) {
	if s.Log == nil || s.Tables == nil || s.Tables.Position <= s.Log.LastSeq {
		return
	}
	if last, err := s.end(ctx); err == nil {
		s.Log.LastSeq = max(s.Log.LastSeq, last)
	}
}

// judge finds what needs attention.
func (s *status) judge(stale time.Duration) {
	if s.Log != nil && s.Tables != nil && s.Tables.Position > s.Log.LastSeq {
		s.problem("the tables are ahead of the log (%d > %d): the stream was created anew, or restored: run `hubtail rebuild`", s.Tables.Position, s.Log.LastSeq)
	}
	if q := s.Quota; q != nil {
		if q.ParkedUntil.After(s.At) {
			s.problem("HubSpot is not asked before %s: %s", q.ParkedUntil.Format(time.DateTime), q.ParkedFor)
		}
		if q.Breaker == "open" {
			s.problem("the circuit breaker is open: HubSpot keeps failing")
		}
	}
	letters := int64(0) // of object types
	for i := range s.Objects {
		o := &s.Objects[i]
		dead := orZero(o.DeadLetters)
		letters += dead
		behind := s.At.Sub(o.through(s.Tables != nil))
		switch {
		case o.BackfillTotal > 0 || o.BackfillDone > 0:
			o.state = "full read"
			o.judgeStill(s, stale)
		case o.through(s.Tables != nil).IsZero():
			o.state = "no watermark yet"
			o.judgeStill(s, stale)
		case behind > stale:
			o.state = "stale"
			s.problem("%s is complete through %s only: is the source running, is the sink?", o.Object, o.through(s.Tables != nil).Format(time.DateTime))
		default:
			o.state = "live"
		}
		if o.LastRun != nil && o.LastRun.Status == "failed" {
			s.problem("the last run of %s failed: %s", o.Object, o.LastRun.Error)
		}
		if dead > 0 {
			s.problem("%s has %d dead letters: see `hubtail dead-letters list --object %s`", o.Object, dead, o.Object)
		}
	}
	s.judgeLinks()
	s.judgeVerified()
	s.judgeCopies()
	s.judgeSinks()
	if s.Tables != nil && s.Tables.DeadLetters > letters {
		s.problem("%d dead letters are of no object type: see `hubtail dead-letters list`", s.Tables.DeadLetters-letters)
	}
}

// judgeStill finds a first read that nobody goes on with.
func (o *objectStatus) judgeStill(s *status, stale time.Duration) {
	if !o.at.IsZero() && s.At.Sub(o.at) > stale {
		s.problem("reading %s stands still since %s: is the source running, is the sink?", o.Object, o.at.Format(time.DateTime))
	}
}

// through returns the watermark that counts: the tables' where there are tables.
func (o objectStatus) through(tables bool) time.Time {
	if tables {
		return o.TablesThrough
	}
	return o.CompleteThrough
}

func (s *status) print(w io.Writer) {
	if s.Log != nil {
		printf(w, "log     stream %s: %s messages, %s, last at %s\n", s.Log.Stream, thousands(int64(s.Log.Messages)), bytesText(s.Log.Bytes), ago(s.At, s.Log.LastTime))
	}
	s.printLeaders(w)
	s.printSinks(w)
	if s.lacksLog {
		printf(w, "log     not asked: there is no NATS_URL (`hubtail up --nats-listen 127.0.0.1:4222` lets others read its log: nats://127.0.0.1:4222)\n")
	}
	if s.lacksTables {
		printf(w, "tables  not asked: there is no DATABASE_URL\n")
	}
	if s.Tables != nil {
		printf(w, "tables  schema %s: applied through %d", s.Tables.Schema, s.Tables.Position)
		if s.Log != nil {
			printf(w, " of %d, %s messages behind", s.Log.LastSeq, thousands(int64(s.Log.LastSeq-min(s.Log.LastSeq, s.Tables.Position))))
		}
		printf(w, "\n")
		s.Tables.printCopies(w, s.At)
		s.Tables.printColumnNotes(w)
	}
	if q := s.Quota; q != nil {
		printf(w, "quota   %s requests since the source started, %d refused (429)", thousands(q.Requests), q.RateLimited)
		if q.DailyLimit > 0 && q.Remaining != nil {
			printf(w, "; %s of the account's %s left today", thousands(int64(*q.Remaining)), thousands(int64(q.DailyLimit)))
		}
		printf(w, "\n")
	}
	if len(s.Objects) > 0 {
		s.printObjects(w)
	}
	if len(s.Problems) > 0 {
		printf(w, "\n! %s\n", strings.Join(s.Problems, "\n! "))
	}
}

func (s *status) printObjects(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printf(table, "\nOBJECT\tSTATE\tROWS\tCOMPLETE THROUGH\tTABLES THROUGH\tLAST RUN\tDEAD LETTERS\tLINKS READ\tVERIFIED\n")
	for _, o := range s.Objects {
		run, state := "-", o.state
		if o.LastRun != nil {
			run = fmt.Sprintf("%s %s, %s", o.LastRun.Type, o.LastRun.Status, ago(s.At, o.LastRun.CompletedAt))
		}
		if o.BackfillTotal > 0 {
			state += fmt.Sprintf(" %d%%", 100*o.BackfillDone/o.BackfillTotal)
		}
		printf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", o.Object, state, orDash(o.Rows), ago(s.At, o.CompleteThrough), ago(s.At, o.TablesThrough), run, orDash(o.DeadLetters), o.linksText(s.At), o.verifiedText(s.At))
	}
	_ = table.Flush()
}

func orZero(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func orDash(n *int64) string {
	if n == nil {
		return "-"
	}
	return thousands(*n)
}

// ago writes how long before now something was.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return now.Sub(at).Round(time.Second).String() + " ago"
}

func bytesText(n uint64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
