package connector

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// loadForecast lets the lanes of a full read run against a portal of which only the numbers of records are known, in
// virtual time: what it asks for is what the load will ask for, as far as the ids there are spread alike.
type loadForecast struct {
	lanes   lanes
	quota   quota
	objects []*objectForecast

	now    time.Time
	sent   []time.Time // requests of the burst quota
	flight forecastFlights
}

// objectForecast is one object type of a forecast.
type objectForecast struct {
	plan     *objectPlan
	ids      evenIDs
	perList  int // requests that a list page takes
	requests int64
	done     time.Duration // after which all of it is read
}

// takes returns how long a page is on its way, about, while no quota is waited for: 150 ms for a list, 250 ms for a search.
// They are parts of the quota's interval, as for the lanes, so that a portal in a hurry, as tests have it, is the same.
func (f *loadForecast) takes(l lane) time.Duration {
	if l == laneList {
		return f.quota.interval / 66
	}
	return f.quota.interval / 40
}

// run returns how long the load takes.
func (f *loadForecast) run(ctx context.Context) (time.Duration, error) {
	start := time.Unix(1e9, 0)
	f.now = start
	f.lanes.plan = &loadPlan{}
	for _, o := range f.objects {
		f.lanes.plan.objects = append(f.lanes.plan.objects, o.plan)
	}
	for ctx.Err() == nil {
		for q := f.lanes.next(f.now, f.quota); q != nil; q = f.lanes.next(f.now, f.quota) {
			f.send(q)
		}
		wait := f.lanes.wait(f.now, f.quota)
		switch {
		case len(f.flight) == 0 && wait <= 0:
			return f.now.Sub(start), nil
		case len(f.flight) == 0, wait > 0 && f.now.Add(wait).Before(f.flight[0].at):
			if len(f.flight) == 0 && !f.open() {
				return f.now.Sub(start), nil
			}
			f.now = f.now.Add(wait)
		default:
			f.receive(heap.Pop(&f.flight).(forecastFlight), start)
		}
	}
	return 0, ctx.Err()
}

func (f *loadForecast) open() bool {
	return slices.ContainsFunc(f.objects, func(o *objectForecast) bool { return !o.plan.done() })
}

// send puts a request on its way as soon as the burst quota lets it go: at most limit in any interval.
func (f *loadForecast) send(q *pageRequest) {
	o, n := f.of(q), 1
	if q.lane == laneList {
		n = o.perList
	}
	o.requests += int64(n)
	at := f.now
	for range n {
		if i := len(f.sent) - f.quota.limit; (q.lane == laneList || f.quota.searchCounts) && i >= 0 {
			at = later(at, f.sent[i].Add(f.quota.interval))
		}
		f.sent = append(f.sent, at)
	}
	if surplus := len(f.sent) - 2*f.quota.limit; surplus > f.quota.limit {
		f.sent = slices.Delete(f.sent, 0, surplus)
	}
	heap.Push(&f.flight, forecastFlight{at: at.Add(time.Duration(n) * f.takes(q.lane)), request: q})
}

func (f *loadForecast) receive(flight forecastFlight, start time.Time) {
	f.now = flight.at
	f.lanes.took(flight.request, f.now)
	o := f.of(flight.request)
	o.plan.receive(flight.request, o.ids.answer(flight.request))
	if o.plan.done() && o.done == 0 {
		o.done = f.now.Sub(start)
	}
}

func (f *loadForecast) of(q *pageRequest) *objectForecast {
	return f.objects[slices.IndexFunc(f.objects, func(o *objectForecast) bool { return o.plan == q.object })]
}

// forecastFlight is a request under way.
type forecastFlight struct {
	at      time.Time // when its answer comes
	request *pageRequest
}

// forecastFlights is a heap of them, the next answer first.
type forecastFlights []forecastFlight

func (f forecastFlights) Len() int           { return len(f) }
func (f forecastFlights) Less(i, j int) bool { return f[i].at.Before(f[j].at) }
func (f forecastFlights) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *forecastFlights) Push(x any)        { *f = append(*f, x.(forecastFlight)) }
func (f *forecastFlights) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

// evenIDs are ids as far apart from each other as the ranges that hold them allow. They are computed, not kept: a million
// records take no memory.
type evenIDs struct {
	n      int
	ranges []schemas.Range // that hold them, ascending
	widths []float64       // of the ranges before each, and of all at the end
}

// evenGap is how far ids are apart in a range whose end is not known. HubSpot rule: none; ids of one type have gaps.
const evenGap = 1000

// newEvenIDs spreads n ids over ranges.
func newEvenIDs(n int64, ranges []schemas.Range) evenIDs {
	e := evenIDs{n: int(n), widths: []float64{0}}
	for _, r := range ranges {
		if r.To == maxID {
			r.To = min(r.From+(n+1)*evenGap, maxID-1)
		}
		e.ranges = append(e.ranges, r)
		e.widths = append(e.widths, e.widths[len(e.widths)-1]+float64(r.To)-float64(r.From))
	}
	return e
}

// id returns the i-th one.
func (e evenIDs) id(i int) int64 {
	at := (float64(i) + 0.5) / float64(e.n) * e.widths[len(e.ranges)]
	r := min(sort.SearchFloat64s(e.widths[1:], math.Nextafter(at, math.Inf(1))), len(e.ranges)-1)
	return min(e.ranges[r].From+int64(at-e.widths[r]), e.ranges[r].To-1)
}

// below returns how many of them are below an id.
func (e evenIDs) below(id int64) int {
	return sort.Search(e.n, func(i int) bool { return e.id(i) >= id })
}

// answer returns what HubSpot would answer.
func (e evenIDs) answer(q *pageRequest) (page pageIDs) {
	if q.lane == laneList {
		from := e.below(q.from())
		for i := from; i < min(from+listPage, e.n); i++ {
			page.ids = append(page.ids, e.id(i))
		}
		page.last = from+listPage >= e.n
		return page
	}
	for _, r := range slices.Backward(q.ranges) {
		from, to := e.below(r.From), e.below(r.To)
		page.total += int64(to - from)
		for i := to - 1; i >= from && len(page.ids) < searchPage; i-- {
			page.ids = append(page.ids, e.id(i))
		}
	}
	page.last = page.total == int64(len(page.ids))
	return page
}
