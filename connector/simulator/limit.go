package simulator

import (
	"sort"
	"sync"
	"time"
)

// window is an exact rolling limit: a log of the arrivals that were admitted. An arrival is admitted while fewer than
// limit others lie within the interval before it.
type window struct {
	limit    int
	interval time.Duration
	log      []time.Time // ring of the last limit admissions
	next     int
	peak     int // most admissions seen in any interval
	refused  int
}

func newWindow(limit int, interval time.Duration) *window {
	return &window{limit: limit, interval: interval}
}

// used returns how many admissions the interval before now holds. The log is in order of time.
func (w *window) used(now time.Time) int {
	oldest := 0
	if len(w.log) == w.limit {
		oldest = w.next
	}
	return len(w.log) - sort.Search(len(w.log), func(i int) bool {
		return now.Sub(w.log[(oldest+i)%len(w.log)]) < w.interval
	})
}

// free says whether an arrival at now would be admitted.
func (w *window) free(now time.Time) bool {
	if len(w.log) < w.limit {
		return true
	}
	return now.Sub(w.log[w.next]) >= w.interval
}

// admit logs an arrival that free allowed.
func (w *window) admit(now time.Time) {
	if len(w.log) < w.limit {
		w.log = append(w.log, now)
		w.next = len(w.log) % w.limit
	} else {
		w.log[w.next] = now
		w.next = (w.next + 1) % w.limit
	}
	w.peak = max(w.peak, w.used(now))
}

// wait returns how long until the next arrival would be admitted.
func (w *window) wait(now time.Time) time.Duration {
	if w.free(now) {
		return 0
	}
	return w.interval - now.Sub(w.log[w.next])
}

// limits are the account's rate limits: a burst window per app, a search window and a daily quota for all.
type limits struct {
	opts Options
	zone *time.Location

	mu     sync.Mutex // guards all below
	burst  map[*app]*window
	search *window
	day    string
	daily  int // requests of private apps today
}

func newLimits(o Options, zone *time.Location) *limits {
	return &limits{opts: o, zone: zone, burst: map[*app]*window{}, search: newWindow(o.SearchLimit, o.SearchInterval)}
}

// verdict is what the limits say to a request: admitted, or refused by a policy.
type verdict struct {
	policy         string // "" = admitted
	wait           time.Duration
	limit          int
	remaining      int
	dailyRemaining int
}

// The policies by which HubSpot refuses a request.
const (
	policyBurst  = "TEN_SECONDLY_ROLLING"
	policySearch = "SECONDLY"
	policyDaily  = "DAILY"
)

// admit decides about a request on its arrival. The clock is read under the lock, so the logs are in order of time.
func (l *limits) admit(a *app, search bool, clock func() time.Time) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := clock()
	w := l.windowOf(a)
	local := now.In(l.zone)
	if today := local.Format(time.DateOnly); today != l.day {
		l.day, l.daily = today, 0
	}
	counted := !search || l.opts.SearchInBurst
	v := verdict{limit: w.limit}
	switch {
	case !a.oauth && l.daily >= l.opts.DailyLimit:
		y, m, d := local.Date()
		v.policy, v.wait = policyDaily, time.Date(y, m, d+1, 0, 0, 0, 0, l.zone).Sub(now)
	case search && !l.search.free(now):
		v.policy, v.wait = policySearch, l.search.wait(now)
		l.search.refused++
	case counted && !w.free(now):
		v.policy, v.wait = policyBurst, w.wait(now)
		w.refused++
	default:
		if !a.oauth {
			l.daily++
		}
		if search {
			l.search.admit(now)
		}
		if counted {
			w.admit(now)
		}
	}
	v.remaining = w.limit - w.used(now)
	v.dailyRemaining = l.opts.DailyLimit - l.daily
	return v
}

func (l *limits) windowOf(a *app) *window {
	w, ok := l.burst[a]
	if !ok {
		w = newWindow(l.opts.BurstLimit, l.opts.Interval)
		if a.oauth {
			w = newWindow(l.opts.OAuthBurstLimit, l.opts.Interval)
		}
		l.burst[a] = w
	}
	return w
}

// spend takes requests out of the account's budgets as another program would: n of the token's app and the day, and
// searches of the account.
func (l *limits) spend(a *app, n, searches, daily int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windowOf(a)
	for range n {
		if w.free(now) {
			w.admit(now)
			l.daily++
		}
	}
	for range searches {
		if l.search.free(now) {
			l.search.admit(now)
			l.daily++
		}
	}
	l.daily += daily
}
