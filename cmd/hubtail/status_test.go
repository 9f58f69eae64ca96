package main

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector"
)

// statusText returns the line of an object type.
func statusLine(t *testing.T, r result, object string) string {
	t.Helper()
	line := regexp.MustCompile(`(?m)^` + object + ` .*$`).FindString(r.stdout)
	if line == "" {
		t.Errorf("no line for %s:\n%s", object, r.stdout)
	}
	return line
}

func TestStatusOfAHealthyPortal(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.must(nil, "sync")
	s.simulator.ResetStats()
	for name, test := range map[string]struct {
		env         []string
		log, tables bool
	}{
		"both":     {nil, true, true},
		"log":      {[]string{"DATABASE_URL="}, true, false},
		"database": {[]string{"NATS_URL="}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			env := append(test.env, "HUBSPOT_ACCESS_TOKEN=") // HubSpot is not asked
			r := s.run(env, "status")
			if r.code != exitDone || r.stderr != "" || strings.Contains(r.stdout, "!") {
				t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if strings.Contains(r.stdout, "log     stream HUBSPOT: ") != test.log || strings.Contains(r.stdout, "tables  schema hubspot: ") != test.tables {
				t.Errorf("not what was asked for:\n%s", r.stdout)
			}
			if strings.Contains(r.stdout, "log     not asked: there is no NATS_URL") == test.log || strings.Contains(r.stdout, "tables  not asked: there is no DATABASE_URL") == test.tables {
				t.Errorf("it does not say what it did not ask:\n%s", r.stdout)
			}
			for object, rows := range map[string]string{"contacts": "130", "companies": "20", "deals": "15", "tickets": "10", "calls": "30", "owners": "5"} {
				line := statusLine(t, r, object)
				if !strings.Contains(line, "live") || test.tables && !strings.Contains(line, " "+rows+" ") || !strings.Contains(line, "success") {
					t.Errorf("%s", line)
				}
			}
			requireStatusJSON(t, s.run(env, "status", "--json"), test.log, test.tables)
		})
	}
	if n := s.simulator.Stats().Requests; n != 0 {
		t.Errorf("status asked HubSpot %d times", n)
	}
}

// requireStatusJSON reads the JSON as a script does, by its names.
func requireStatusJSON(t *testing.T, r result, log, tables bool) {
	t.Helper()
	var s struct {
		At  time.Time
		Log *struct {
			Stream             string
			Messages, Subjects uint64
			LastSeq            uint64 `json:"last_seq"`
		}
		Tables *struct {
			Schema      string
			Position    uint64
			DeadLetters int64 `json:"dead_letters"`
		}
		Quota *struct {
			Requests   int64
			DailyLimit int `json:"daily_limit"`
		}
		Objects []struct {
			Object          string
			CompleteThrough time.Time `json:"complete_through"`
			TablesThrough   time.Time `json:"tables_through"`
			Rows            *int64
			DeadLetters     *int64                         `json:"dead_letters"`
			LastRun         *struct{ Type, Status string } `json:"last_run"`
		}
		Problems []string
	}
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || r.code != exitDone || r.stderr != "" {
		t.Fatalf("exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	if (s.Log != nil) != log || (s.Tables != nil) != tables || s.Problems == nil || len(s.Problems) != 0 || len(s.Objects) != len(portalObjects) {
		t.Errorf("%+v", s)
	}
	if log && (s.Log.Stream != "HUBSPOT" || s.Log.Messages < 200 || s.Log.Subjects < 200 || s.Quota == nil || s.Quota.Requests == 0) {
		t.Errorf("log %+v, quota %+v", s.Log, s.Quota)
	}
	if tables && (s.Tables.Schema != "hubspot" || s.Tables.Position == 0 || log && s.Tables.Position > s.Log.LastSeq) {
		t.Errorf("tables %+v", s.Tables)
	}
	for _, o := range s.Objects {
		if s.At.Sub(o.CompleteThrough) > 5*time.Minute || tables && (s.At.Sub(o.TablesThrough) > 5*time.Minute || o.Rows == nil || *o.Rows == 0 || o.DeadLetters == nil || *o.DeadLetters != 0) ||
			!tables && (o.Rows != nil || o.DeadLetters != nil) || o.LastRun == nil || o.LastRun.Status != "success" || !slices.Contains(portalObjects, o.Object) {
			t.Errorf("%+v", o)
		}
	}
}

// TestStatusSaysWhatNeedsAttention makes one thing wrong at a time.
func TestStatusSaysWhatNeedsAttention(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	unhealthy := func(env []string, args []string, problems ...string) {
		t.Helper()
		r := s.run(env, append([]string{"status"}, args...)...)
		if r.code != exitUnhealthy || strings.Count(r.stdout, "\n! ") != len(problems) || !strings.Contains(r.stderr, "attention") {
			t.Errorf("%v: exit code %d, want %d and %d problems\n%s%s", args, r.code, exitUnhealthy, len(problems), r.stdout, r.stderr)
		}
		for _, problem := range problems {
			if !regexp.MustCompile(`(?m)^! .*` + problem).MatchString(r.stdout) {
				t.Errorf("%v: it does not say %q\n%s", args, problem, r.stdout)
			}
		}
	}
	unhealthy(nil, nil, "stream HUBSPOT", "hubtail migrate") // nothing ran yet
	s.must(nil, "sync", "--objects", "contacts,deals")
	unhealthy(nil, []string{"--stale", "1ns"}, "contacts is complete through", "deals is complete through")
	unhealthy([]string{"DATABASE_URL=postgres://u@127.0.0.1:1/x"}, nil, "tables: .*127.0.0.1:1")
	down := s.run([]string{"DATABASE_URL=postgres://u@127.0.0.1:1/x"}, "status")
	if line := statusLine(t, down, "contacts"); !regexp.MustCompile(`^contacts +live +- .* ago +- .* - +\S+ ago +-$`).MatchString(line) {
		t.Errorf("rows nobody counted: %s", line)
	}

	s.simulator.DenyScope("crm.objects.deals.read", true)
	s.run(nil, "sync", "--objects", "contacts,deals")
	unhealthy(nil, nil, "last run of deals failed: .*crm.objects.deals.read")
	unhealthy([]string{"NATS_URL="}, nil, "last run of deals failed: .*crm.objects.deals.read")
	unhealthy([]string{"DATABASE_URL="}, nil, "last run of deals failed: .*crm.objects.deals.read")
	s.simulator.DenyScope("crm.objects.deals.read", false)
	s.must(nil, "sync", "--objects", "contacts,deals")
	s.must(nil, "status")

	conn := s.connect()
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`insert into hubspot.dead_letters (stream, seq, origin, subject, object, record_id, reason) values ('HUBSPOT', 1, 'sink', 's', 'deals', '1', 'x'), ('HUBSPOT', 2, 'sink', 's', null, null, 'x')`)
	unhealthy(nil, nil, "deals has 1 dead letter", "1 dead letters are of no object type")
	exec(`truncate hubspot.dead_letters`)
	exec(`update hubspot.properties set note = 'city stays text' where object = 'contacts' and name in ('city', 'zip')`)
	if r := s.must(nil, "status"); !strings.Contains(r.stdout, "columns contacts.city: city stays text") || !strings.Contains(r.stdout, "and 1 more of contacts") {
		t.Errorf("it does not say which column keeps its type:\n%s", r.stdout)
	}
	exec(`update hubspot.positions set seq = seq + 1000000`)
	unhealthy(nil, nil, "the stream was created anew")
}

// TestStatusTellsAFullReadThatStandsStill kills a source in the middle of its load.
func TestStatusTellsAFullReadThatStandsStill(t *testing.T) {
	t.Parallel()
	portal := smallPortal()
	portal.Contacts, portal.Latency, portal.BurstLimit, portal.Interval = 5000, 100*time.Millisecond, 20, time.Second
	s := newStack(t, portal)
	p := s.start("source", "--objects", "contacts")
	s.eventually(runBound, "the load is under way", func() bool { return s.lastSeq() > 1000 }, p)
	env := []string{"DATABASE_URL="}
	if r := s.must(env, "status"); !regexp.MustCompile(`full read \d+%`).MatchString(statusLine(t, r, "contacts")) {
		t.Errorf("%s", r.stdout)
	}
	p.kill()
	if r := s.run(env, "status", "--stale", "1ns"); r.code != exitUnhealthy || !strings.Contains(r.stdout, "reading contacts stands still") {
		t.Errorf("exit code %d\n%s", r.code, r.stdout)
	}
}

// TestTablesThatMoveOnWhileStatusLooksAreNotAheadOfTheLog is the moment between the look at the log and that at the tables.
func TestTablesThatMoveOnWhileStatusLooksAreNotAheadOfTheLog(t *testing.T) {
	t.Parallel()
	for end, ahead := range map[uint64]bool{523: true, 526: true, 527: false, 530: false} {
		s := &status{
			Log: &connector.LogStatus{LastSeq: 523}, Tables: &tablesStatus{Position: 527},
			end: func(context.Context) (uint64, error) { return end, nil },
		}
		s.lookAgain(t.Context())
		s.judge(time.Hour)
		if said := strings.Contains(strings.Join(s.Problems, "\n"), "the tables are ahead of the log"); said != ahead {
			t.Errorf("log ends at %d: %q", end, s.Problems)
		}
	}
}
