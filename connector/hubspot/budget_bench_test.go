package hubspot_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// neighbourhood is other programs with the same token: how many requests they want to send in a second of the run. What
// is denied them they want again a second later.
type neighbourhood struct {
	name string
	want func(second int, r *rand.Rand) int
}

var neighbourhoods = []neighbourhood{
	{"quiet", func(int, *rand.Rand) int { return 0 }},
	{"constant, a tenth", func(int, *rand.Rand) int { return 1 }},
	{"constant, a half", func(int, *rand.Rand) int { return 5 }},
	{"random, a fifth", func(_ int, r *rand.Rand) int { return r.IntN(2) * r.IntN(9) }},
	{"bursts of 30 every 20 s", func(second int, _ *rand.Rand) int { return every(second, 20, 30) }},
	{"bursts of 60 every minute", func(second int, _ *rand.Rand) int { return every(second, 60, 60) }},
	{"bursts of 1-50, at random", func(_ int, r *rand.Rand) int {
		if r.IntN(45) > 0 {
			return 0
		}
		return 1 + r.IntN(50)
	}},
	{"growing to two thirds", func(second int, r *rand.Rand) int {
		if r.IntN(1000) < second%900*1000/900 {
			return r.IntN(14)
		}
		return 0
	}},
	{"one evening a backup", func(second int, _ *rand.Rand) int {
		if second < 600 || second > 1200 {
			return 0
		}
		return 8
	}},
}

func every(second, period, n int) int {
	if second%period == period/2 {
		return n
	}
	return 0
}

// budgetFigures are what came of a run.
type budgetFigures struct {
	sent, denied int
	room         int // requests that the quota had room for beside the neighbours' own
	peakRoom     int // the same, beside the most that neighbours took in an interval of the ten minutes around
}

func (f budgetFigures) used() float64 { return 100 * float64(f.sent-f.denied) / float64(f.room) }
func (f budgetFigures) besidePeak() float64 {
	return 100 * float64(f.sent-f.denied) / float64(f.peakRoom)
}
func (f budgetFigures) refused() float64 { return 100 * float64(f.denied) / float64(f.sent) }

// besideNeighbours works off a backlog that never ends, in virtual time.
func besideNeighbours(t *testing.T, n neighbourhood, length time.Duration) (f budgetFigures) {
	const seed = 7
	h := newHub().jittered(seed)
	c := h.client(t).At(hubspot.PriorityBackfill)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	theirs := make([]int, length/h.interval+1)
	start := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		r := rand.New(rand.NewPCG(seed, 2))
		pending, before := 0, 0
		for second := 0; ctx.Err() == nil; second++ {
			pending += n.want(second, r)
			h.neighbour(pending)
			got := h.foreign - before
			pending, before = pending-got, h.foreign
			theirs[time.Since(start)/h.interval] += got
			time.Sleep(time.Second - time.Duration(r.IntN(20)-10)*time.Millisecond)
		}
	})
	for w := range 60 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if w < 4 {
					_, _ = c.Search(ctx, hubspot.SearchRequest{Object: contacts})
				} else {
					_, _ = c.List(ctx, hubspot.ListRequest{Object: contacts})
				}
			}
		})
	}
	wg.Wait()
	f.sent, f.denied = h.stats()
	for i := range theirs[:length/h.interval] {
		f.room += h.limit - theirs[i]
		f.peakRoom += h.limit - slices.Max(theirs[max(0, i-30):min(len(theirs), i+30)])
	}
	return f
}

// Whatever others do, next to nothing is denied; and what they leave is used.
func TestBudgetBesideNeighbours(t *testing.T) {
	for name, least := range map[string]float64{"quiet": 95, "constant, a tenth": 88, "bursts of 30 every 20 s": 66} {
		t.Run(name, func(t *testing.T) {
			n := neighbourhoods[slices.IndexFunc(neighbourhoods, func(n neighbourhood) bool { return n.name == name })]
			synctest.Test(t, func(t *testing.T) {
				f := besideNeighbours(t, n, 30*time.Minute)
				t.Logf("%.1f %% used, %.1f %% of the room beside their peaks, %d of %d requests denied (%.2f %%)", f.used(), f.besidePeak(), f.denied, f.sent, f.refused())
				if f.used() < least || f.refused() >= 0.1 || name == "quiet" && f.denied > 0 {
					t.Errorf("%.1f %% used, %d of %d requests denied", f.used(), f.denied, f.sent)
				}
			})
		})
	}
}

// BenchmarkBudget prints how much of what is ours the budget uses beside neighbours of several kinds, and how many of its
// requests are denied: an hour each, in virtual time, so that it says nothing about the machine.
//
//	go test -run - -bench Budget -benchtime 1x ./connector/hubspot
func BenchmarkBudget(b *testing.B) {
	for _, n := range neighbourhoods {
		b.Run(n.name, func(b *testing.B) {
			var f budgetFigures
			for range b.N {
				// Virtual time is for tests only.
				measure := testing.InternalTest{Name: n.name, F: func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { f = besideNeighbours(t, n, time.Hour) })
				}}
				if !testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{measure}) {
					b.Fail()
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(f.used(), "%-used")
			b.ReportMetric(90, "%-used-least")
			b.ReportMetric(f.besidePeak(), "%-of-room-beside-their-peaks")
			b.ReportMetric(f.refused(), "%-denied")
			b.ReportMetric(0.1, "%-denied-limit")
			b.ReportMetric(float64(f.sent), "requests")
		})
	}
}
