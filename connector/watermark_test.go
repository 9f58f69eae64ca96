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
	equal(t, "first pass begins before the full read, less the reach", since, at(-60).Add(-reach))
	v = v.extend(since, at(30), settle)
	equal(t, "watermark", v.watermark(c, settle), time.Time{})
	since = v.next(c, at(90), settle, reach)
	v = v.extend(since, at(90), settle)
	equal(t, "coverage", v, coverage{at(-60).Add(-reach), at(90)})

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

	v = coverage{from: at(900), start: at(2060)}
	equal(t, "a pass past a gap proves nothing", v.extend(at(2500), at(3000), settle), v)

	// A poll that began before the full read was known.
	v = coverage{}.extend(at(-30), at(30), settle)
	c = schemas.Cursor{BackfilledAt: at(0)}
	equal(t, "watermark", v.watermark(c, settle), time.Time{})
	equal(t, "next pass", v.next(c, at(40), settle, reach), at(-60).Add(-reach))
}

func TestWatermarkReadsAgainWhenTheSettleTimeGrows(t *testing.T) {
	t.Parallel()
	c := schemas.Cursor{BackfilledAt: at(0), CompleteThrough: at(1940)}
	v := coverage{from: at(900), start: at(2000)}
	const longer = 5 * time.Minute
	since := v.next(c, at(2012), longer, reach)
	equal(t, "next pass goes back further", since, at(1700))
	equal(t, "watermark stays", v.extend(since, at(2012), longer).watermark(c, longer), at(1940))
	equal(t, "until time has caught up", v.extend(since, at(2312), longer).watermark(c, longer), at(2012))
	equal(t, "growth during a pass", v.extend(at(1940), at(2012), longer), v)
}

// A wrong clock wrote a watermark of next year: it is not believed, nothing is skipped, and it is put right.
func TestWatermarkOfTheFutureIsPutRight(t *testing.T) {
	t.Parallel()
	c := schemas.Cursor{BackfilledAt: at(0), CompleteThrough: at(365 * 86400)}
	since := coverage{}.next(c, at(5000), settle, reach)
	equal(t, "next pass begins at what is sure", since, at(-60).Add(-reach))
	v := coverage{}.extend(since, at(5000), settle)
	equal(t, "watermark", v.watermark(c, settle), at(4940))
}

func TestWatermarkNeverGoesBack(t *testing.T) {
	t.Parallel()
	c := schemas.Cursor{BackfilledAt: at(0), CompleteThrough: at(1000)}
	v := coverage{}.extend(at(100), at(1030), settle)
	equal(t, "watermark", v.watermark(c, settle), at(1000))
}

func TestAPassWithResultsMissingProvesOnlyWhatIsPastTheReach(t *testing.T) {
	t.Parallel()
	c := schemas.Cursor{BackfilledAt: at(0), CompleteThrough: at(9940)}
	v := coverage{from: at(9000), start: at(10_000)}
	for _, start := range []int{10_012, 10_900} { // reach is 900 s
		equal(t, "coverage", v.extendShort(c, at(8000), at(start), settle, reach), v)
	}
	longer := v.extendShort(c, at(9940), at(10_960), settle, reach)
	equal(t, "what was waited for long enough", longer, coverage{at(9000), at(10_060)})
	equal(t, "watermark", longer.watermark(c, settle), at(10_000))
	equal(t, "a whole pass makes up for it", longer.extend(at(9940), at(10_972), settle).watermark(c, settle), at(10_912))

	equal(t, "the first pass of a process", coverage{}.extendShort(c, at(9040), at(10_012), settle, reach), coverage{})
	v = coverage{}.extendShort(c, at(9040), at(10_852), settle, reach)
	equal(t, "when it is late enough", v, coverage{at(9040), at(9952)})
	equal(t, "watermark never goes back", v.watermark(c, settle), at(9940))
	equal(t, "nothing was read yet", coverage{}.extendShort(schemas.Cursor{}, at(9940), at(10_000), settle, reach), coverage{})
}
