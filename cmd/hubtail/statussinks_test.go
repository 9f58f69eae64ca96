package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// TestStatusSaysWhyASinkWaitsAndThatNobodyReads asks from another process: of a sink that Postgres does not serve, and of a
// log that no sink reads.
func TestStatusSaysWhyASinkWaitsAndThatNobodyReads(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	source, sink := s.start("source"), s.start("sink")
	conn := s.connect()
	now := s.simulator.Now()
	s.eventually(runBound, "the tables are complete", func() bool { return s.completeThrough(conn, portalObjects, now) }, source, sink)

	says := func(texts ...string) func() bool {
		return func() bool {
			out := s.run(nil, "status").stdout
			for _, text := range texts {
				if !strings.Contains(out, text) {
					return false
				}
			}
			return true
		}
	}
	s.eventually(runBound, "status tells of the sink", says("\nsink    ", " works, schema hubspot, applied through "), source, sink)

	ctx := context.Background()
	for _, sql := range []string{`create function public.fail() returns trigger language plpgsql as
		$$ begin raise exception 'no space left on device' using errcode = '53100'; end $$`,
		`create trigger fail before insert or update on hubspot.contacts for each statement execute function public.fail()`} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	id := s.simulator.IDs("contacts", 0, 1, 1)[0]
	if err := s.simulator.Update("contacts", id, map[string]string{"firstname": "Ada"}); err != nil {
		t.Fatal(err)
	}
	s.eventually(runBound, "status says why the sink waits", says("waits since", "no space left on device", "53100"), source, sink)
	r := s.run(nil, "status", "--json")
	var out status
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || r.code != exitUnhealthy {
		t.Fatalf("%v, exit code %d: %s", err, r.code, r.stdout)
	}
	if len(out.Sinks) != 1 || out.Sinks[0].Stats.ErrorSince.IsZero() || out.Sinks[0].Stats.Error == "" {
		t.Errorf("sinks are %+v", out.Sinks)
	}
	if _, err := conn.Exec(ctx, `drop trigger fail on hubspot.contacts`); err != nil {
		t.Fatal(err)
	}
	s.eventually(runBound, "the sink works again", says(" works, schema hubspot, applied through "), source, sink)

	sink.kill()
	s.eventually(runBound, "status says that nobody reads", says("no sink reads the log"), source)
}
