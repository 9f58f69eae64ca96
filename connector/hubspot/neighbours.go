package hubspot

import (
	"slices"
	"time"
)

// neighbours are other programs that spend the burst quota of the same app. What they use shows in the Remaining header and
// in 429s: every answer to a request other than a search says how much of the window is used, and what is not ours of that
// is theirs. How much they may take next, before we see it, is learned from how much they took at most, how fast that
// came, and how often it was more than expected.
type neighbours struct {
	most   peak      // requests within one interval
	jumps  peak      // by how much these grew from one reading to a later one
	recent []reading // of the last interval, ascending

	denied   time.Time // last 429 that was not ours to foresee; older readings are out of date
	assumed  int       // requests within one interval, because of it
	step     int       // by how much more than expected that was supposed to be
	margin   int       // what is kept free besides
	shrinkAt time.Time // when margin becomes less
}

// reading is how many requests of theirs were in the window at some time, by the evidence of one answer.
type reading struct {
	at          time.Time
	least, most int
}

const (
	// A reading stands for now for one part in so many of an interval.
	readingFresh = 10
	// readingsKept bounds how many earlier readings a new one is compared with.
	readingsKept = 20
	// readingSharp is how far apart the ends of a reading may be for its upper one to be believed.
	readingSharp = 6
	// assumedFor is for how many intervals a 429 is remembered as such. Then there were answers that say how much it was.
	assumedFor = 2
	// marginShrinks is after how many intervals without a 429 the margin is one request less.
	marginShrinks = 6
)

// read takes note of a reading.
func (n *neighbours) read(r reading, interval time.Duration) {
	if !r.at.After(n.denied) {
		return
	}
	if n.most.note(r.least, r.at); r.least > 0 && r.most-r.least < readingSharp {
		n.most.note(r.most, r.at)
	}
	n.recent = slices.DeleteFunc(n.recent, func(old reading) bool { return r.at.Sub(old.at) > interval })
	for _, old := range n.recent {
		if old.at.Before(r.at) {
			n.jumps.note(r.least-old.most, r.at)
		}
	}
	n.recent = append(n.recent, r)
	slices.SortStableFunc(n.recent, func(x, y reading) int { return x.at.Compare(y.at) })
	n.recent = n.recent[max(0, len(n.recent)-readingsKept):]
}

// refuse learns from a 429 to a request that by our count had room beside ours, which hold so many of limit slots. Nobody
// knows how much neighbours took besides; if it goes on like that, we suppose twice as much more each time.
func (n *neighbours) refuse(now, granted time.Time, interval time.Duration, held, limit int) {
	if granted.Before(n.denied) {
		return // sent before the last 429 came
	}
	if now.Sub(n.denied) > assumedFor*interval {
		n.step = 0
	}
	n.step = max(2*n.step, 1, limit/50)
	n.assumed = max(n.expected(now, interval, limit)+n.step, limit-held)
	n.denied, n.recent = now, nil
	n.margin = min(n.margin+max(1, limit/33), limit/5)
	n.shrinkAt = now.Add(marginShrinks * interval)
}

// present reports whether there are any. Then requests must not go out in volleys: what neighbours do meanwhile would be seen
// too late.
func (n *neighbours) present(now time.Time, interval time.Duration) bool {
	return len(n.most.seen) > 0 || !n.denied.IsZero() && now.Sub(n.denied) < sightingEnds*interval
}

func (n *neighbours) assuming(now time.Time, interval time.Duration) bool {
	return !n.denied.IsZero() && now.Sub(n.denied) < assumedFor*interval
}

// expected returns how many requests of others to reckon with. A tenth of the quota stays ours.
func (n *neighbours) expected(now time.Time, interval time.Duration, limit int) int {
	most := n.most.value(now, interval)
	if n.assuming(now, interval) {
		most = max(most, n.assumed)
	}
	if most == 0 {
		return 0
	}
	if last := len(n.recent) - 1; last >= 0 && now.Sub(n.recent[last].at) <= interval/readingFresh {
		most = min(most, max(n.recent[last].most, 0)+n.jumps.value(now, interval))
	}
	return min(most+n.margin, limit-max(1, limit/10))
}

// forget drops what has faded.
func (n *neighbours) forget(now time.Time, interval time.Duration) {
	n.most.forget(now, interval)
	n.jumps.forget(now, interval)
	for n.margin > 0 && !now.Before(n.shrinkAt) {
		n.margin--
		n.shrinkAt = n.shrinkAt.Add(marginShrinks * interval)
	}
}

// peak is the most of something that was seen lately.
type peak struct {
	seen []sighting
}

type sighting struct {
	at time.Time
	n  int
}

// A sighting counts in full for three minutes and then fades until it is ten minutes old: who comes every few minutes is
// expected all the time. (In intervals, of 10 s.)
const (
	sightingFull = 18
	sightingEnds = 60
)

func (p *peak) note(n int, at time.Time) {
	if n > 0 {
		p.seen = append(p.seen, sighting{at, n})
	}
}

// forget drops what has faded, and what a later sighting outdoes.
func (p *peak) forget(now time.Time, interval time.Duration) {
	kept, most := len(p.seen), 0
	for i := len(p.seen) - 1; i >= 0; i-- {
		if s := p.seen[i]; s.n > most && now.Sub(s.at) < sightingEnds*interval {
			most = s.n
			kept--
			p.seen[kept] = s
		}
	}
	p.seen = p.seen[kept:]
}

func (p *peak) value(now time.Time, interval time.Duration) int {
	most := 0
	for _, s := range p.seen {
		weight := float64(s.n)
		if age := now.Sub(s.at); age > sightingFull*interval {
			weight *= float64(sightingEnds*interval-age) / float64((sightingEnds-sightingFull)*interval)
		}
		most = max(most, int(weight+0.5))
	}
	return most
}
