package main

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

func TestStatusSaysWhatAComparisonLeft(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := status{At: now, Objects: []objectStatus{
		{Object: "calls"},
		{Object: "contacts", Verified: &schemas.Verified{At: now.Add(-time.Hour), Differences: 3, Repaired: 3}},
		{Object: "deals", Verified: &schemas.Verified{At: now.Add(-time.Hour), Differences: 3, Repaired: 1}},
	}}
	for i, want := range []string{"-", "1h0m0s ago", "1h0m0s ago, 2 left"} {
		if got := s.Objects[i].verifiedText(now); got != want {
			t.Errorf("%s: %q, want %q", s.Objects[i].Object, got, want)
		}
	}
	s.judgeVerified()
	if len(s.Problems) != 1 || s.Problems[0] != "2 differences of deals between HubSpot and the log could not be repaired: hubtail verify --repair deals names them" {
		t.Errorf("problems: %q", s.Problems)
	}
}
