package main

import (
	"strings"
	"testing"
	"time"
)

// TestSyncAndBackfillBesideARunningSourceSayWhoLeads runs them as cron or a person would, not knowing of the source.
func TestSyncAndBackfillBesideARunningSourceSayWhoLeads(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	source, sink := s.start("source"), s.start("sink")
	conn := s.connect()
	now := s.simulator.Now()
	s.eventually(runBound, "the tables are complete", func() bool { return s.completeThrough(conn, portalObjects, now) }, source, sink)

	r := s.must(nil, "sync")
	if r.stderr != "" || !strings.Contains(r.stdout, "leads and is complete through") || !strings.Contains(r.stdout, "nothing to do") {
		t.Errorf("%+v", r)
	}
	s.run(nil, "backfill", "deals").complaint(t, exitFailed, "leads", "stop it")

	// The running source lost nothing to them: it is neither refused nor on standby.
	requireGraceful(t, source)
	requireGraceful(t, sink)
	if said := source.output.String(); strings.Contains(said, "refused") || strings.Contains(said, "another source") {
		t.Errorf("the source was disturbed:\n%s", said)
	}
	began := time.Now()
	s.must(nil, "backfill", "deals")
	if took := time.Since(began); took > runBound/2 {
		t.Errorf("a backfill after a graceful stop took %s", took)
	}
}
