package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// quotaStatus is what `status --json` says about the quota.
func (s *stack) quotaStatus() (q schemas.Quota, problems string) {
	s.t.Helper()
	r := s.run(nil, "status", "--json")
	var status struct {
		Quota    schemas.Quota
		Problems []string
	}
	if err := json.Unmarshal([]byte(r.stdout), &status); err != nil {
		s.t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	return status.Quota, strings.Join(status.Problems, "\n")
}

// TestStopsOfHubSpotShowInStatusAndEndByThemselves uses up the account's daily quota shortly before its midnight, and
// then lets HubSpot fail for a while. Webhooks are taken all the time, and worked off afterwards.
func TestStopsOfHubSpotShowInStatusAndEndByThemselves(t *testing.T) {
	t.Parallel()
	portal := untold()
	portal.TimeZone = "Asia/Kolkata"
	s := newStack(t, portal)
	addr := freeAddr(t)
	s.env = []string{"HUBSPOT_CLIENT_SECRET=secret-" + canary, "HUBTAIL_WEBHOOK_URL=http://" + addr + "/hubspot", "HUBTAIL_ADMIN_ADDR=off", "HUBTAIL_OBJECTS=contacts"}
	running := []*process{s.start("source", "--webhook-addr", addr), s.start("sink")}
	conn := s.connect()
	s.eventually(runBound, "the load", func() bool {
		return rowsOf(conn, "select count(*) from hubspot.sync_logs where sync_type = 'full' and object_type = 'contacts'") == 1
	}, running...)
	s.deliverTo(addr)
	ids := s.simulator.IDs("contacts", 0, 2, 1)
	told := func(id, name string) {
		t.Helper()
		must(t, s.simulator.Update("contacts", id, map[string]string{"lastname": name}))
		s.eventually(runBound, "the webhook is taken", func() bool {
			w := s.simulator.Stats().Webhooks
			return w.Delivered > 0 && w.Pending == 0
		}, running...)
		if n := s.simulator.Stats().Webhooks.Failed; n > 0 {
			t.Errorf("%d webhooks were not taken", n)
		}
	}
	arrived := func(name string) func() bool {
		return func() bool {
			return rowsOf(conn, "select count(*) from hubspot.contacts where lastname = '"+name+"'") == 1
		}
	}

	// The account's day ends in 40 seconds; the source believes it after a few answers.
	zone, err := time.LoadLocation(portal.TimeZone)
	must(t, err)
	now := s.simulator.Now().In(zone)
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, zone)
	s.simulator.Advance(midnight.Sub(now) - 40*time.Second)
	seen := s.simulator.Stats().Requests + 5
	s.eventually(runBound, "some polls", func() bool { return s.simulator.Stats().Requests > seen }, running...)
	s.simulator.Spend("", 0, 0, portal.DailyLimit+10_000_000)
	var q schemas.Quota
	s.eventually(runBound, "status says that HubSpot is not asked", func() bool {
		problems := ""
		q, problems = s.quotaStatus()
		return !q.ParkedUntil.IsZero() && strings.Contains(problems, "HubSpot is not asked before")
	}, running...)
	// The source's clock is its machine's, the account's midnight HubSpot's.
	left := midnight.Sub(s.simulator.Now())
	if off := time.Until(q.ParkedUntil) - left; off.Abs() > 4*time.Second || q.ParkedFor != "daily limit of the account reached" {
		t.Errorf("parked for %v (%s), midnight is in %v", time.Until(q.ParkedUntil), q.ParkedFor, left)
	}
	told(ids[0], "Parked")
	s.eventually(runBound, "what came meanwhile", arrived("Parked"), running...)

	// An outage.
	s.simulator.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 503})
	s.eventually(runBound, "status says that the breaker is open", func() bool {
		q, problems := s.quotaStatus()
		return q.Breaker == "open" && strings.Contains(problems, "circuit breaker is open")
	}, running...)
	told(ids[1], "Broken")
	s.simulator.ClearFaults()
	s.eventually(runBound, "what came meanwhile", arrived("Broken"), running...)
	s.eventually(runBound, "status says that all is well", func() bool {
		q, problems := s.quotaStatus()
		return q.Breaker == "closed" && q.ParkedUntil.IsZero() && !strings.Contains(problems, "HubSpot")
	}, running...)
	for _, p := range running {
		p.stop(t)
	}
}
