package hubspot

import "time"

// latency knows how long requests of one kind take from written to answered. A nil latency knows nothing.
type latency struct {
	fastest time.Duration
	mean    time.Duration // of the last hundred or so
	seen    int
}

func (l *latency) observe(took time.Duration) {
	l.seen++
	if l.seen == 1 || took < l.fastest {
		l.fastest = took
	}
	l.mean += (took - l.mean) / time.Duration(min(l.seen, 100))
}

// known reports whether enough requests were seen: a few prove nothing.
func (l *latency) known() bool { return l != nil && l.seen >= 5 }

// spread returns by how much requests are slower than the fastest.
func (l *latency) spread() time.Duration { return l.mean - l.fastest }

// least returns the least time that a request can take, on the safe side: the fastest one seen was slowed down by something too,
// the more so the more they differ, and the fewer were seen.
func (l *latency) least() time.Duration {
	if !l.known() {
		return 0
	}
	return max(0, l.fastest-l.spread()/4-5*l.spread()/time.Duration(l.seen))
}
