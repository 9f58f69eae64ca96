package connector

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"
)

// portal is a HubSpot reduced to what the plan sees of it: the ids of each type, ascending.
type portal [][]int64

// spreadIDs returns n ids above first, with random gaps of up to 2*gap.
func spreadIDs(rng *rand.Rand, n int, first, gap int64) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		first += 1 + rng.Int64N(2*gap)
		ids[i] = first
	}
	return ids
}

// skewedIDs returns clusters of ids with gaps of very different sizes between them.
func skewedIDs(rng *rand.Rand, n int) (ids []int64) {
	first := rng.Int64N(1000)
	for len(ids) < n {
		ids = append(ids, spreadIDs(rng, 1+rng.IntN(n-len(ids)), first, 1<<rng.IntN(20))...)
		first = ids[len(ids)-1] + 1<<rng.IntN(50)
	}
	return ids
}

// grownIDs returns n ids as a portal has them that grew for years: a quarter small and dense, then large ones, then very
// large ones with wide gaps.
func grownIDs(rng *rand.Rand, n int) []int64 {
	ids := spreadIDs(rng, n/4, 1_000, 26)
	ids = append(ids, spreadIDs(rng, n*7/10-n/4, 3_100_000_000, 890)...)
	return append(ids, spreadIDs(rng, n-n*7/10, 105_000_000_000, 195_500)...)
}

func answerOf(ids []int64, q *pageRequest) pageIDs {
	at := func(id int64) int { return sort.Search(len(ids), func(i int) bool { return ids[i] >= id }) }
	if q.lane == laneList {
		i := at(q.from())
		end := min(i+listPage, len(ids))
		return pageIDs{ids: slices.Clone(ids[i:end]), last: end == len(ids)}
	}
	var all []int64
	for _, r := range q.ranges {
		all = append(all, ids[at(r.From):at(r.To)]...)
	}
	page := slices.Clone(all[max(0, len(all)-searchPage):])
	slices.Reverse(page)
	return pageIDs{ids: page, total: int64(len(all)), last: len(page) == len(all)}
}

// world runs lanes against a portal in virtual time. Pages are committed in order, some time after they were received, as
// a cursor's ranges; a crash forgets everything else.
type world struct {
	rng     *rand.Rand
	portal  portal
	quota   quota
	latency func() time.Duration
	answer  func(object int, q *pageRequest) pageIDs // nil means the portal's
	crash   float64                                  // chance of a crash at each event
	change  func(object int)                         // called at each event

	start     time.Time
	now       time.Time
	flight    flights
	sent      []time.Time // requests of either lane, by the budget's account
	lanes     *lanes
	cursors   []idRanges
	totals    []int64
	published []map[int64]int
	queue     []received

	wall            time.Duration
	lists, searches int
	wasted          int // records received and not needed
}

type flight struct {
	at time.Time
	q  *pageRequest
}

type received struct {
	object  int
	settled idRanges
	fresh   []int64
}

type flights []flight

func (f flights) Len() int           { return len(f) }
func (f flights) Less(i, j int) bool { return f[i].at.Before(f[j].at) }
func (f flights) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)        { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

func (w *world) run(t *testing.T) {
	t.Helper()
	w.start = time.Unix(1e9, 0)
	w.now = w.start
	for range w.portal {
		w.cursors = append(w.cursors, idRanges{{From: 0, To: maxID}})
		w.totals = append(w.totals, -1)
		w.published = append(w.published, map[int64]int{})
	}
	w.boot()
	for w.step(t) {
		w.check(t)
	}
	w.commit(len(w.queue))
}

// boot starts over from the cursors.
func (w *world) boot() {
	w.flight, w.queue, w.lanes = nil, nil, &lanes{plan: &loadPlan{}}
	for i, ranges := range w.cursors {
		w.lanes.plan.objects = append(w.lanes.plan.objects, newObjectPlan(ranges, w.totals[i], int64(len(w.published[i]))))
	}
}

func (w *world) objectOf(p *objectPlan) int { return slices.Index(w.lanes.plan.objects, p) }

// step sends what the lanes allow and lets time pass until the next answer or the next free lane. False means the end.
func (w *world) step(t *testing.T) bool {
	for q := w.lanes.next(w.now, w.quota); q != nil; q = w.lanes.next(w.now, w.quota) {
		if q.lane == laneList {
			w.lists++
		} else {
			w.searches++
		}
		heap.Push(&w.flight, flight{at: w.send().Add(w.latency()), q: q})
	}
	open := slices.ContainsFunc(w.lanes.plan.objects, func(o *objectPlan) bool { return !o.done() && !o.stopped })
	wait := w.lanes.wait(w.now, w.quota)
	if len(w.flight) == 0 {
		if open && wait <= 0 {
			t.Errorf("nothing in flight, nothing to send, yet ids remain")
		}
		w.now = w.now.Add(wait)
		return open && wait > 0
	}
	if next := w.now.Add(wait); wait > 0 && next.Before(w.flight[0].at) {
		w.now = next
		return true
	}
	f := heap.Pop(&w.flight).(flight)
	w.now = f.at
	w.wall = w.now.Sub(w.start)
	w.lanes.took(f.q, w.now)
	w.receive(f)
	w.commit(w.rng.IntN(len(w.queue) + 1))
	if w.rng.Float64() < w.crash {
		w.boot()
	}
	return true
}

// send returns when the client's budget lets a request go: at most limit in any interval, first come, first served.
func (w *world) send() time.Time {
	at := w.now
	if n := len(w.sent) - w.quota.limit; w.quota.searchCounts && n >= 0 {
		if free := w.sent[n].Add(w.quota.interval); free.After(at) {
			at = free
		}
	}
	w.sent = append(w.sent, at)
	return at
}

func (w *world) receive(f flight) {
	object := w.objectOf(f.q.object)
	if w.change != nil {
		w.change(object)
	}
	answer := w.answer
	if answer == nil {
		answer = func(object int, q *pageRequest) pageIDs { return answerOf(w.portal[object], q) }
	}
	a := answer(object, f.q)
	settled, fresh := f.q.object.receive(f.q, a)
	r := received{object: object, settled: settled}
	for i, id := range a.ids {
		if fresh[i] {
			r.fresh = append(r.fresh, id)
		} else {
			w.wasted++
		}
	}
	w.queue = append(w.queue, r)
}

func (w *world) commit(n int) {
	for _, r := range w.queue[:n] {
		for _, id := range r.fresh {
			w.published[r.object][id]++
		}
		for _, s := range r.settled {
			w.cursors[r.object] = w.cursors[r.object].without(s)
		}
		w.totals[r.object] = max(w.totals[r.object], w.lanes.plan.objects[r.object].total)
	}
	w.queue = w.queue[n:]
}

// check holds the plan's invariants.
func (w *world) check(t *testing.T) {
	t.Helper()
	for i, o := range w.lanes.plan.objects {
		end := int64(0)
		for _, s := range o.spans {
			if s.From < end || s.To <= s.From {
				t.Fatalf("type %d: range %d-%d is empty or out of order", i, s.From, s.To)
			}
			if s.list != nil && s.list.spans[0] != s || s.search != nil && !slices.Contains(s.search.spans, s) {
				t.Fatalf("type %d: range %d-%d has a request that is another's", i, s.From, s.To)
			}
			end = s.To
		}
	}
}

// complete fails the test unless every id was published exactly once.
func (w *world) complete(t *testing.T) {
	t.Helper()
	for i, ids := range w.portal {
		if len(w.cursors[i]) != 0 {
			t.Errorf("type %d: unread ranges remain: %v", i, w.cursors[i])
		}
		for _, id := range ids {
			if w.published[i][id] != 1 {
				t.Fatalf("type %d: id %d published %d times", i, id, w.published[i][id])
			}
		}
		if len(w.published[i]) != len(ids) {
			t.Errorf("type %d: %d ids published, %d exist", i, len(w.published[i]), len(ids))
		}
	}
}

func newWorld(seed uint64, limit int, portal func(*rand.Rand) portal) *world {
	rng := rand.New(rand.NewPCG(seed, uint64(limit)))
	return &world{
		rng:    rng,
		portal: portal(rng),
		quota: quota{
			limit: limit, interval: 10 * time.Second,
			searchLimit: 5, searchInterval: time.Second, searchCounts: true,
		},
		latency: func() time.Duration { return 150*time.Millisecond + time.Duration(rng.IntN(20))*time.Millisecond },
	}
}

func sized(counts ...int) func(*rand.Rand) portal {
	return func(rng *rand.Rand) (p portal) {
		for _, n := range counts {
			p = append(p, spreadIDs(rng, n, 1e6, 50))
		}
		return p
	}
}
