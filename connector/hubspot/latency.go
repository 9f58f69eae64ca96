package hubspot

import "time"

// latency knows how long requests of one kind take from written to answered.
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

// least returns the least time that a request can take, on the safe side: the fastest one seen was slowed down by something too,
// the more so the more they differ. Few requests prove nothing.
func (l *latency) least() time.Duration {
	if l == nil || l.seen < 20 {
		return 0
	}
	return max(0, l.fastest-(l.mean-l.fastest)/4)
}
