package hubspot_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// A share of the burst quota and of the searches is left for others, whatever there is to do; limits from headers included.
func TestBurstShareIsLeftForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.limit, h.searchOutside = 190, true
		c := h.client(t, func(cfg *hubspot.Config) { cfg.BurstShare = 0.6 })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		most, mostSearches := 0, 0
		wg.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(100 * time.Millisecond)
				h.mu.Lock()
				most = max(most, len(recent(h.window, time.Now(), h.interval)))
				mostSearches = max(mostSearches, len(recent(h.searches, time.Now(), h.searchInterval)))
				h.mu.Unlock()
			}
		})
		for w := range 100 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if w < 6 {
						_, _ = c.Search(ctx, hubspot.SearchRequest{Object: contacts})
					} else {
						_, _ = c.List(ctx, hubspot.ListRequest{Object: contacts})
					}
				}
			})
		}
		wg.Wait()
		if most > 114 || most < 105 || mostSearches != 3 {
			t.Errorf("%d requests in 10 s, %d searches a second; want 114 and 3", most, mostSearches)
		}
		if _, denied := h.stats(); denied != 0 {
			t.Errorf("%d denied", denied)
		}
	})
}
