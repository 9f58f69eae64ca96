package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/sink"
)

// TestRebuildAsOfBuildsTheTablesOfThen changes a portal, and builds the tables as they were before and after the first of the
// changes, by time, age and sequence.
func TestRebuildAsOfBuildsTheTablesOfThen(t *testing.T) {
	t.Parallel()
	s := newPastStack(t)
	s.apply()
	s.requests = s.simulator.Stats().Requests
	noHubSpot := []string{"HUBSPOT_ACCESS_TOKEN=", "HUBTAIL_HUBSPOT_URL="}
	then := strconv.FormatUint(s.loaded, 10)
	r := s.must(noHubSpot, "rebuild", "--as-of", then, "--into", "past")
	says(t, r.stdout, "schema past holds all object types as of", "sequence "+then, "tombstones are there: 1")
	for schema, city := range map[string]string{"hubspot": "Köln", "past": "Ulm"} {
		if n := s.count("select count(*) from " + schema + ".contacts where city = '" + city + "' and id = " + s.changed); n != 1 {
			t.Errorf("the city in %s is not %s", schema, city)
		}
	}
	if n := s.count("select count(*) from past.contacts where not _archived and id = " + s.archived); n != 1 {
		t.Error("what was archived later was archived then")
	}
	if n := s.count("select count(*) from past.contacts where _purged and id = " + s.erased); n != 1 {
		t.Error("who was erased later is there")
	}
	if live, past := s.count("select count(*) from hubspot.contacts"), s.count("select count(*) from past.contacts"); live != past {
		t.Errorf("%d contacts then, %d now", past, live)
	}

	// Some object types, another moment, in the same schema, which is not replaced unless it is said.
	s.run(noHubSpot, "rebuild", "--as-of", "0s", "--into", "past", "deal").complaint(t, exitUsage, "schema past holds the tables as of message "+then, "--replace")
	s.run(noHubSpot, "rebuild", "--replace").complaint(t, exitUsage, "--as-of")
	if n := s.count("select count(*) from past.contacts where city = 'Ulm' and id = " + s.changed); n != 1 {
		t.Error("what was refused changed the tables")
	}
	var result sink.AsOf
	must(t, json.Unmarshal([]byte(s.must(noHubSpot, "rebuild", "--json", "--as-of", "0s", "--into", "past", "--replace", "deal").stdout), &result))
	if result.Schema != "past" || fmt.Sprint(result.Objects) != "[deals]" || result.Written != 5 || s.count("select count(*) from past.deals") != 5 {
		t.Errorf("%+v", result)
	}
	if n := s.count("select count(*) from pg_class where relname = 'contacts' and relnamespace = 'past'::regnamespace"); n != 0 {
		t.Error("contacts of the other moment are still there")
	}
	says(t, s.must(noHubSpot, "rebuild", "--dry-run", "--as-of", then).stdout, "messages would be applied", "left out: 0")

	// Before the log there was nothing, and before the end of the first load not all.
	for _, before := range []string{"24h", "start", "1"} {
		for _, how := range [][]string{{"--into", "before"}, {"--dry-run"}} {
			line := s.run(noHubSpot, append([]string{"rebuild", "--as-of", before}, how...)...).complaint(t, exitFailed, "the first load of contacts", "on it is there", "--as-of ")
			_, rest, _ := strings.Cut(line, "--as-of ")
			first, _, _ := strings.Cut(rest, " ")
			says(t, s.must(noHubSpot, "rebuild", "--dry-run", "--as-of", first).stdout, "messages would be applied")
		}
	}
	if n := s.count("select count(*) from pg_namespace where nspname = 'before'"); n != 0 {
		t.Error("a schema is left of what was refused")
	}
	says(t, s.must(noHubSpot, "rebuild", "--dry-run", "--partial", "--as-of", "1").stdout, "contacts were loaded later", "deals were loaded later")

	s.run(noHubSpot, "rebuild", "--as-of", then).complaint(t, exitUsage, "--into")
	s.run(noHubSpot, "rebuild", "--into", "past").complaint(t, exitUsage, "--as-of")
	s.run(noHubSpot, "rebuild", "--as-of", "soon", "--into", "past").complaint(t, exitUsage, "soon")
	s.run(noHubSpot, "rebuild", "--as-of", then, "--into", "hubspot").complaint(t, exitUsage, "live tables")
	s.run(noHubSpot, "rebuild", "--as-of", then, "--into", "public2", "tickets").complaint(t, exitUsage, "tickets")
	s.run(noHubSpot, "rebuild", "--as-of", then, "--into", "x", "--rollback").complaint(t, exitUsage, "--rollback")
	s.asksNothing()
}
