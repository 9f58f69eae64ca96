package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/proof"
)

// The environment of `make soak`.
const (
	soakFaults = "HUBTAIL_SOAK_FAULTS" // how many; 8 if unset
	soakSeed   = "HUBTAIL_SOAK_SEED"   // which; 1 if unset
)

// soakStuck is after how long without progress, all faults healed, something counts as stuck: the consumer delivers again
// after 20 s what a killed sink had, a lost connection is noticed within 45 s.
const soakStuck = 3 * time.Minute

// TestRandomFaultsLoseNothing breaks everything there is to break, at random moments of the first load and of live changes:
// source and sinks are killed -9 and stopped, Postgres and NATS crash and restart, connections are cut, slow, refused and
// silent. Everything must go on by itself after each of them, and in the end every value of every row equal the source's.
func TestRandomFaultsLoseNothing(t *testing.T) {
	t.Parallel()
	n, seed := environmentInt(t, soakFaults, 8), uint64(environmentInt(t, soakSeed, 1))
	t.Logf("%d faults, seed %d", n, seed)
	s := newSoak(t, rand.New(rand.NewPCG(seed, 0)))
	live, stopLive := context.WithCancel(context.Background())
	changed := make(chan simulator.LiveStats, 1)
	go func() { changed <- s.simulator.Live(live, 20) }()
	defer stopLive()

	faults, counts := s.faults(), map[string]int{}
	var recoveries []time.Duration
	start := time.Now()
	for i := range n {
		f := faults[s.random.IntN(len(faults))]
		counts[f.name]++
		s.history = append(s.history, f.name)
		heal := f.begin()
		s.hold(1500)
		heal()
		s.hold(300)
		s.supervise()
		if (i+1)%10 == 0 || i+1 == n {
			recoveries = append(recoveries, s.requireProgress(i+1))
			t.Logf("%s: %d faults, last recovery %s", time.Since(start).Round(time.Second), i+1, recoveries[len(recoveries)-1].Round(time.Millisecond))
		}
	}
	stopLive()
	t.Logf("%d faults in %s, %d changes: %v", n, time.Since(start).Round(time.Second), (<-changed).Changes(), counts)
	slices.Sort(recoveries)
	t.Logf("after faults the tables were as far as the log within %s (median), %s (worst); %d processes ended by themselves and were started again",
		recoveries[len(recoveries)/2].Round(time.Millisecond), recoveries[len(recoveries)-1].Round(time.Millisecond), s.ended)
	s.requireAllEqual(t)
}

func environmentInt(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// hold lets a fault, or a time without one, last a random while.
func (s *soak) hold(atMost int) {
	time.Sleep(time.Duration(s.random.IntN(atMost)+1) * time.Millisecond)
}

// supervise does what a service manager does: a process that ended by itself is started again, and counted.
func (s *soak) supervise() {
	s.t.Helper()
	for name, p := range s.running {
		select {
		case <-p.done:
			s.ended++
			s.t.Logf("%s ended by itself after %v: %v\n%s", name, s.history[max(0, len(s.history)-3):], p.err, lastLines(p.output.String(), 5))
			s.running[name] = s.stack.start(strings.TrimRight(name, "0123456789"))
		default:
		}
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// requireProgress waits until the tables are as far as the log now is, and that goes on.
func (s *soak) requireProgress(faults int) time.Duration {
	s.t.Helper()
	start := time.Now()
	var want uint64
	for deadline := start.Add(soakStuck); ; time.Sleep(20 * time.Millisecond) {
		s.supervise()
		switch last := s.lastSeq(); {
		case want == 0 && last > 0:
			want = last + 1 // the log has to grow, too
		case want > 0 && s.position() >= want:
			return time.Since(start)
		}
		if time.Now().After(deadline) {
			var output strings.Builder
			for name, p := range s.running {
				output.WriteString(name + ":\n" + lastLines(p.output.String(), 20) + "\n")
			}
			s.t.Fatalf("stuck after %d faults, the last of them %v: position %d, want %d, the log ends at %d\n%s", faults,
				s.history[max(0, len(s.history)-12):], s.position(), want, s.lastSeq(), output.String())
		}
	}
}

// position returns how far the tables are, 0 if they cannot be asked.
func (s *soak) position() (seq uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.direct)
	if err != nil {
		return 0
	}
	defer conn.Close(ctx) //nolint:errcheck // it is over either way
	_ = conn.QueryRow(ctx, `select coalesce(max(seq), 0) from hubspot.positions`).Scan(&seq)
	return seq
}

// requireAllEqual waits until the tables are complete, and compares them with the source, value by value. Archived records
// are found by a walk of its own, so it may take some rounds.
func (s *soak) requireAllEqual(t *testing.T) {
	s.t.Helper()
	objects := []string{"contacts", "companies", "deals", "tickets", "calls"}
	conn, err := pgx.Connect(context.Background(), s.direct)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // it is over either way
	changed := s.simulator.Now()
	deadline := time.Now().Add(soakStuck)
	for !s.completeThrough(conn, objects, changed) {
		s.supervise()
		if time.Now().After(deadline) {
			s.requireProgress(0)
			s.t.Fatal("stuck: the tables are not complete")
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Logf("complete %s after the last change", s.simulator.Now().Sub(changed).Round(time.Millisecond))
	for rows := 0; ; time.Sleep(100 * time.Millisecond) {
		wrong := ""
		rows = 0
		for _, object := range objects {
			r, err := proof.Compare(context.Background(), conn, "hubspot", object, proof.Truth(context.Background(), s.hubspot, object))
			if err != nil {
				s.t.Fatal(err)
			}
			rows += int(r.Source)
			if !r.Equal() {
				wrong += fmt.Sprintf("%s: %d missing, %d superfluous, %d different\n%s\n", object, r.Missing, r.Extra, r.Different, strings.Join(r.Examples, "\n"))
			}
		}
		if wrong == "" {
			s.t.Logf("%d rows equal the source's, value by value: 0 lost, 0 wrong, 0 stuck", rows)
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatal(wrong)
		}
	}
	for query, want := range map[string]int{`select count(*) from hubspot.dead_letters`: 0, `select count(*) from hubspot.withheld w, hubspot.positions p where w.seq <= p.seq`: 0} {
		var n int
		if err := conn.QueryRow(context.Background(), query).Scan(&n); err != nil || n != want {
			s.t.Errorf("%s: %d, %v", query, n, err)
		}
	}
	requireNoEventTwice(t, s.js)
}
