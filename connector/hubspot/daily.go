package hubspot

import "time"

// Reasons for a park.
const (
	parkedDaily     = "daily limit of the account reached"
	parkedShare     = "our share of the daily limit used"
	parkedMigration = "hubspot is moving the account to another data centre"
)

// daily is the quota of the account per day, which all its apps share.
type daily struct {
	share       float64
	limit       int            // 0 if unknown
	remaining   int            // as HubSpot last said; -1 if it has not
	sinceHeader int            // requests granted since
	used        int            // by us, today
	zone        *time.Location // UTC while unknown
	zoneKnown   bool
	resetsAt    time.Time // local clock; zero if unknown
	clock       func() time.Time
}

// left returns how many requests the account has left today, and whether that is known.
func (d *daily) left() (int, bool) {
	switch {
	case d.limit <= 0:
		return 0, false
	case d.remaining >= 0:
		return d.remaining - d.sinceHeader, true
	}
	return d.limit - d.used, true
}

// allows reports whether a request of priority p is within our share. The last tenth of the share is kept for changes:
// backfill and verify stop before.
func (d *daily) allows(p Priority) bool {
	left, known := d.left()
	if !known {
		return true
	}
	keep := float64(d.limit) * (1 - d.share)
	if p <= PriorityBackfill {
		keep += float64(d.limit) * d.share / 10
	}
	return float64(left) > keep
}

func (d *daily) learn(l *limits, inFlight int) {
	if l.daily > 0 {
		d.limit = l.daily
	}
	if l.dailyRemaining >= 0 {
		// Requests on the way may or may not be counted yet: suppose that they are not.
		d.remaining, d.sinceHeader = l.dailyRemaining, inFlight
	}
}

// roll starts a new day when the old one has passed.
func (d *daily) roll(now time.Time) {
	if now.Before(d.resetsAt) {
		return
	}
	if !d.resetsAt.IsZero() {
		d.remaining, d.sinceHeader, d.used = -1, 0, 0
	}
	d.resetsAt = now.Add(d.untilMidnight())
}

// untilMidnight returns how long the day of the account still lasts, by HubSpot's clock.
func (d *daily) untilMidnight() time.Duration {
	t := d.clock().In(d.zone)
	midnight := time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, d.zone)
	for midnight.Day() == t.Day() { // clocks go forward at midnight: there is none, the day begins at one
		midnight = midnight.Add(time.Hour)
	}
	return midnight.Sub(t)
}

// probePause is how long to wait before asking whether the daily quota is there again, when nothing says when it will be.
const probePause = 15 * time.Minute

// parkForDay keeps everything back until the daily quota starts anew: at midnight in the account's time zone. Where that is
// unknown, or has passed only just, one request in a quarter of an hour finds out.
func (b *budget) parkForDay(now time.Time, reason string) {
	d := &b.daily
	b.probing = true
	pause := probePause
	if d.zoneKnown || reason == parkedShare && d.remaining < 0 {
		// The two clocks may differ by a little: at midnight plus one second.
		if untilMidnight := d.untilMidnight() + time.Second; untilMidnight < 24*time.Hour-probePause {
			pause = untilMidnight
		}
	}
	d.remaining, d.sinceHeader = -1, 0
	d.used = 0
	b.parkLocked(now.Add(pause), reason)
}

// setZone tells the budget the account's time zone.
func (b *budget) setZone(zone *time.Location) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.daily.zone, b.daily.zoneKnown = zone, true
	b.daily.resetsAt = time.Now().Add(b.daily.untilMidnight())
}
