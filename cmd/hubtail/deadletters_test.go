package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/schemas"
)

func TestDeadLettersAreListedShownRedrivenAndDropped(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.must(nil, "backfill", "contacts")
	if r := s.must(nil, "dead-letters", "list"); r.stdout != "no dead letters\n" {
		t.Errorf("it says %q", r.stdout)
	}
	conn := s.connect()
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	exec(`alter table hubspot.contacts add constraint mine check (city is distinct from 'Nowhere') not valid`)
	ids := s.simulator.IDs("contacts", 0, 3, 1)
	for _, id := range ids {
		if err := s.simulator.Update("contacts", id, map[string]string{"city": "Nowhere"}); err != nil {
			t.Fatal(err)
		}
	}
	s.must(nil, "sync", "--objects", "contacts")

	var letters []struct {
		Seq                  int64
		Object, ID, SQLState string
		Payload              string
	}
	list := func(args ...string) string {
		t.Helper()
		letters = nil
		r := s.must(nil, append([]string{"dead-letters"}, args...)...)
		if err := json.Unmarshal([]byte(r.stdout), &letters); err != nil {
			t.Fatalf("%v: %s", err, r.stdout)
		}
		return r.stdout
	}
	list("list", "--object", "contacts", "--json")
	if len(letters) != 3 || letters[0].ID != ids[0] || letters[0].SQLState != "23514" || letters[0].Payload != "" {
		t.Fatalf("letters %+v", letters)
	}
	seqs := []string{jsonNumber(letters[0].Seq), jsonNumber(letters[1].Seq), jsonNumber(letters[2].Seq)}
	if r := s.must(nil, "dead-letters", "list"); !strings.Contains(r.stdout, seqs[0]) || !strings.Contains(r.stdout, "mine") {
		t.Errorf("it lists\n%s", r.stdout)
	}
	if r := s.must(nil, "dead-letters", "show", seqs[0]); !strings.Contains(r.stdout, `"city": "Nowhere"`) || !strings.Contains(r.stdout, "23514") || !strings.Contains(r.stdout, "ce-id: contacts:"+ids[0]) {
		t.Errorf("it shows\n%s", r.stdout)
	}
	list("show", "--json", seqs[1])
	if len(letters) != 1 || !strings.Contains(letters[0].Payload, `"Nowhere"`) {
		t.Errorf("it shows %+v", letters)
	}
	s.run(nil, "status", "--json").mustSay(t, exitUnhealthy, "hubtail dead-letters list --object contacts")

	// What is not said clearly changes nothing.
	s.run(nil, "dead-letters", "redrive").complaint(t, exitUsage, "--all")
	s.run(nil, "dead-letters", "redrive", "--all", seqs[0]).complaint(t, exitUsage, "one of")
	s.run(nil, "dead-letters", "show", "x").complaint(t, exitUsage, "list")
	s.run(nil, "dead-letters", "show", "999999").complaint(t, exitFailed, "999999")
	s.run(nil, "dead-letters", "drop", seqs[0]).complaint(t, exitUsage, "--yes")
	s.run(nil, "dead-letters", "bury").complaint(t, exitUsage, "bury")
	s.run(nil, "dead-letters", "list", "--nonsense").complaint(t, exitUsage, "hubtail dead-letters list --help")

	s.run(nil, "dead-letters", "redrive", seqs[0]).mustSay(t, exitFailed, "0 applied, 1 failed again", "mine")
	s.must(nil, "dead-letters", "drop", "--yes", seqs[2]).mustSay(t, exitDone, "1 dead letters dropped")
	exec(`alter table hubspot.contacts drop constraint mine`)
	s.must(nil, "dead-letters", "redrive", "--all").mustSay(t, exitDone, "2 applied, 0 failed again")
	if n := s.count("select count(*) from hubspot.contacts where city = 'Nowhere'"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	s.run(nil, "verify", "--json").mustSay(t, exitUnhealthy, ids[2]) // what was dropped is missing, until it is repaired
}

func TestTheSourceIsAskedForWhatItCouldNotRead(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.must(nil, "sync", "--objects", "contacts")
	id := s.simulator.IDs("contacts", 0, 1, 1)[0]
	portal := queryRows(t, s.connect(), "select portal from hubspot.positions")[0]["portal"].(string)
	m, err := schemas.EncodeControl(&schemas.DeadLetter{Portal: portal, Object: "contacts", ID: id, At: time.Now(), Reason: "no record", Record: "{"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.PublishMsg(context.Background(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}); err != nil {
		t.Fatal(err)
	}
	s.must(nil, "sync", "--objects", "contacts")
	if n := s.count("select count(*) from hubspot.dead_letters where origin = 'source'"); n != 1 {
		t.Fatalf("%d dead letters", n)
	}
	s.run(nil, "dead-letters", "redrive", "--wait", "1ms", "--all").mustSay(t, exitFailed, "was asked to read it again", "1 left to the source")
	hints, err := s.js.Stream(context.Background(), connector.HintsStream("HUBSPOT"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hints.GetLastMsgForSubject(context.Background(), "hubspot-hints."+portal+".contacts."+id); err != nil {
		t.Errorf("no hint: %v", err)
	}
	if err := s.simulator.Update("contacts", id, map[string]string{"city": "Somewhere"}); err != nil {
		t.Fatal(err)
	}
	source := s.start("source", "--objects", "contacts")
	s.must(nil, "dead-letters", "redrive", "--wait", "50s", "--all").mustSay(t, exitDone, "1 applied")
	source.kill()
}

func jsonNumber(n int64) string { b, _ := json.Marshal(n); return string(b) }

// mustSay fails the test unless the command ended with the exit code and says every word.
func (r result) mustSay(t testing.TB, code int, words ...string) {
	t.Helper()
	for _, word := range words {
		if r.code != code || !strings.Contains(r.stdout+r.stderr, word) {
			t.Errorf("exit code %d, want %d and %q:\n%s%s", r.code, code, word, r.stdout, r.stderr)
		}
	}
}
