package connector

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

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
