package main

import (
	"regexp"
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

	if r := s.must(nil, "status"); !regexp.MustCompile(`(?m)^source  \S+-[A-Z2-7]{8} reads portal 4711 \(follow\)$`).MatchString(r.stdout) {
		t.Errorf("status does not say who leads:\n%s", r.stdout)
	}

	// The running source lost nothing to them: it is neither refused nor on standby.
	requireGraceful(t, source)
	requireGraceful(t, sink)
	if said := source.output.String(); strings.Contains(said, "refused") || strings.Contains(said, "another source") {
		t.Errorf("the source was disturbed:\n%s", said)
	}
	if r := s.must(nil, "status"); !strings.Contains(r.stdout, "source  nobody reads portal 4711 now\n") {
		t.Errorf("status does not say that nobody leads:\n%s", r.stdout)
	}
	began := time.Now()
	s.must(nil, "backfill", "deals")
	if took := time.Since(began); took > runBound/2 {
		t.Errorf("a backfill after a graceful stop took %s", took)
	}
}
