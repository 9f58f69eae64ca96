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
	latency time.Duration // of a list page, smoothed
}

// next returns a page to request now, nil if no lane is free or none has anything useful to do.
func (l *lanes) next(now time.Time, q quota) *pageRequest {
	if l.search.free(now, q.searchLimit, q.searchInterval) > 0 {
		if r := l.plan.next(laneSearch, 0, 0); r != nil {
			l.search.start(now)
			return r
		}
	}
	if l.lists.free(now, l.listLimit(q), q.interval) > 0 {
		pages, within := l.pages(now, q)
		if r := l.plan.next(laneList, pages, l.cursors(q, pages, within)); r != nil {
			l.lists.start(now)
			return r
		}
	}
	return nil
}

// wait returns how long until a lane may send again.
func (l *lanes) wait(now time.Time, q quota) time.Duration {
	l.lists.free(now, 0, q.interval)
	l.search.free(now, 0, q.searchInterval)
	list, search := l.lists.wait(now, q.interval), l.search.wait(now, q.searchInterval)
	if search == 0 || list != 0 && list < search {
		return list
	}
	return search
}

// listLimit returns how many list pages fit in an interval beside the searches.
func (l *lanes) listLimit(q quota) int {
	if !q.searchCounts || !l.plan.searchable() {
		return q.limit
	}
	return max(q.limit-q.searches(), 0)
}

// pages returns how many list pages can be had before everything is read, and when that will be. Beyond one interval it
// does not look: then there are always enough, and a quarter of an interval is a good time to spend one's quota in.
func (l *lanes) pages(now time.Time, q quota) (n int, within time.Duration) {
	limit, left := l.listLimit(q), l.plan.left()
	perSecond := searchPage * float64(q.searchLimit) / q.searchInterval.Seconds()
	free := l.lists.free(now, limit, q.interval)
	for ; n <= limit; n++ {
		at := 0.0 // when page n+1 can be had
		if i := n - free; i >= 0 && i < len(l.lists.starts) {
			at = l.lists.starts[i].Add(q.interval).Sub(now).Seconds()
		}
		if end := (left - float64(n)*listPage) / perSecond; end <= at {
			return n, time.Duration(end * float64(time.Second))
		}
	}
	return math.MaxInt, q.interval / 4
}

// cursors returns how many ranges must be listed at once to get so many pages in that time.
func (l *lanes) cursors(q quota, pages int, within time.Duration) int {
	latency := l.latency
	if latency == 0 {
		latency = q.interval / 66
	}
	burst := q.interval / 4
	n := float64(min(pages, l.listLimit(q))) * float64(latency) / float64(max(within, burst/4))
	return int(min(max(math.Ceil(n), 2), maxCursors))
}

// took notes how long a list page took.
func (l *lanes) took(d time.Duration) {
	if l.latency == 0 {
		l.latency = d
	}
	l.latency += (d - l.latency) / 8
}
