package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

// quoting returns where a text is: subjects of messages in the log and in the queue of hints, and tables.
func (s *stack) quoting(text string) (places []string) {
	s.t.Helper()
	for _, name := range []string{"HUBSPOT", connector.HintsStream("HUBSPOT")} {
		stream, err := s.js.Stream(context.Background(), name)
		if err != nil {
			s.t.Fatal(err)
		}
		state := stream.CachedInfo().State
		for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
			m, err := stream.GetMsg(context.Background(), seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				s.t.Fatal(err)
			}
			if strings.Contains(m.Subject+fmt.Sprint(m.Header)+string(m.Data), text) {
				places = append(places, m.Subject)
			}
		}
	}
	conn := s.connect()
	for _, table := range queryRows(s.t, conn, "select table_name from information_schema.tables where table_schema = 'hubspot' and table_type = 'BASE TABLE'") {
		name := table["table_name"].(string)
		query := "select count(*) from " + pgx.Identifier{"hubspot", name}.Sanitize() + " t where position('" + text + "' in t::text) > 0"
		if name == "dead_letters" { // a bytea is text in hexadecimal
			query += " or position('" + text + "' in encode(payload, 'escape')) > 0"
		}
		if s.count(query) > 0 {
			places = append(places, "table "+name)
		}
	}
	return places
}

func TestEraseLeavesNoValueInLogAndTables(t *testing.T) {
	t.Parallel()
	const secret = "mustermann-4711"
	s := newStack(t, smallPortal())
	ids := s.simulator.IDs("contacts", 10, 4, 1)
	update := func(id, city string) {
		if err := s.simulator.Update("contacts", id, map[string]string{"city": city}); err != nil {
			t.Fatal(err)
		}
	}
	update(ids[0], secret+"-a")
	update(ids[1], secret+"-b")
	s.must(nil, "backfill", "contacts")
	winner, err := s.simulator.Merge("contacts", ids[0], ids[1])
	if err != nil {
		t.Fatal(err)
	}
	update(winner, secret+"-c")
	s.must(nil, "sync", "--objects", "contacts")
	if places := s.quoting(secret); len(places) < 5 || !slices.Contains(places, "table contacts") {
		t.Fatalf("before, it is in %v only", places)
	}

	// What is no id, no object type, or cannot be asked, changes nothing.
	s.run(nil, "erase", "contacts").complaint(t, exitUsage, "hubtail erase contacts")
	s.run(nil, "erase", "contacts", "x1").complaint(t, exitUsage, "x1")
	s.run(nil, "erase", "contacts", winner).complaint(t, exitUsage, "--yes")
	s.run(nil, "erase", "contacts", winner, "--yes").complaint(t, exitUsage, "flags go before")
	s.run(nil, "erase", "--yes", "deals", winner).complaint(t, exitUsage, "deals", "contacts")

	r := s.must(nil, "erase", "--yes", "contacts", winner)
	if r.stdout != "1 contacts erased from log and tables\n" {
		t.Errorf("it says %q", r.stdout)
	}
	// Of an id that nobody ever saw there is nothing to erase, and that is what it says; singular names mean the type.
	r = s.must(nil, "erase", "--yes", "contact", "77")
	if !strings.HasPrefix(r.stdout, "contacts 77: the log never had it") || strings.Contains(r.stdout, "erased") || r.stderr != "" {
		t.Errorf("of an unknown id it says %q %q", r.stdout, r.stderr)
	}
	if places := s.quoting(secret); len(places) > 0 {
		t.Errorf("values are still in %v", places)
	}
	for _, id := range []string{ids[0], ids[1], winner} {
		if n := s.count("select count(*) from hubspot.contacts where _purged and _archived and id = " + id); n != 1 {
			t.Errorf("%s has no tombstone", id)
		}
	}

	// HubSpot still has it. Whatever is read of it later stays out: polls, full reads, and tables that are made again.
	update(winner, secret+"-d")
	s.must(nil, "sync", "--objects", "contacts")
	s.must(nil, "backfill", "contacts")
	if places := s.quoting(secret); len(places) > 0 {
		t.Errorf("it came back to %v", places)
	}
	if n := s.count("select count(*) from hubspot.contacts where not _purged"); n != 128 {
		t.Errorf("%d contacts are left, want 128", n)
	}
}

func TestEraseBesideRunningSourceAndSink(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	source, sinks := s.start("source", "--objects", "contacts"), s.start("sink")
	conn := s.connect()
	s.eventually(time.Minute, "all contacts are in the table", func() bool {
		var n int
		return conn.QueryRow(context.Background(), "select count(*) from hubspot.contacts").Scan(&n) == nil && n == 130
	}, source, sinks)
	id := s.simulator.IDs("contacts", 10, 1, 1)[0]
	s.must([]string{"DATABASE_URL="}, "erase", "--yes", "contacts", id)
	s.eventually(time.Minute, "the row is a tombstone", func() bool {
		return s.count("select count(*) from hubspot.contacts where _purged and id = "+id) == 1
	}, source, sinks)
	// The source leads on.
	other := s.simulator.IDs("contacts", 20, 1, 1)[0]
	if err := s.simulator.Update("contacts", other, map[string]string{"city": "Ulm"}); err != nil {
		t.Fatal(err)
	}
	s.eventually(time.Minute, "a change of another contact arrives", func() bool {
		return s.count("select count(*) from hubspot.contacts where city = 'Ulm' and id = "+other) == 1
	}, source, sinks)
	if code := source.stop(t); code != exitDone {
		t.Errorf("the source ended with %d", code)
	}
	if code := sinks.stop(t); code != exitDone {
		t.Errorf("the sink ended with %d", code)
	}
}

// TestARandomMixOfEndsWithoutWebhooksEqualsTheTruth archives, restores, merges and erases at random, between passes of a
// source that hears of nothing, and compares every row with the portal.
func TestARandomMixOfEndsWithoutWebhooksEqualsTheTruth(t *testing.T) {
	t.Parallel()
	for name, intoPrimary := range map[string]bool{"a merge makes a new record": false, "a merge keeps the primary": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Without companies and deals there are no links, whose counters change unnoticed until they are read again.
			portal := simulator.Options{Contacts: 150, Tickets: 60, Calls: 60, BurstLimit: 1000, SearchLimit: 50, Latency: -1}
			portal.MergeIntoPrimary, portal.NoOddities = intoPrimary, true
			portal.DailyLimit = 1_000_000_000 // so that every pass walks
			portal.IndexLag = simulator.Lag{Min: time.Millisecond, Max: 200 * time.Millisecond, TailMax: time.Second, Archives: true}
			portal.LiveMix = simulator.LiveMix{Update: 30, Create: 15, Archive: 20, Restore: 15, Merge: 15, Bulk: 1}
			s := newStack(t, portal)
			objects := []string{"contacts", "tickets", "calls"}
			source := s.newSource(objects)
			sync := func() {
				t.Helper()
				if err := source.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			live := s.simulator.NewLive()
			rng := rand.New(rand.NewPCG(3, 8))
			for round := range 8 {
				for range 40 + rng.IntN(80) {
					live.Step()
				}
				sync()
				if round == 4 { // another process goes on
					source = s.newSource(objects)
				}
				for _, id := range s.simulator.IDs("contacts", rng.IntN(60), 2, 7) {
					if err := s.simulator.Purge("contacts", id); err != nil {
						t.Fatal(err)
					}
					if err := connector.Erase(t.Context(), connector.EraseConfig{
						JetStream: s.js, Portal: source.Portal(), Patience: time.Millisecond,
					}, "contacts", id); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.simulator.FlushIndex()
			sync()
			sync()
			t.Logf("%+v", live.Stats)
			s.apply()
			s.requireEqual(s.connect(), objects)
		})
	}
}

// newSource returns a source that walks the recycle bins with every pass.
func (s *stack) newSource(objects []string) *connector.Source {
	s.t.Helper()
	client, err := hubspot.New(hubspot.Config{BaseURL: s.hubspot, Token: "pat-simulator", BurstLimit: 1000, SearchLimit: 50})
	if err != nil {
		s.t.Fatal(err)
	}
	source, err := connector.New(s.t.Context(), connector.Config{
		Client: client, JetStream: s.js, Objects: objects, ArchivedInterval: time.Millisecond, Associations: []string{"none"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return source
}

// apply brings the tables up to the end of the log.
func (s *stack) apply() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	pool, err := sink.OpenPool(ctx, s.database)
	if err != nil {
		s.t.Fatal(err)
	}
	defer pool.Close()
	if err := migrations.Apply(ctx, pool, "hubspot"); err != nil {
		s.t.Fatal(err)
	}
	sk, err := sink.New(ctx, sink.Config{Pool: pool, JetStream: s.js, Stream: jetlog.DefaultStream, Schema: "hubspot"})
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sk.Run(ctx) }()
	last := s.lastSeq()
	s.eventually(time.Minute, "the log is applied", func() bool { return sk.Stats().Position >= last })
	cancel()
	if err := <-done; err != nil {
		s.t.Error(err)
	}
}
