package hubspot_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// run calls f n times from each of workers goroutines and waits for all.
func run(workers, n int, f func(worker, i int)) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range n {
				f(w, i)
			}
		})
	}
	wg.Wait()
}

func list(t testing.TB, c *hubspot.Client) {
	if _, err := c.List(t.Context(), hubspot.ListRequest{Object: contacts}); err != nil {
		t.Error(err)
	}
}

func search(t testing.TB, c *hubspot.Client) {
	if _, err := c.Search(t.Context(), hubspot.SearchRequest{Object: contacts}); err != nil {
		t.Error(err)
	}
}

// Lists alone: bursts of the whole quota, one interval apart, and never a 429.
func TestBudgetSpendsTheBurstQuotaWithoutA429(t *testing.T) {
	for name, h := range map[string]*hub{"steady": newHub(), "jitter": newHub().jittered(1), "more jitter": newHub().jittered(2)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := h.client(t).At(hubspot.PriorityBackfill)
				start := time.Now()
				run(200, 5, func(_, _ int) { list(t, c) }) // 1,000 requests: ten bursts, 90 s at the least
				took := time.Since(start)
				if arrived, denied := h.stats(); denied != 0 || arrived != 1000 {
					t.Errorf("%d requests arrived, %d were denied", arrived, denied)
				}
				if took > 97*time.Second {
					t.Errorf("took %v, 90 s is the least", took)
				}
				t.Logf("took %v", took)
			})
		})
	}
}

// Searches at five a second, without a 429.
func TestBudgetSpendsTheSearchQuotaWithoutA429(t *testing.T) {
	for name, h := range map[string]*hub{"steady": newHub(), "jitter": newHub().jittered(1), "more jitter": newHub().jittered(2)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := h.client(t).At(hubspot.PriorityBackfill)
				start := time.Now()
				run(10, 50, func(_, _ int) { search(t, c) }) // 500 searches: 99 s at the least
				took := time.Since(start)
				if arrived, denied := h.stats(); denied != 0 || arrived != 500 {
					t.Errorf("%d requests arrived, %d were denied", arrived, denied)
				}
				if took > 105*time.Second {
					t.Errorf("took %v, 99 s is the least", took)
				}
				t.Logf("took %v", took)
			})
		})
	}
}

// A backfill by lists and searches at once: the searches keep their five a second from the first second on.
func TestBudgetKeepsRoomForSearches(t *testing.T) {
	for _, limit := range []int{100, 190} {
		for name, h := range map[string]*hub{"steady": newHub(), "jitter": newHub().jittered(3)} {
			t.Run(fmt.Sprint(limit, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h.limit = limit
					c := h.client(t, func(cfg *hubspot.Config) { cfg.BurstLimit = limit }).At(hubspot.PriorityBackfill)
					ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
					defer cancel()
					var mu sync.Mutex
					lists, searches := 0, 0
					var wg sync.WaitGroup
					for range 100 {
						wg.Go(func() {
							for ctx.Err() == nil {
								if _, err := c.List(ctx, hubspot.ListRequest{Object: contacts}); err == nil {
									mu.Lock()
									lists++
									mu.Unlock()
								}
							}
						})
					}
					for range 4 {
						wg.Go(func() {
							for ctx.Err() == nil {
								if _, err := c.Search(ctx, hubspot.SearchRequest{Object: contacts}); err == nil {
									mu.Lock()
									searches++
									mu.Unlock()
								}
							}
						})
					}
					wg.Wait()
					_, denied := h.stats()
					// In 60 s: 300 searches, and six windows of what is left beside 50 of them.
					if want := 6 * (limit - 50); denied != 0 || searches < 280 || lists < want*93/100 {
						t.Errorf("%d searches, %d lists (want about 300 and %d), %d denied", searches, lists, want, denied)
					}
					t.Logf("%d searches, %d lists", searches, lists)
				})
			})
		}
	}
}

// The same with a clock ten times as fast, as benchmarks use it.
func TestBudgetScalesWithTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.interval, h.searchInterval = time.Second, 100*time.Millisecond
		h.forward = func() time.Duration { return time.Millisecond }
		h.back = h.forward
		h.process = func(bool) time.Duration { return 13 * time.Millisecond }
		c := h.client(t, func(cfg *hubspot.Config) { cfg.Interval, cfg.SearchInterval = time.Second, 100*time.Millisecond })
		start := time.Now()
		run(200, 5, func(w, _ int) {
			if w%2 == 0 {
				search(t, c)
			} else {
				list(t, c)
			}
		})
		// 500 searches take 9.9 s; the 500 lists fit beside them.
		if arrived, denied := h.stats(); denied != 0 || arrived != 1000 || time.Since(start) > 11*time.Second {
			t.Errorf("%d arrived, %d denied, took %v", arrived, denied, time.Since(start))
		}
	})
}

// Without searches, lists have the whole window.
func TestBudgetLeavesNothingForSearchesNobodyMakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		c := h.client(t).At(hubspot.PriorityBackfill)
		start := time.Now()
		run(100, 1, func(_, _ int) { list(t, c) })
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("100 lists took %v, they fit into one window", took)
		}
	})
}

func TestBudgetLearnsTheLimitFromHeaders(t *testing.T) {
	for _, limit := range []int{60, 190} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub()
				h.limit = limit
				c := h.client(t)
				list(t, c)
				if w := c.Usage().Window; w.Limit != limit || w.Interval != 10*time.Second {
					t.Errorf("window is %+v", w)
				}
				run(2*limit, 1, func(_, _ int) { list(t, c) })
				if _, denied := h.stats(); denied != 0 {
					t.Errorf("%d denied", denied)
				}
			})
		})
	}
}

func TestBudgetServesHigherPrioritiesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.limit = 1 // one at a time
		c := h.client(t, func(cfg *hubspot.Config) { cfg.BurstLimit = 1 })
		list(t, c) // the window is full
		var mu sync.Mutex
		var order []hubspot.Priority
		var wg sync.WaitGroup
		for _, p := range []hubspot.Priority{hubspot.PriorityVerify, hubspot.PriorityBackfill, hubspot.PriorityDeletes, hubspot.PriorityIncremental, hubspot.PriorityWebhook} {
			for range 2 {
				wg.Go(func() {
					list(t, c.At(p))
					mu.Lock()
					order = append(order, p)
					mu.Unlock()
				})
			}
			synctest.Wait()
		}
		wg.Wait()
		for i := 1; i < len(order); i++ {
			if order[i] > order[i-1] {
				t.Fatalf("served in the order %v", order)
			}
		}
	})
}

func TestBudgetNeverStarvesLowPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.limit = 10
		c := h.client(t, func(cfg *hubspot.Config) { cfg.BurstLimit = 10 })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = c.At(hubspot.PriorityWebhook).List(ctx, hubspot.ListRequest{Object: contacts})
				}
			})
		}
		time.Sleep(time.Second)
		start := time.Now()
		list(t, c.At(hubspot.PriorityVerify))
		if waited := time.Since(start); waited > 2*time.Minute {
			t.Errorf("the lowest priority waited %v", waited)
		}
		cancel()
		wg.Wait()
	})
}

// Background work that could take the whole window leaves what changes have used of late.
func TestBudgetKeepsRoomForHigherPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		c := h.client(t)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 150 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = c.At(hubspot.PriorityVerify).List(ctx, hubspot.ListRequest{Object: contacts})
				}
			})
		}
		worst := time.Duration(0)
		for i := range 20 {
			time.Sleep(2 * time.Second)
			start := time.Now()
			list(t, c.At(hubspot.PriorityWebhook))
			if i > 5 { // by then the demand is known
				worst = max(worst, time.Since(start))
			}
		}
		cancel()
		wg.Wait()
		if worst > time.Second {
			t.Errorf("a webhook's read waited %v", worst)
		}
	})
}

func TestBudgetWaitersLeaveWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.limit = 1
		c := h.client(t, func(cfg *hubspot.Config) { cfg.BurstLimit = 1 })
		list(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.List(ctx, hubspot.ListRequest{Object: contacts})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if u := c.Usage(); u.Waiting != 0 || u.InFlight != 0 {
			t.Errorf("usage is %+v", u)
		}
	})
}

// HubSpot does not say whether searches count in the window of a private app.
func TestBudgetLearnsWhetherSearchesCount(t *testing.T) {
	for _, outside := range []bool{false, true} {
		t.Run(fmt.Sprint("outside ", outside), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub().jittered(4)
				h.searchOutside = outside
				c := h.client(t)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				for w := range 104 {
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
				arrived, denied := h.stats()
				u := c.Usage()
				t.Logf("%d arrived, %d denied, %s", arrived, denied, u.Search.InWindow)
				if denied != 0 {
					t.Errorf("%d denied", denied)
				}
				if got := u.Search.InWindow == "no"; got != outside {
					t.Errorf("searches count in the window: %q", u.Search.InWindow)
				}
				// 120 s: 12 windows of 100, and outside them 600 searches less those before it was learned.
				if least := map[bool]int{false: 1140, true: 1600}[outside]; arrived < least {
					t.Errorf("only %d requests, want %d", arrived, least)
				}
			})
		})
	}
}

// HubSpot starts to count searches after it was learned that it does not.
func TestBudgetFallsBackWhenSearchesCountAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.searchOutside = true
		c := h.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for w := range 104 {
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
		time.Sleep(time.Minute)
		h.mu.Lock()
		h.searchOutside = false
		h.mu.Unlock()
		time.Sleep(time.Minute)
		before, deniedBefore := h.stats()
		wg.Wait()
		arrived, denied := h.stats()
		t.Logf("%d denied while it changed, %d of %d later", deniedBefore, denied-deniedBefore, arrived-before)
		if denied-deniedBefore > 2 || deniedBefore > 110 {
			t.Errorf("%d denied while it changed, %d of %d later", deniedBefore, denied-deniedBefore, arrived-before)
		}
	})
}

// Another program uses the same token, a fifth of its quota. Its use shows in the headers.
func TestBudgetMakesRoomForNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub().jittered(5)
		c := h.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				h.neighbour(1)
				time.Sleep(500 * time.Millisecond)
			}
		})
		for range 50 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = c.List(ctx, hubspot.ListRequest{Object: contacts})
				}
			})
		}
		time.Sleep(time.Minute)
		_, learning := h.stats()
		wg.Wait()
		arrived, denied := h.stats()
		t.Logf("%d arrived, %d denied in the first minute, %d later", arrived, learning, denied-learning)
		// The whole quota is 6,000 in ten minutes, the neighbour takes 1,200.
		if arrived < 4320 || learning > 30 || denied-learning > arrived/1000 {
			t.Errorf("%d arrived, %d denied in the first minute, %d later", arrived, learning, denied-learning)
		}
	})
}
