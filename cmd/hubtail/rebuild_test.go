package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/sink"
)

// TestARebuildKilledAnywhereLeavesTheTablesWhole kills -9 rebuilds at random moments, while a source and a sink work, and lets
// the last ones come through.
func TestARebuildKilledAnywhereLeavesTheTablesWhole(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	objects := []string{"contacts", "companies", "deals", "tickets", "calls"}
	s := newStack(t, simulator.Options{
		Contacts: 400, Companies: 30, Deals: 40, Tickets: 20, Calls: 60, Owners: 3,
		BurstLimit: 190, Interval: time.Second, SearchLimit: 5, SearchInterval: 100 * time.Millisecond,
		IndexLag: simulator.Lag{Min: 50 * time.Millisecond, Max: 300 * time.Millisecond, Tail: -1},
	})
	source, follower := s.start("source"), s.start("sink")
	loaded := s.simulator.Now()
	conn := s.connect()
	s.eventually(2*time.Minute, "the tables are complete", func() bool { return s.completeThrough(conn, objects, loaded) }, source, follower)
	live, stopLive := context.WithCancel(context.Background())
	defer stopLive()
	go s.simulator.Live(live, 20)

	// phase is what the rebuild says it does; rows what a reader sees all the time.
	look := func() (phase string, rows int) {
		t.Helper()
		err := conn.QueryRow(context.Background(), `select coalesce((select kind || ' ' || phase || ' ' || done from hubspot.copies), ''), (select count(*) from hubspot.contacts)`).Scan(&phase, &rows)
		if err != nil {
			t.Fatal(err)
		}
		return phase, rows
	}
	for range 8 {
		rebuild := s.start("rebuild")
		changes := 1 + random.IntN(5) // of what it says, until the kill
		before, _ := look()
		s.eventually(time.Minute, "the rebuild gets on", func() bool {
			phase, rows := look()
			if rows < 400 {
				t.Fatalf("a reader saw %d contacts", rows)
			}
			if phase != before {
				before, changes = phase, changes-1
			}
			select {
			case <-rebuild.done:
				return true
			default:
				return changes <= 0
			}
		}, source, follower)
		rebuild.kill()
	}
	if phase, _ := look(); strings.HasPrefix(phase, "shadow") {
		if text := s.run(nil, "status").stdout; !strings.Contains(text, "schema hubspot_rebuild: interrupted while") {
			t.Errorf("status does not say that a rebuild was interrupted:\n%s", text)
		}
	}
	s.must(nil, "rebuild")
	if text := s.run(nil, "status").stdout; !strings.Contains(text, "schema hubspot_rebuild: the tables before the rebuild") {
		t.Errorf("status does not say that the old tables are kept:\n%s", text)
	}
	stopLive()
	changed := s.simulator.Now()
	s.eventually(2*time.Minute, "the tables are complete again", func() bool { return s.completeThrough(conn, objects, changed) }, source, follower)
	s.requireEqual(conn, append(objects, "owners"))
	if back := s.must(nil, "rebuild", "--rollback"); !strings.Contains(back.stdout, "put back") || !strings.Contains(back.stdout, "0 requests to HubSpot") {
		t.Errorf("%s", back.stdout)
	}
	s.requireEqual(conn, append(objects, "owners"))
	for name, p := range map[string]*process{"source": source, "sink": follower} {
		if code := p.stop(t); code != exitDone {
			t.Errorf("%s ended with exit code %d:\n%s", name, code, p.output.String())
		}
	}
	var plan sink.RebuildPlan
	if text := s.must(nil, "rebuild", "--dry-run", "--json").stdout; json.Unmarshal([]byte(text), &plan) != nil || !plan.Replaces || plan.Messages < 500 {
		t.Errorf("%s", text)
	}
	var dropped sink.Copy
	if text := s.must(nil, "rebuild", "--drop-old", "--json").stdout; json.Unmarshal([]byte(text), &dropped) != nil || dropped.Kind != sink.CopyOld {
		t.Errorf("%s", text)
	}
	s.run(nil, "rebuild", "--rollback").complaint(t, exitFailed, "no old tables")
}

func TestRebuildRefusesWrongUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"rebuild", "--rollback", "--drop-old"}, {"rebuild", "--rollback", "contacts"}, {"rebuild", "contacts", "--force"},
		{"rebuild", "--lock-wait", "0s"},
	} {
		hubtail(t, t.TempDir(), []string{"NATS_URL=nats://127.0.0.1:1", "DATABASE_URL=postgres://127.0.0.1:1/x"}, args...).complaint(t, exitUsage)
	}
}
