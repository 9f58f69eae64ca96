package connector

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

const (
	settle = time.Minute
	reach  = 15 * time.Minute
)

func at(seconds int) time.Time { return day.Add(time.Duration(seconds) * time.Second) }

func TestWatermarkIsZeroUntilTheFirstFullReadIsDone(t *testing.T) {
	t.Parallel()
	c := schemas.Cursor{Backfill: &schemas.Backfill{StartedAt: at(0)}}
	var v coverage
	since := v.next(c, at(30), settle, reach)
	equal(t, "first pass begins before the full read", since, at(-60))
	v = v.extend(since, at(30), settle)
	equal(t, "watermark", v.watermark(c, settle), time.Time{})
	since = v.next(c, at(90), settle, reach)
	v = v.extend(since, at(90), settle)
	equal(t, "coverage", v, coverage{at(-60), at(30)})

	c.Backfill, c.BackfilledAt = nil, at(0)
	equal(t, "watermark when it is done", v.watermark(c, settle), at(30))
}

func TestWatermarkFollowsDeepPassesBySettleTime(t *testing.T) {
	t.Parallel()
	c := schemas.Cursor{BackfilledAt: at(0), CompleteThrough: at(1000)}
	var v coverage
	for _, start := range []int{5000, 5012, 5040} {
		since := v.next(c, at(start), settle, reach)
		v = v.extend(since, at(start), settle)
		c.CompleteThrough = v.watermark(c, settle)
		equal(t, "watermark", c.CompleteThrough, at(start-60))
		equal(t, "next pass begins there", v.next(c, at(start+12), settle, reach), at(start-60))
	}
	equal(t, "a restart reaches further back", coverage{}.next(c, at(6000), settle, reach), at(4980).Add(-reach))
}

func TestWatermarkNeverClaimsAGap(t *testing.T) {
	t.Parallel()
	c := schemas.Cursor{BackfilledAt: at(0), CompleteThrough: at(1000)}
	v := coverage{}.extend(at(2000), at(3000), settle) // begins after what is known
	equal(t, "watermark", v.watermark(c, settle), at(1000))
	equal(t, "next pass closes the gap", v.next(c, at(3012), settle, reach), at(1000).Add(-reach))

	v = coverage{from: at(900), to: at(2000)}.extend(at(2500), at(3000), settle)
	equal(t, "coverage past a gap begins anew", v, coverage{at(2500), at(2940)})
	equal(t, "watermark", v.watermark(c, settle), at(1000))

	// A poll that began before the full read was known.
	v = coverage{}.extend(at(-30), at(30), settle)
	c = schemas.Cursor{BackfilledAt: at(0)}
	equal(t, "watermark", v.watermark(c, settle), time.Time{})
	equal(t, "next pass", v.next(c, at(40), settle, reach), at(-60))
}

func TestWatermarkNeverGoesBack(t *testing.T) {
	t.Parallel()
	c := schemas.Cursor{BackfilledAt: at(0), CompleteThrough: at(1000)}
	v := coverage{}.extend(at(100), at(1030), settle)
	equal(t, "watermark", v.watermark(c, settle), at(1000))
}
