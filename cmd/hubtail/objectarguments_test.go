package main

import (
	"strings"
	"testing"
)

// TestObjectTypesThatNobodyHasAreWrongUsageEverywhere gives every command that takes object types one that there is not: all
// say so in the same way, and which one may be meant. Singular names, type ids and other capitals mean the type.
func TestObjectTypesThatNobodyHasAreWrongUsageEverywhere(t *testing.T) {
	t.Parallel()
	s := newStack(t, smallPortal())
	s.must(nil, "backfill", "contacts", "deals")
	id := s.simulator.IDs("contacts", 3, 1, 1)[0]
	for _, line := range []string{
		"backfill unicorns", "backfill --dry-run unicorns", "verify unicorns", "verify --dry-run unicorns", "sync --objects unicorns",
		"source --objects unicorns", "up --objects unicorns", "webhooks --objects unicorns",
		"rebuild unicorns", "rebuild --dry-run unicorns", "rebuild --as-of 1h --into then unicorns",
		"tail unicorns", "diff 1h now unicorns", "history unicorns 1", "explain unicorns 1", "erase --yes unicorns 1",
		"expose unicorns", "expose --remove unicorns", "expose --print unicorns",
		"dead-letters list --object unicorns", "dead-letters redrive --object unicorns", "dead-letters drop --yes --object unicorns",
	} {
		t.Run(line, func(t *testing.T) {
			s.run(nil, strings.Fields(line)...).complaint(t, exitUsage, "unicorns")
		})
	}
	for _, line := range []string{
		"backfill contcats", "verify --dry-run contcats", "sync --objects contcats,deals", "webhooks --objects contcats", "rebuild --dry-run contcats",
		"rebuild --as-of 0s --dry-run contcats", "tail contcats", "diff 1s now contcats", "history contcats 1", "explain contcats 1", "expose --print contcats",
	} {
		t.Run(line, func(t *testing.T) {
			s.run(nil, strings.Fields(line)...).complaint(t, exitUsage, "(did you mean contacts?)")
		})
	}
	s.must(nil, "sync", "--objects", "CONTACTS,Deal", "--associations", "Contacts:Deals")
	for _, name := range []string{"contact", "0-1", "Contacts"} {
		for _, line := range []string{
			"backfill --dry-run " + name, "verify " + name, "rebuild --dry-run " + name, "rebuild --as-of 0s --dry-run " + name, "tail --from start --limit 1 " + name,
			"diff 1s now " + name, "history " + name + " " + id, "explain " + name + " " + id, "expose --print " + name,
			"dead-letters list --object " + name, "dead-letters redrive --object " + name, "dead-letters drop --yes --object " + name,
		} {
			t.Run(line, func(t *testing.T) { s.must(nil, strings.Fields(line)...) })
		}
	}
}
