package simulator

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWindowNeverAdmitsMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	w := newWindow(7, time.Second)
	now := at0
	var admitted []time.Time
	for range 1500 {
		now = now.Add(time.Duration(rng.IntN(200)) * time.Millisecond)
		used := 0
		for _, at := range admitted {
			if now.Sub(at) < time.Second {
				used++
			}
		}
		if w.used(now) != used || w.free(now) != (used < 7) {
			t.Fatalf("used %d, free %v; want %d", w.used(now), w.free(now), used)
		}
		if !w.free(now) {
			if next := now.Add(w.wait(now)); w.free(next.Add(-1)) || !w.free(next) {
				t.Fatal("wait is not exact")
			}
			continue
		}
		w.admit(now)
		admitted = append(admitted, now)
	}
	if w.peak != 7 {
		t.Fatalf("peak %d", w.peak)
	}
}

var at0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
