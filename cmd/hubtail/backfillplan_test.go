package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
)

func TestBackfillDryRunSaysWhatItWouldCostAndWritesNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	var plan connector.BackfillPlan
	text := s.must(nil, "backfill", "--dry-run", "--json").stdout
	if err := json.Unmarshal([]byte(text), &plan); err != nil || len(plan.Objects) != 6 || plan.Seconds <= 0 || plan.Method == "" {
		t.Fatalf("the plan as JSON: %v\n%s", err, text)
	}
	says(t, s.must([]string{"NATS_URL=", "DATABASE_URL="}, "backfill", "--dry-run", "contacts").stdout,
		"RECORDS AND ROWS", "contacts  130", "requests are left", "into the log only", "estimate", "Nothing was written")
	if _, err := s.js.Stream(context.Background(), "HUBSPOT"); err != jetstream.ErrStreamNotFound {
		t.Errorf("there is a stream: %v", err)
	}
	if n := s.count("select count(*) from pg_namespace where nspname = 'hubspot'"); n != 0 {
		t.Error("it made a schema")
	}
	s.run(nil, "backfill", "--dry-run", "unicorns").complaint(t, exitUsage, "unicorns")

	var done passResult
	text = s.must(nil, "backfill", "--json").stdout
	if err := json.Unmarshal([]byte(text), &done); err != nil || len(done.Objects) != 6 || done.Portal != plan.Portal {
		t.Fatalf("the backfill as JSON: %v\n%s", err, text)
	}
	if d := float64(done.Requests - plan.Requests); max(d, -d) > 0.2*float64(done.Requests)+5 {
		t.Errorf("%d requests were planned, %d sent", plan.Requests, done.Requests)
	}
	records := int64(0)
	for _, o := range done.Objects {
		records += o.Counts.Created
	}
	if records != plan.Records {
		t.Errorf("%d records were planned, %d read", plan.Records, records)
	}
}

func TestBackfillShowsBarsOnATerminalAndNothingOfWhatIsSoonOverElsewhere(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.env = []string{"DATABASE_URL=", "HUBTAIL_OBJECTS=contacts,deals"}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "backfill")
	cmd.Dir, cmd.Env = t.TempDir(), s.environ()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 120})
	must(t, err)
	defer tty.Close()
	shown, _ := io.ReadAll(tty) // it ends with an error where the other side has closed it
	must(t, cmd.Wait())
	for _, want := range []string{"contacts   " + strings.Repeat("\u2588", barWidth), "130 / 130", "deals", "15 / 15", "100%  done"} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("%q is not in\n%s", want, shown)
		}
	}
	if r := s.must(nil, "sync"); strings.Contains(r.stderr, "contacts") {
		t.Errorf("sync says %q", r.stderr)
	}
}
