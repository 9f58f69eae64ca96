package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/schemas"
)

func (s *stack) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.connect().Exec(context.Background(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// explain fails the test unless the command comes to the verdict, with all words in its answer and an exit code that fits.
func (s *stack) explain(env []string, want verdict, object, id string, words ...string) explanation {
	s.t.Helper()
	r := s.run(env, "explain", "--json", object, id)
	var e explanation
	if err := json.Unmarshal([]byte(r.stdout), &e); err != nil {
		s.t.Fatalf("explain %s %s: %v: %s%s", object, id, err, r.stdout, r.stderr)
	}
	code := exitUnhealthy
	if want.healthy() {
		code = exitDone
	}
	if e.Verdict != want || r.code != code {
		s.t.Errorf("explain %s %s: verdict %s, exit code %d, want %s and %d: %s", object, id, e.Verdict, r.code, want, code, e.Answer)
	}
	says(s.t, e.Answer, words...)
	return e
}

func TestExplainSaysWhyARecordIsOrIsNotThere(t *testing.T) {
	t.Parallel()
	portal := smallPortal()
	portal.Contacts, portal.Companies, portal.Deals, portal.Calls, portal.Tickets = 30, 5, 0, 0, 0
	portal.DailyLimit = 1_000_000_000
	s := newStack(t, portal)
	s.env = append(s.env, "HUBTAIL_OBJECTS=contacts,companies")
	ids := s.simulator.IDs("contacts", 2, 12, 2)
	company := s.simulator.IDs("companies", 1, 1, 1)[0]
	must(t, s.simulator.Link("contacts", ids[0], "companies", company))
	must(t, s.simulator.Archive("contacts", ids[1]))
	s.must(nil, "backfill")
	winner, err := s.simulator.Merge("contacts", ids[2], ids[3])
	must(t, err)
	s.must(nil, "sync")
	s.must(nil, "erase", "--yes", "contacts", ids[4])

	// As they should be.
	here := s.explain(nil, verdictHere, "contact", ids[0], "the tables have it", "backfill")
	if here.Log == nil || len(here.Log.Versions) == 0 || here.Log.Versions[0].Properties.Len() == 0 || !here.Log.Complete || here.Tables == nil || here.Tables.Row == nil || here.Tables.Row.Values == 0 || len(here.Skipped) != 0 {
		t.Errorf("%+v", here)
	}
	if tl := here.Tables.LinksTo; len(tl) == 0 || !linksTo(tl, company) || !linksTo(here.Tables.LinksFrom, company) {
		t.Errorf("links of %s: %+v", ids[0], here.Tables)
	}
	if !strings.Contains(strings.Join(setIDs(here.Log.Links), " "), company) {
		t.Errorf("links by the log: %+v", here.Log.Links)
	}
	text := s.must(nil, "explain", "0-1", ids[0]).stdout
	says(t, text, "contacts "+ids[0]+": the tables have it", "Events (", "Row of hubspot.contacts", "linked to companies "+company, "Links by the log")
	s.explain(nil, verdictArchived, "contacts", ids[1], "recycle bin", "where not _archived")
	s.explain(nil, verdictMerged, "contacts", ids[3], "merged into contacts "+winner)
	erased := s.explain(nil, verdictErased, "contacts", ids[4], "erased for privacy")
	if erased.Tables.ErasedSeq == 0 || len(erased.Log.Versions) != 1 {
		t.Errorf("%+v", erased)
	}

	// Not there.
	s.explain(nil, verdictUnseen, "contacts", "4711", "HubSpot has never shown it", "complete through", "hubtail verify contacts")
	s.explain(nil, verdictNotRead, "deals", "1", "--objects", "companies, contacts", "hubtail doctor")
	s.exec(`delete from hubspot.contacts where id = ` + ids[5])
	s.explain(nil, verdictMissing, "contacts", ids[5], "verify --repair contacts")
	s.exec(`update hubspot.contacts set email = 'wrong' where id = ` + ids[6])
	s.explain(nil, verdictDiffers, "contacts", ids[6], "email", "verify --repair contacts")
	s.exec(`update hubspot.contacts set _seq = 1 where id = ` + ids[7])
	s.explain(nil, verdictDiffers, "contacts", ids[7], "of event 1", "verify --repair contacts")
	s.exec(`insert into hubspot.contacts (id, _seq) values (4712, 3)`)
	s.explain(nil, verdictGhost, "contacts", "4712", "no event")
	last := s.explain(nil, verdictHere, "contacts", ids[8]).Log.Versions
	s.exec(`delete from hubspot.contacts where id = ` + ids[8])
	s.exec(`insert into hubspot.dead_letters (stream, seq, origin, subject, object, record_id, sqlstate, reason)
		values ('HUBSPOT', $1, 'sink', 'x', 'contacts', $2, '22P02', 'no such luck')`, int64(last[len(last)-1].Seq), ids[8])
	s.explain(nil, verdictDeadLetter, "contacts", ids[8], "22P02", "no such luck", "hubtail dead-letters")
	must(t, s.simulator.Update("contacts", ids[9], map[string]string{"city": "Ulm"}))
	s.must([]string{"DATABASE_URL="}, "sync")
	s.explain(nil, verdictUnapplied, "contacts", ids[9], "updated", "Is a sink running?")
	hint := schemas.Hint{Kind: schemas.HintRecord, Portal: here.Portal, Object: "contacts", ID: "4713", OccurredAt: time.Now(), Cause: "contact.creation"}
	m, err := hint.Encode()
	must(t, err)
	if _, err := s.js.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}); err != nil {
		t.Fatal(err)
	}
	s.explain(nil, verdictWaiting, "contacts", "4713", "contact.creation", "is one running?")

	// With one of both.
	noTables, noLog := []string{"DATABASE_URL="}, []string{"NATS_URL="}
	if e := s.explain(noTables, verdictHere, "contacts", ids[5], "the log has it"); e.Tables != nil || len(e.Skipped) != 1 {
		t.Errorf("%+v", e)
	}
	if e := s.explain(noLog, verdictHere, "contacts", ids[0], "the tables have it"); e.Log != nil || len(e.Skipped) != 1 {
		t.Errorf("%+v", e)
	}
	s.explain(noLog, verdictErased, "contacts", ids[4])
	s.explain(noLog, verdictMerged, "contacts", ids[3], winner)
	s.explain(noLog, verdictUnseen, "contacts", "4711", "only NATS can tell")
	s.explain(noLog, verdictNotRead, "deals", "1")
	e := s.explain([]string{"NATS_URL=nats://127.0.0.1:1"}, verdictArchived, "contacts", ids[1])
	says(t, strings.Join(e.Skipped, " "), "127.0.0.1:1")
	s.run(append(noTables, noLog...), "explain", "contacts", "1").complaint(t, exitUsage, "nothing to look at", "NATS_URL", "DATABASE_URL")
	s.run(nil, "explain", "contacts").complaint(t, exitUsage, "hubtail explain contacts")
}

func linksTo(links []tableLink, id string) bool {
	for _, l := range links {
		if l.Object == "companies" && l.ID == id {
			return true
		}
	}
	return false
}

func setIDs(sets []linkedSet) (ids []string) {
	for _, set := range sets {
		ids = append(ids, set.IDs...)
	}
	return ids
}
