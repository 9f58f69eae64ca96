package hubspot_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// What the budget alone makes of an initial load of 40,929 records, 100 a list and 200 a search, 150 ms each, whole quota
// allowed: close to the least time in which anybody could do it. (A slot of the burst quota can be used again after 10 s, searches come
// five a second.) In virtual time, so that it says nothing about the machine.
func TestBudgetLoadIsNearTheLeastPossible(t *testing.T) {
	for _, c := range []struct {
		limit   int
		outside bool
		least   time.Duration
	}{{100, false, 25150 * time.Millisecond}, {190, false, 12150 * time.Millisecond}, {100, true, 20150 * time.Millisecond}, {190, true, 10150 * time.Millisecond}} {
		t.Run(fmt.Sprint(c.limit, " outside ", c.outside), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub()
				h.limit, h.searchOutside = c.limit, c.outside
				client := h.client(t, func(cfg *hubspot.Config) { cfg.BurstLimit = c.limit }).At(hubspot.PriorityBackfill)
				var left atomic.Int64
				left.Store(40929)
				start := time.Now()
				var wg sync.WaitGroup
				for range 150 {
					wg.Go(func() {
						for {
							_, err := client.List(t.Context(), hubspot.ListRequest{Claim: func(r *hubspot.ListRequest) bool {
								r.Object = contacts
								return left.Add(-100) > -100
							}})
							if errors.Is(err, hubspot.ErrUnclaimed) {
								return
							}
						}
					})
				}
				for range 5 {
					wg.Go(func() {
						for {
							_, err := client.Search(t.Context(), hubspot.SearchRequest{Object: contacts, Claim: func(*hubspot.SearchRequest) bool {
								return left.Add(-200) > -200
							}})
							if errors.Is(err, hubspot.ErrUnclaimed) {
								return
							}
						}
					})
				}
				wg.Wait()
				n, denied := h.stats()
				took := h.times[n-1].Add(130 * time.Millisecond).Sub(start) // the last answer; idle workers wait on
				ratio := float64(took) / float64(c.least)
				t.Logf("%v, %.2f x the least possible, %d requests", took, ratio, n)
				if denied != 0 || !c.outside && ratio > 1.1 {
					t.Errorf("took %v, %.2f x the least possible, %d denied", took, ratio, denied)
				}
			})
		})
	}
}
