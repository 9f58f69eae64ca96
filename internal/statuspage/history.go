package statuspage

import (
	"math"
	"sync"
	"time"
)

// A history holds a figure every SampleEvery for an hour: 360 of each.
const (
	SampleEvery = 10 * time.Second
	historyLen  = int(time.Hour / SampleEvery)
)

// History holds figures of the last hour. Its zero value is ready.
type History struct {
	mu      sync.Mutex // guards all below
	at      [historyLen]time.Time
	figures [historyLen][]float64
	next, n int
}

// Add adds the figures of a moment, always as many; NaN is one that is not known.
func (h *History) Add(at time.Time, figures ...float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at[h.next], h.figures[h.next] = at, figures
	h.next = (h.next + 1) % historyLen
	h.n = min(h.n+1, historyLen)
}

// Figure returns the points of the i-th figure, ascending.
func (h *History) Figure(i int) []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	points := make([]Point, 0, h.n)
	for k := range h.n {
		at := (h.next - h.n + k + historyLen) % historyLen
		if f := h.figures[at]; i < len(f) && !math.IsNaN(f[i]) {
			points = append(points, Point{h.at[at], f[i]})
		}
	}
	return points
}
