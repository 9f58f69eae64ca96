package hubspot

import "time"

// neighbours are other programs that spend the burst quota of the same app. What they use shows in the Remaining header and
// in 429s, always too late; so as much is expected of them as was seen lately.
type neighbours struct {
	seen []sighting
}

// sighting says that others had sent so many requests within one interval.
type sighting struct {
	at       time.Time
	requests int
}

// A sighting counts in full for two intervals and then fades until it is six old.
const (
	sightingFull = 2
	sightingEnds = 6
)

func (n *neighbours) note(requests int, at time.Time) {
	if requests > 0 {
		n.seen = append(n.seen, sighting{at, requests})
	}
}

// forget drops what has faded, and what a later sighting outdoes.
func (n *neighbours) forget(now time.Time, interval time.Duration) {
	kept, most := len(n.seen), 0
	for i := len(n.seen) - 1; i >= 0; i-- {
		if s := n.seen[i]; s.requests > most && now.Sub(s.at) < sightingEnds*interval {
			most = s.requests
			kept--
			n.seen[kept] = s
		}
	}
	n.seen = n.seen[kept:]
}

// expected returns how many requests of others to reckon with. A tenth of the quota stays ours.
func (n *neighbours) expected(now time.Time, interval time.Duration, limit int) int {
	most := 0
	for _, s := range n.seen {
		weight := float64(s.requests)
		if age := now.Sub(s.at); age > sightingFull*interval {
			weight *= float64(sightingEnds*interval-age) / float64((sightingEnds-sightingFull)*interval)
		}
		most = max(most, int(weight+0.5))
	}
	return min(most, limit-max(1, limit/10))
}
