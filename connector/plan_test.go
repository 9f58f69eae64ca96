package connector

import (
	"container/heap"
	"fmt"
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

func TestEveryIDIsReadOnce(t *testing.T) {
	portals := map[string]func(*rand.Rand) portal{
		"nothing":     func(*rand.Rand) portal { return portal{} },
		"empty types": sized(0, 0, 0),
		"one record":  sized(1),
		"full pages":  sized(100, 200, 201, 300, 400),
		"many types":  sized(0, 1, 99, 101, 500, 3000, 2, 0, 777, 1500, 40, 12000),
		"real portal": sized(31636, 1193, 8100),
		"dense":       func(rng *rand.Rand) portal { return portal{spreadIDs(rng, 9000, 0, 1)} },
		"id one":      func(*rand.Rand) portal { return portal{{1}} },
		"beyond 2^53": func(rng *rand.Rand) portal { return portal{spreadIDs(rng, 5000, 1<<60, 1<<40)} },
		"highest ids": func(*rand.Rand) portal { return portal{{maxID - 2, maxID - 1}} },
		"skewed":      func(rng *rand.Rand) portal { return portal{skewedIDs(rng, 20000), skewedIDs(rng, 3000)} },
		"old and young": func(rng *rand.Rand) portal {
			return portal{append(spreadIDs(rng, 10000, 1000, 5), spreadIDs(rng, 10000, 7e11, 1e4)...)}
		},
	}
	for name, make := range portals {
		t.Run(name, func(t *testing.T) {
			for _, limit := range []int{20, 100, 190, 250} {
				for seed := range uint64(5) {
					w := newWorld(seed, limit, make)
					w.run(t)
					w.complete(t)
				}
			}
		})
	}
}

func TestCrashesLoseAndRepeatNothing(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(seed, 190, func(rng *rand.Rand) portal {
			return portal{skewedIDs(rng, 1+rng.IntN(9000)), spreadIDs(rng, rng.IntN(3000), 1, 1000)}
		})
		w.crash = 0.02
		w.run(t)
		w.complete(t)
	}
}

func TestRecordsThatAppearAndVanishMeanwhile(t *testing.T) {
	for seed := range uint64(30) {
		w := newWorld(seed, 100, func(rng *rand.Rand) portal { return portal{spreadIDs(rng, 8000, 1000, 100)} })
		stable := map[int64]bool{}
		for _, id := range w.portal[0] {
			stable[id] = true
		}
		w.change = func(int) {
			ids := w.portal[0]
			for range 5 {
				i := w.rng.IntN(len(ids))
				delete(stable, ids[i])
				ids = slices.Delete(ids, i, i+1)
			}
			born := append(ids, w.rng.Int64N(ids[len(ids)-1]), ids[len(ids)-1]+1+w.rng.Int64N(100))
			slices.Sort(born)
			w.portal[0] = slices.Compact(born)
		}
		w.run(t)
		for id := range stable {
			if w.published[0][id] != 1 {
				t.Fatalf("seed %d: id %d, there all the time, published %d times", seed, id, w.published[0][id])
			}
		}
		for id, n := range w.published[0] {
			if n != 1 {
				t.Fatalf("seed %d: id %d published %d times", seed, id, n)
			}
		}
	}
}

func TestSmallTypesCostOneRequest(t *testing.T) {
	w := newWorld(1, 100, sized(0, 1, 150, 200))
	w.run(t)
	w.complete(t)
	if w.lists != 1 || w.searches != 4 { // a list page confirms that the empty one is empty
		t.Errorf("%d lists and %d searches, want 1 and 4", w.lists, w.searches)
	}
}

// TestUntrustedAnswersShutTheirLane lets one lane lie in a way; the other must finish alone, with nothing lost.
func TestUntrustedAnswersShutTheirLane(t *testing.T) {
	lies := map[string]struct {
		lane lane
		lie  func(w *world, q *pageRequest, a pageIDs) pageIDs
	}{
		"list ignores after": {laneList, func(w *world, q *pageRequest, a pageIDs) pageIDs {
			return answerOf(w.portal[0], &pageRequest{lane: laneList, ranges: idRanges{everything}})
		}},
		"list is not in order": {laneList, func(_ *world, _ *pageRequest, a pageIDs) pageIDs {
			slices.Reverse(a.ids)
			return a
		}},
		"list ends early": {laneList, func(_ *world, _ *pageRequest, a pageIDs) pageIDs { return pageIDs{last: true} }},
		"search ignores the order": {laneSearch, func(_ *world, _ *pageRequest, a pageIDs) pageIDs {
			slices.Reverse(a.ids)
			return a
		}},
		"search ignores the filter": {laneSearch, func(w *world, q *pageRequest, a pageIDs) pageIDs {
			if q.ranges[0].To == maxID {
				return a
			}
			return answerOf(w.portal[0], &pageRequest{lane: laneSearch, ranges: idRanges{everything}})
		}},
		"search is empty": {laneSearch, func(_ *world, _ *pageRequest, a pageIDs) pageIDs {
			return pageIDs{total: a.total, last: true}
		}},
	}
	for name, c := range lies {
		t.Run(name, func(t *testing.T) {
			w := newWorld(1, 100, sized(3000))
			w.answer = func(_ int, q *pageRequest) pageIDs {
				if a := answerOf(w.portal[0], q); q.lane != c.lane {
					return a
				} else {
					return c.lie(w, q, a)
				}
			}
			w.run(t)
			w.complete(t)
			if w.lanes.plan.objects[0].shut[c.lane] == nil {
				t.Error("the lane was not shut")
			}
		})
	}
}

// TestPagesWithoutEndMarkAreNoEnd drops the mark that more follows from half the answers.
func TestPagesWithoutEndMarkAreNoEnd(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(seed, 100, sized(5000))
		w.answer = func(_ int, q *pageRequest) pageIDs {
			a := answerOf(w.portal[0], q)
			a.last = a.last || w.rng.IntN(2) == 0
			return a
		}
		w.run(t)
		w.complete(t)
	}
}

// TestAListAloneIsBelievedItsEndAfterAskingTwice leaves only list, which now and then claims once that nothing follows.
func TestAListAloneIsBelievedItsEndAfterAskingTwice(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(seed, 100, sized(5000))
		lied := map[int64]bool{}
		w.answer = func(_ int, q *pageRequest) pageIDs {
			switch {
			case q.lane == laneSearch:
				return pageIDs{total: 5000, last: true} // no answer that can be trusted
			case !lied[q.from()] && w.rng.IntN(3) == 0:
				lied[q.from()] = true
				if w.rng.IntN(2) == 0 {
					return pageIDs{last: true}
				}
				a := answerOf(w.portal[0], q)
				a.last = true
				return a
			}
			return answerOf(w.portal[0], q)
		}
		w.run(t)
		w.complete(t)
	}
}

// leastTime is the least time in which records can be read: list pages at the burst quota less what search takes of it,
// spent at the start of every interval, and searches at their own limit; one quota for both.
func leastTime(records int, q quota, latency time.Duration) time.Duration {
	for t := time.Duration(0); ; t += q.searchInterval {
		lists := (q.limit - q.searches()) * (1 + int(t/q.interval))
		searches := q.searchLimit * (1 + int(t/q.searchInterval))
		if lists*listPage+searches*searchPage >= records {
			return t + latency
		}
	}
}

// leastRequests is how many requests suffice, by search alone.
func leastRequests(counts ...int) (n int) {
	for _, c := range counts {
		n += max((c+searchPage-1)/searchPage, 1)
	}
	return n
}

func TestLeastTimeIsPerformanceNotes(t *testing.T) {
	q := quota{limit: 100, interval: 10 * time.Second, searchLimit: 5, searchInterval: time.Second}
	for _, c := range []struct {
		records, limit int
		want           time.Duration
	}{{40929, 100, 25150 * time.Millisecond}, {40929, 150, 20150 * time.Millisecond}, {40929, 190, 12150 * time.Millisecond},
		{1e6, 100, 664150 * time.Millisecond}, {1e6, 190, 411150 * time.Millisecond}} {
		q.limit = c.limit
		if got := leastTime(c.records, q, 150*time.Millisecond); got != c.want {
			t.Errorf("%d records at %d: %v, want %v", c.records, c.limit, got, c.want)
		}
	}
	if got := leastRequests(31636, 1193, 8100); got != 206 {
		t.Errorf("least requests %d, want 206", got)
	}
}

// TestPlanNearsTheLeastTime holds the plan itself, without network or CPU, near what is possible.
func TestPlanNearsTheLeastTime(t *testing.T) {
	for limit, most := range map[int]float64{100: 1.06, 150: 1.04, 190: 1.11, 250: 1.23} {
		var wall, least time.Duration
		var lists, searches, wasted int
		const runs = 20
		for seed := range uint64(runs) {
			w := newWorld(seed, limit, func(rng *rand.Rand) portal {
				return portal{grownIDs(rng, 31636), grownIDs(rng, 1193), grownIDs(rng, 8100)}
			})
			w.run(t)
			w.complete(t)
			least = leastTime(40929, w.quota, 150*time.Millisecond)
			wall, lists, searches, wasted = wall+w.wall, lists+w.lists, searches+w.searches, wasted+w.wasted
		}
		ratio := float64(wall/runs) / float64(least)
		what := fmt.Sprintf("%d per 10 s: %.2f s, %.3f of the least %.2f s; %d + %d requests (least 206), %d records twice", limit,
			(wall / runs).Seconds(), ratio, least.Seconds(), lists/runs, searches/runs, wasted/runs)
		if t.Log(what); ratio > most {
			t.Error(what)
		}
	}
}
