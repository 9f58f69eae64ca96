package hubspot

import (
	"slices"
	"time"
)

// grant is a request sent, for the statistics of demand.
type grant struct {
	at       time.Time
	priority Priority
	search   bool
}

// reserve returns how many free slots of the burst quota w must leave for others:
//
//   - what higher priorities have lately used in an interval, so that a burst of background work does not lock them out
//     for the rest of the interval;
//   - for requests other than searches: what searches will use. A search brings twice as many records as a list page, and
//     5 a second make 50 in 10 s: a burst of lists that took the whole window would keep them out. Without searches,
//     nothing is kept for them.
func (b *budget) reserve(w *waiter, now time.Time) int {
	n := b.reserveHigher(w.priority, now)
	if !w.search && b.learned.state != searchOutside {
		n += b.reserveSearch(w.priority, now)
	}
	// However much others want, a tenth stays for w.
	return min(n, b.window.limit-max(1, b.window.limit/10))
}

// reserveHigher returns the most that higher priorities used in one of the last three intervals, less what they hold now.
func (b *budget) reserveHigher(p Priority, now time.Time) int {
	var used [3]int
	for _, g := range b.history {
		if age := now.Sub(g.at); g.priority > p && age < 3*b.window.interval && b.countsInWindow(g.search) {
			used[age/b.window.interval]++
		}
	}
	held := 0
	for _, s := range b.slots {
		if s.priority > p && b.countsInWindow(s.search) {
			held++
		}
	}
	want := max(used[0], used[1], used[2])
	switch hungry := b.lastFull[p+1:]; {
	case want == 0:
	case slices.ContainsFunc(hungry, func(t time.Time) bool { return !t.IsZero() && now.Sub(t) < 3*b.window.interval }):
		want += want/2 + 3 // they would have used more, had there been room
	case used[0] == want && used[1] == 0 && used[2] == 0, used[1] == want && used[0] == 0 && used[2] == 0, used[2] == want && used[0] == 0 && used[1] == 0:
		want = 0 // a single burst, as at the start, is no lasting demand
	}
	return max(0, min(want, b.window.limit/2)-held)
}

// reserveSearch returns how many slots searches of priority p will want beside those they hold.
func (b *budget) reserveSearch(p Priority, now time.Time) int {
	held, waiting := 0, false
	for _, s := range b.slots {
		if s.search && s.priority == p {
			held++
		}
	}
	for _, w := range b.waiters {
		waiting = waiting || w.search && w.priority == p
	}
	full := b.search.effective() * int(b.window.interval/max(b.search.interval, 1))
	recent := waiting || b.searchedLately(p, now)
	switch {
	case !recent && !(p <= PriorityBackfill && b.starting(now)):
		return 0
	case b.starting(now) || waiting || now.Sub(b.crowded) < b.recent():
		return max(0, full-held)
	}
	// Searches that never have to wait take what they took, or a little more.
	return max(0, min(full, held+held/4+b.search.limit)-held)
}

// recent is how long a search stands for more to come.
func (b *budget) recent() time.Duration { return 2 * b.search.interval }

func (b *budget) searchedLately(p Priority, now time.Time) bool {
	return !b.lastSearch[p].IsZero() && now.Sub(b.lastSearch[p]) < b.recent()
}

// starting reports whether the client has only just begun: the first search of a backfill may come right after the first
// list.
func (b *budget) starting(now time.Time) bool { return now.Sub(b.started) < b.recent() }

// reserveEnds calls at with the moments at which the reserve for searches falls away.
func (b *budget) reserveEnds(now time.Time, at func(time.Time)) {
	at(b.started.Add(b.recent()))
	at(b.crowded.Add(b.recent()))
	for _, t := range b.lastSearch {
		at(t.Add(b.recent()))
	}
}
