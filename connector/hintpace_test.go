package connector

import (
	"testing"
	"time"
)

// TestTheMoreHappensTheMoreRecordsARead has hints come at steady rates and counts what a read brings and how long the
// first of its hints waited.
func TestTheMoreHappensTheMoreRecordsARead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rate  float64       // hints a second
		least float64       // hints in a read
		reads float64       // a second, at most
		wait  time.Duration // of the first hint of a read, at most
	}{
		{rate: 0.1, least: 1, reads: 0.11, wait: 20 * time.Millisecond},
		{rate: 1, least: 1, reads: 1.01, wait: 100 * time.Millisecond},
		{rate: 5, least: 1.5, reads: 3, wait: 400 * time.Millisecond},
		{rate: 10, least: 5, reads: 2, wait: 650 * time.Millisecond},
		{rate: 50, least: 30, reads: 1.7, wait: 650 * time.Millisecond},
		{rate: 150, least: 80, reads: 2, wait: 650 * time.Millisecond},
		{rate: 500, least: 80, reads: 7, wait: 250 * time.Millisecond},
	} {
		now := time.Unix(0, 0)
		pace := &hintPace{now: func() time.Time { return now }}
		gap := time.Duration(float64(time.Second) / test.rate)
		next, reads, hints := now.Add(gap), 0, 0
		var longest time.Duration
		for settled := now.Add(20 * gap).Add(20 * time.Second); reads < 300; {
			if now.Before(next) {
				now = next // the first hint of the batch
			}
			n := 0
			arrive := func() {
				for ; !next.After(now); next = next.Add(gap) {
					n++
				}
			}
			arrive()
			wait := pace.linger(n)
			now = now.Add(wait)
			arrive()
			n = min(n, hydrateMost)
			pace.add(n)
			if now.After(settled) {
				reads, hints, longest = reads+1, hints+n, max(longest, wait)
			}
		}
		each := float64(hints) / float64(reads)
		t.Logf("%5.1f hints a second: %5.1f in a read, %.2f reads a second, the longest wait %s", test.rate, each, test.rate/each, longest)
		if each < test.least || test.rate/each > test.reads || longest > test.wait {
			t.Errorf("%5.1f hints a second: %.1f in a read, want %.1f; %.2f reads a second, want at most %.2f; waited %s, want at most %s",
				test.rate, each, test.least, test.rate/each, test.reads, longest, test.wait)
		}
	}
}

func TestAfterAPauseTheFirstHintIsReadAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	pace := &hintPace{now: func() time.Time { return now }}
	for range 20 {
		pace.linger(1)
		pace.add(50)
		now = now.Add(time.Second)
	}
	equal(t, "busy", pace.linger(1), lingerMost)
	pace.add(50)
	now = now.Add(time.Hour)
	equal(t, "after an hour", pace.linger(1) < 20*time.Millisecond, true)
}
