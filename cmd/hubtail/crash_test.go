package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// crashes is how often each scenario kills.
const crashes = 20

// TestKillNineLosesAndDoublesNothing kills -9 the source, the sink, and both, each at random moments of the load and of
// live changes, and then compares every row with the source and reads the whole log.
func TestKillNineLosesAndDoublesNothing(t *testing.T) {
	for _, victims := range [][]string{{"source"}, {"sink"}, {"source", "sink"}} {
		t.Run(fmt.Sprint(victims), func(t *testing.T) {
			t.Parallel()
			testCrashes(t, victims)
		})
	}
}

func testCrashes(t *testing.T, victims []string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	objects := []string{"contacts", "companies", "deals", "tickets", "calls"}
	s := newStack(t, simulator.Options{
		Contacts: 3000, Companies: 200, Deals: 300, Tickets: 150, Calls: 800, Owners: 5,
		BurstLimit: 190, Interval: time.Second, SearchLimit: 5, SearchInterval: 100 * time.Millisecond,
		Latency: 30 * time.Millisecond, IndexLag: simulator.Lag{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond, Tail: -1},
	})
	running := map[string]*process{"source": s.start("source"), "sink": s.start("sink")}
	s.eventually(time.Minute, "the log begins", func() bool { return s.lastSeq() > 0 }, running["source"], running["sink"])
	live, stopLive := context.WithCancel(context.Background())
	defer stopLive()
	for kill := range crashes {
		if kill == crashes/2 { // the first half hits the load, or what is left of it
			go s.simulator.Live(live, 20)
		}
		until := s.lastSeq() + 1 + random.Uint64N(60)
		s.eventually(time.Minute, "the log grows", func() bool { return s.lastSeq() >= until }, running["source"], running["sink"])
		for _, victim := range victims {
			running[victim].kill()
		}
		for _, victim := range victims {
			running[victim] = s.start(victim)
		}
	}
	stopLive()
	conn := s.connect()
	changed := s.simulator.Now()
	s.eventually(2*time.Minute, "the tables are complete", func() bool { return s.completeThrough(conn, objects, changed) },
		running["source"], running["sink"])
	for _, name := range []string{"source", "sink"} {
		if code := running[name].stop(t); code != exitDone {
			t.Errorf("%s ended with exit code %d:\n%s", name, code, running[name].output.String())
		}
	}
	s.requireEqual(conn, append(objects, "owners"))
	requireNoEventTwice(t, s.js)
}

// requireNoEventTwice reads the whole log: no record has the same state twice in a row, and every event names the one
// before it.
func requireNoEventTwice(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream, err := js.Stream(ctx, "HUBSPOT")
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(ctx, "HUBSPOT", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"hubspot.*.*.*"}})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	type last struct {
		state string
		seq   uint64
	}
	seen, events := map[string]last{}, 0
	for range stream.CachedInfo().State.Msgs {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if subject, err := schemas.ParseSubject(m.Subject()); err != nil {
			t.Error(err)
		} else if subject.Kind == schemas.KindRecord {
			e, err := schemas.DecodeEvent(schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
			if err != nil {
				t.Fatal(err)
			}
			before := seen[m.Subject()]
			state := e.UpdatedAt.String() + e.Hash
			if before.state == state {
				t.Errorf("%s is in the log twice, at %d and %d", e.CEID(), before.seq, meta.Sequence.Stream)
			}
			if e.PreviousSeq != before.seq && before.seq != 0 {
				t.Errorf("%s at %d names %d as the event before it, but that is %d", m.Subject(), meta.Sequence.Stream, e.PreviousSeq, before.seq)
			}
			seen[m.Subject()] = last{state, meta.Sequence.Stream}
			events++
		}
		if meta.NumPending == 0 {
			break
		}
	}
	if events == 0 {
		t.Error("the log holds no event")
	}
}
