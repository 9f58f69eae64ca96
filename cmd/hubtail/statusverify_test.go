package main

import (
	"reflect"
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
	if len(s.Problems) != 1 || s.Problems[0] != "the last comparison of deals left 2 differences: `hubtail verify --repair deals` repairs them, or says why not" {
		t.Errorf("problems: %q", s.Problems)
	}
}

func TestTheNewestComparisonWithHubSpotCounts(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	run := func(kind string, after time.Duration, requests int64) *schemas.Run {
		return &schemas.Run{SyncType: kind, StartedAt: at.Add(after), Counts: schemas.Counts{Updated: 5, Failed: 2, APICalls: requests}}
	}
	cursor, newer := &schemas.Verified{At: at}, &schemas.Verified{At: at.Add(time.Hour), Differences: 5, Repaired: 3}
	for name, test := range map[string]struct {
		cursor *schemas.Verified
		run    *schemas.Run
		want   *schemas.Verified
	}{
		"the source's alone":    {cursor, nil, cursor},
		"by hand alone":         {nil, run("verify", time.Hour, 7), newer},
		"by hand, later":        {cursor, run("verify", time.Hour, 7), newer},
		"by hand, earlier":      {cursor, run("verify", -time.Hour, 7), cursor},
		"by hand, not HubSpot":  {cursor, run("verify", time.Hour, 0), cursor},
		"a run that reads only": {nil, run("incremental", time.Hour, 7), nil},
	} {
		o := objectStatus{Verified: test.cursor}
		if o.sawVerified(verifiedBy(test.run)); !reflect.DeepEqual(o.Verified, test.want) {
			t.Errorf("%s: %+v, want %+v", name, o.Verified, test.want)
		}
	}
}
