package history

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// TestWhatALaterFullReadFindsIsNoFirstLoad tells the first load from later ones by when they began, by clocks that are half a
// minute apart, where the cursors of then are gone.
func TestWhatALaterFullReadFindsIsNoFirstLoad(t *testing.T) {
	t.Parallel()
	hour := func(h float64) time.Time {
		return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(h * float64(time.Hour)))
	}
	ofHubSpot := func(h float64) time.Time { return hour(h).Add(30 * time.Second) }
	ended := func(began float64) *schemas.Cursor { return &schemas.Cursor{BackfilledAt: ofHubSpot(began)} }
	underWay := func(last, began float64) *schemas.Cursor {
		return &schemas.Cursor{BackfilledAt: ofHubSpot(last), Backfill: &schemas.Backfill{StartedAt: ofHubSpot(began)}}
	}
	for name, c := range map[string]struct {
		at     float64
		stored int
		reads  []float64
		now    *schemas.Cursor
		want   int
	}{
		"before the first load":                     {0.5, 0, []float64{1.001, 1.5, 2}, ended(1), 3},
		"before it, and there was another":          {0.5, 0, []float64{1.001, 1.5, 2, 8}, ended(7), 3},
		"in it":                                     {1.5, 9, []float64{1.6, 2}, ended(1), 2},
		"in it, and there was another":              {1.5, 9, []float64{1.6, 2, 8}, ended(7), 2},
		"in it, and another is under way":           {1.5, 9, []float64{1.6, 2, 8}, underWay(1, 7), 2},
		"after it, and another found one":           {3, 9, []float64{8}, ended(7), 0},
		"after it, and one under way found one":     {3, 9, []float64{8}, underWay(1, 7), 0},
		"after it, where hardly anything was":       {3, 1, []float64{8, 8.1}, ended(7), 2},
		"in the first load, which is not over":      {1.5, 9, []float64{1.6}, &schemas.Cursor{Backfill: &schemas.Backfill{StartedAt: ofHubSpot(1)}}, 1},
		"of a log without cursors, nobody can tell": {1.5, 9, []float64{1.6}, nil, 0},
	} {
		f := &firstReads{stored: c.stored}
		for _, h := range c.reads {
			f.reads = append(f.reads, firstRead{at: hour(h), load: true})
		}
		if got := f.ofFirstLoad(Moment{Seq: 1, Time: hour(c.at)}, nil, c.now); len(got) != c.want {
			t.Errorf("%s: %d of the first load, want %d", name, len(got), c.want)
		}
	}
}
