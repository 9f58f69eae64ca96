package main

import (
	"strings"
	"testing"
)

func TestAddressesThatAreWrongAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	token := "HUBSPOT_ACCESS_TOKEN=pat-" + canary
	for _, test := range []struct {
		env   string
		args  []string
		words []string
	}{
		{"HUBTAIL_HUBSPOT_URL=api.hubapi.com", []string{"webhooks"}, []string{"--hubspot-url", "HUBTAIL_HUBSPOT_URL", `"api.hubapi.com"`}},
		{"DATABASE_URL=http://u:" + canary + "@host/db", []string{"migrate"}, []string{"DATABASE_URL", "postgresql://"}},
	} {
		r := hubtail(t, dir, []string{token, test.env}, test.args...)
		r.complaint(t, exitUsage, test.words...)
		requireNoSecret(t, r)
	}
}

func TestALogThatIsNotThereYetIsNoRiddle(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	if r := s.run([]string{"DATABASE_URL="}, "status"); r.code != exitUnhealthy {
		t.Errorf("exit code %d", r.code)
	} else if want := "no log yet: start a source"; !strings.Contains(r.stdout, want) {
		t.Errorf("no %q in\n%s", want, r.stdout)
	}
}

func TestHubSpotThatDoesNotAnswerIsNamed(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	nowhere := "http://" + freeAddr(t)
	s.env = []string{"HUBTAIL_HUBSPOT_URL=" + nowhere}
	asking := s.start("webhooks", "--objects", "contacts")
	s.eventually(runBound, "it is named", func() bool {
		return strings.Contains(asking.output.String(), "no answer from "+nowhere+" (--hubspot-url")
	}, asking)
}
