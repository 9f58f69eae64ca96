package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// ends waits until processes have ended, and fails the test unless all of them did what they were asked for.
func (s *stack) ends(what string, processes ...*process) {
	s.t.Helper()
	for _, p := range processes {
		select {
		case <-p.done:
			if p.err != nil {
				s.t.Fatalf("%s: %v: %v\n%s", what, p.cmd.Args[1:], p.err, p.output.String())
			}
		case <-time.After(runBound):
			s.t.Fatalf("%s: %v does not end, last sequence %d, positions %v\n%s", what, p.cmd.Args[1:], s.lastSeq(),
				queryRows(s.t, s.connect(), "select consumer, seq from hubspot.positions"), p.output.String())
		}
	}
}

func TestErasesAtTheSameTimeEnd(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	ids := s.simulator.IDs("contacts", 10, 6, 1)
	s.must(nil, "backfill", "contacts")
	for i := range 3 {
		a, b := ids[2*i], ids[2*i+1]
		s.ends("two erases", s.start("erase", "--yes", "contacts", a, b), s.start("erase", "--yes", "contacts", a, b))
		if n := s.count("select count(*) from hubspot.contacts where _purged and id in (" + a + "," + b + ")"); n != 2 {
			t.Errorf("%d of two records are erased from the table", n)
		}
	}
}

func TestOneShotCommandsEndBesideARunningSink(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	ids := s.simulator.IDs("contacts", 10, 12, 1)
	s.must(nil, "backfill", "contacts")
	sink := s.start("sink")
	s.eventually(time.Minute, "the sink waits for messages", func() bool {
		consumer, err := s.js.Consumer(context.Background(), "HUBSPOT", "hubtail-sink")
		return err == nil && consumer.CachedInfo().NumWaiting > 0
	}, sink)
	for i := range 3 {
		city := fmt.Sprint("Ulm ", i)
		must(t, s.simulator.Update("contacts", ids[i], map[string]string{"city": city}))
		s.ends("sync", s.start("sync", "--objects", "contacts"))
		if n := s.count("select count(*) from hubspot.contacts where city = '" + city + "'"); n != 1 {
			t.Errorf("sync ended before its change was in the table")
		}
		s.ends("erase", s.start("erase", "--yes", "contacts", ids[6+i]))
		if n := s.count("select count(*) from hubspot.contacts where _purged and id = " + ids[6+i]); n != 1 {
			t.Errorf("erase ended before the row was a tombstone")
		}
	}
	s.ends("backfill", s.start("backfill", "contacts"))
}

// still is tables that nobody brings up to date.
type still struct {
	help func() error
	err  error
}

func (s still) Applied(context.Context) (uint64, error) { return 4, s.err }

func (s still) ApplyThrough(ctx context.Context, _ uint64) error {
	if s.help != nil {
		return s.help()
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestTablesThatStandStillAreNotWaitedForForever(t *testing.T) {
	t.Parallel()
	wait := func(s still) error { return awaitApplied(t.Context(), s, 7, 10*time.Millisecond, time.Second) }
	err := wait(still{})
	if err == nil || !strings.Contains(err.Error(), "message 4 of 7") || !strings.Contains(err.Error(), "hubtail sink") {
		t.Errorf("it says %v", err)
	}
	away := errors.New("postgres is away")
	if err := wait(still{err: away}); err == nil || !strings.Contains(err.Error(), away.Error()) {
		t.Errorf("it says %v", err)
	}
	if err := wait(still{help: func() error { return nil }}); err != nil {
		t.Errorf("what was applied by ourselves is not enough: %v", err)
	}
	if err := wait(still{help: func() error { return away }}); !errors.Is(err, away) {
		t.Errorf("it says %v", err)
	}
}
