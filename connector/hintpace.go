package connector

import (
	"math"
	"time"
)

// hintPace decides how long to wait for more hints before those that are there are read. When little happens there is no
// wait to speak of; the more happens, the longer, so that a read brings many records and the quota is spared; and when so
// much happens that a read is soon full, shorter again.
//
//	hints a second        0     1     5    10    50   150   500
//	linger               10    60   310   620   620   600   180 ms
//	hints in a read       1     1     2     6    31    90    90
//
// It is for one goroutine.
type hintPace struct {
	now  func() time.Time
	rate float64   // hints a second, lately
	took int       // hints since linger was last asked
	last time.Time // when that was
}

const (
	lingerLeast   = 10 * time.Millisecond // for what one change of a record makes come at the same time
	lingerPerRate = 62 * time.Millisecond // for each hint a second
	lingerMost    = 620 * time.Millisecond
	lingerFull    = 0.9 * hydrateMost // do not wait for more than this
	paceMemory    = 1.0               // seconds after which what happened counts for a third
)

// linger returns how long to wait when a batch has got there hints so far.
func (p *hintPace) linger(there int) time.Duration {
	now := p.now()
	if gap := now.Sub(p.last).Seconds(); !p.last.IsZero() && gap > 0 {
		p.rate += (1 - math.Exp(-gap/paceMemory)) * (float64(p.took)/gap - p.rate)
	}
	p.took, p.last = 0, now
	wait := min(time.Duration(p.rate*float64(lingerPerRate)), lingerMost)
	if p.rate > 0 {
		wait = min(wait, time.Duration((lingerFull-float64(there))/p.rate*float64(time.Second)))
	}
	return max(wait, lingerLeast)
}

// add notes the hints of a batch.
func (p *hintPace) add(n int) { p.took += n }
