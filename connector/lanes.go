package connector

import (
	"math"
	"time"
)

// quota is what the client's budget allows, see hubspot.Usage.
type quota struct {
	limit          int // requests per interval
	interval       time.Duration
	searchLimit    int // searches per searchInterval
	searchInterval time.Duration
	searchCounts   bool // searches take from limit as well
	others         int  // requests of the last interval that are not the lanes'
}

// searches returns how many searches fit in one burst interval.
func (q quota) searches() int {
	return int(float64(q.searchLimit) * float64(q.interval) / float64(q.searchInterval))
}

// maxCursors bounds how many ranges are listed at once, whatever the latency.
const maxCursors = 24

// lanes decides when a page is requested and which. List comes in bursts: the quota of an interval is spent as early as
// the interval allows, and every request is given back one interval later. Search runs evenly at its own limit, and as it
// brings twice the records for the same burst quota, its share of that is kept free from the first second on.
type lanes struct {
	plan    *loadPlan
	lists   pace
	search  pace
	both    pace
	latency time.Duration // of a list page, smoothed
}

// next returns a page to request now, nil if no lane is free or none has anything useful to do.
func (l *lanes) next(now time.Time, q quota) *pageRequest {
	if free := l.search.free(now, q.searchLimit, q.searchInterval); free > 0 {
		if r := l.plan.nextSearch(free, l.parallel(q)); r != nil {
			l.search.start(r, now)
			l.both.start(r, now)
			return r
		}
	}
	if l.lists.free(now, l.listLimit(q), q.interval) > 0 {
		pages, within := l.pages(now, q)
		cursors := l.cursors(min(pages, l.listLimit(q)), within, q)
		if r := l.plan.nextList(pages, cursors); r != nil {
			l.lists.start(r, now)
			l.both.start(r, now)
			return r
		}
	}
	return nil
}

// wait returns how long until a lane may send again, 0 if no lane is held up.
func (l *lanes) wait(now time.Time, q quota) (wait time.Duration) {
	l.lists.free(now, 0, q.interval)
	l.search.free(now, 0, q.searchInterval)
	for _, waits := range [][]time.Duration{l.lists.waits(now, q.interval), l.search.waits(now, q.searchInterval)} {
		if len(waits) > 0 && (wait == 0 || waits[0] < wait) {
			wait = waits[0]
		}
	}
	return wait
}

// listLimit returns how many list pages fit in an interval beside the searches, and beside what others use.
func (l *lanes) listLimit(q quota) int {
	if !q.searchCounts || !l.plan.searchable() {
		return max(q.limit-q.others, 0)
	}
	return max(q.limit-q.others-min(q.searches(), q.limit-q.limit/8), 0)
}

// pages returns how many list pages can be had before everything is read, and when that will be. Beyond one interval it
// does not look: then there are always enough, and a fifth of an interval is a good time to spend its quota in. (Later, the
// quota comes back later, too; sooner takes more ranges, each with records read twice at its end. In the simulation of
// TestPlanNearsTheLeastTime at 190 per 10 s a third takes 0.7 s longer, an eighth 0.2 s.)
func (l *lanes) pages(now time.Time, q quota) (n int, within time.Duration) {
	limit, left := l.listLimit(q), l.plan.left()
	perSecond := searchPage * float64(q.searchLimit) / q.searchInterval.Seconds()
	free, waits := l.lists.free(now, limit, q.interval), l.lists.waits(now, q.interval)
	for ; n <= limit; n++ {
		at := 0.0 // when page n+1 can be had
		if i := n - free; i >= 0 && i < len(waits) {
			at = waits[i].Seconds()
		}
		if end := (left - float64(n)*listPage) / perSecond; end <= at {
			return n, time.Duration(end * float64(time.Second))
		}
	}
	return math.MaxInt, q.interval / 5
}

// cursors returns how many ranges must be listed at once to get so many pages in that time.
func (l *lanes) cursors(pages int, within time.Duration, q quota) int {
	latency := l.latency
	if latency == 0 {
		latency = q.interval / 66
	}
	n := float64(pages) * float64(latency) / float64(max(within, q.interval/16))
	return int(min(max(math.Ceil(n), 2), maxCursors))
}

// parallel returns how many searches must be in flight to use their quota.
func (l *lanes) parallel(q quota) int {
	latency := max(l.search.fastest, q.interval/66)
	return 1 + int(math.Ceil(float64(q.searchLimit)*float64(latency)/float64(q.searchInterval)))
}

// took notes an answer.
func (l *lanes) took(r *pageRequest, now time.Time) {
	if r.lane == laneSearch {
		l.search.took(r, now)
		return
	}
	d := now.Sub(r.at)
	l.lists.took(r, now)
	d = min(d, l.lists.fastest*3/2) // the rest it waited for the budget
	if l.latency == 0 {
		l.latency = d
	}
	l.latency += (d - l.latency) / 8
}
