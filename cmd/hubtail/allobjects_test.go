package main

import (
	"context"
	"regexp"
	"testing"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/proof"
)

// TestAllObjectsReachTheirTables takes every object type that HubSpot has through one sync, odd values included, one that
// the token may not read, and one custom type that is called like a standard one.
func TestAllObjectsReachTheirTables(t *testing.T) {
	t.Parallel()
	portal := simulator.Options{
		Records: map[string]int{}, Owners: 5, BurstLimit: 100_000, SearchLimit: 10_000, Latency: -1, IndexLag: simulator.Lag{Off: true},
		CustomObjects: []simulator.CustomObject{{Name: "cars", Count: 30}, {Name: "contacts", Count: 20}},
	}
	names := []string{"owners", "p_cars", "p_contacts"}
	for i, o := range hubspot.Objects() {
		if portal.Records[o.Name] = 5 + i; o.Name != "leads" {
			names = append(names, o.Name)
		}
	}
	s := newStack(t, portal)
	s.simulator.DenyScope("crm.objects.leads.read", true)
	s.simulator.DenyScope("crm.schemas.leads.read", true)
	s.env = append(s.env, "HUBTAIL_OBJECTS=all", "HUBTAIL_BURST_LIMIT=100000")
	r := s.must(nil, "sync")
	if !regexp.MustCompile(`(?m)^leads +0 fetched.*crm\.\w+\.leads\.read`).MatchString(r.stdout) {
		t.Errorf("the missing scope is not named:\n%s", r.stdout)
	}
	conn := s.connect()
	s.requireEqual(conn, names)

	// A stage and a pipeline that are removed are no longer current.
	deals := s.simulator.Pipelines("deals")
	deals[0].Stages = deals[0].Stages[1:]
	if err := s.simulator.SetPipelines("deals", deals); err != nil {
		t.Fatal(err)
	}
	if err := s.simulator.SetPipelines("tickets", nil); err != nil {
		t.Fatal(err)
	}
	s.must(nil, "sync")
	for _, object := range []string{"deals", "tickets"} {
		r, err := proof.ComparePipelines(context.Background(), conn, "hubspot", object, s.hubspot, "pat-simulator")
		if err != nil || !r.Equal() {
			t.Errorf("%s: %v %+v", object, err, r)
		}
	}
	if n := s.count("select count(*) from hubspot.pipeline_stages where archived"); n != 1+4 {
		t.Errorf("%d stages are archived, want the one of deals and four of tickets", n)
	}
}
