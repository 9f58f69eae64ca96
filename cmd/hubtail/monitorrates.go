package main

import "time"

// rateOver is the time over which events per second are counted.
const rateOver = time.Minute

// moment is what was counted by then.
type moment struct {
	at      time.Time
	objects map[string]int64 // events since the start, by object type; nil without a source
	all     int64            // events, or, without a source, messages applied
}

// rates are the counts of the last minute.
type rates struct{ moments []moment }

// add takes note of a moment and forgets those that are older than needed.
func (r *rates) add(m moment) {
	for len(r.moments) > 1 && m.at.Sub(r.moments[1].at) >= rateOver {
		r.moments = r.moments[1:]
	}
	r.moments = append(r.moments, m)
}

// span returns the oldest and the newest moment, and how many seconds are between them, 0 if that is too early to say.
func (r *rates) span() (from, to moment, seconds float64) {
	if len(r.moments) < 2 {
		return from, to, 0
	}
	from, to = r.moments[0], r.moments[len(r.moments)-1]
	return from, to, to.at.Sub(from.at).Seconds()
}

// perSecond returns the events of an object type per second, nil if that is not known.
func (r *rates) perSecond(object string) *float64 {
	from, to, seconds := r.span()
	before, known := from.objects[object]
	if !known || seconds <= 0 {
		return nil
	}
	rate := float64(to.objects[object]-before) / seconds
	return &rate
}

// measure counts events, and returns how many there were per second.
func (m *monitor) measure(now time.Time) (perSecond float64, known bool) {
	next := moment{at: now}
	switch {
	case m.source != nil:
		next.objects = map[string]int64{}
		for _, o := range m.source.Status() {
			n := o.Counts.Created + o.Counts.Updated + o.Counts.Deleted
			next.objects[o.Object] = n
			next.all += n
		}
	case m.sink != nil:
		next.all = m.sink.Stats().Messages
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rates.add(next)
	n := len(m.rates.moments)
	if n < 2 {
		return 0, false
	}
	last, before := m.rates.moments[n-1], m.rates.moments[n-2] // a plot shows each interval by itself
	if seconds := last.at.Sub(before.at).Seconds(); seconds > 0 {
		return float64(last.all-before.all) / seconds, true
	}
	return 0, false
}
