package hubspot

import "time"

// searchState says whether searches count in the burst quota.
type searchState int

const (
	searchAssumed searchState = iota // unknown; treated as if they do
	searchInside
	searchOutside
)

func (s searchState) String() string { return [...]string{"assumed", "yes", "no"}[s] }

// searchLearning finds out whether searches count in the burst quota. HubSpot's documentation says that they do not for
// OAuth apps, and nothing for private apps. They are taken to count until the Remaining header shows that they do not.
type searchLearning struct {
	state    searchState
	evidence int // answers which show that searches do not count
	refusals int // times that this turned out wrong
}

// refuted takes back that searches do not count. It takes longer and longer to come to that again.
func (l *searchLearning) refuted() {
	if l.state == searchOutside {
		l.state = searchInside
		l.refusals++
	}
	l.evidence = 0
}

// spent is what had been spent at some moment.
type spent struct {
	lists      int // slots taken by requests other than searches
	listGrants int // those granted ever
}

func (b *budget) spent() spent {
	p := spent{listGrants: b.listGrants}
	for _, s := range b.slots {
		if !s.search {
			p.lists++
		}
	}
	return p
}

// compare compares the requests that HubSpot counted in the window, according to its answer to s, with those that we know of.
func (b *budget) compare(s *slot, counted int) {
	now := time.Now()
	// HubSpot counted when s arrived, after it was granted. At most what was held then and what was granted since can have
	// counted; if there is more, others spend the quota too.
	most := s.before.lists + b.listGrants - s.before.listGrants
	if counted > most {
		b.learned.evidence = 0 // searches count, or neighbours
	}
	b.neighbours.read(b.others(s, counted), b.window.interval)

	// At least those count that were answered before s was granted, but sent less than an interval before s was answered.
	others, searches := 0, 0
	for _, k := range b.slots {
		if k == s || k.answered.IsZero() || k.answered.After(s.granted) || now.Sub(k.granted) >= b.window.interval {
			continue
		}
		if k.search {
			searches++
		} else {
			others++
		}
	}
	switch missing := others + searches - counted; {
	case searches < 4: // too few to tell
	case counted < others:
		b.learned.evidence = 0 // the header does not even count what surely counts: it lags
	case missing < max(3, (3*searches+3)/4): // no proof either way
	default:
		b.learned.evidence++
		if b.learned.state != searchOutside && b.learned.evidence >= 5<<min(b.learned.refusals, 10) {
			b.learned.state = searchOutside
			b.log.Debug("hubspot does not count searches in the burst quota")
		}
	}
}

// others returns how many of the requests that HubSpot counted when s arrived are not ours. It arrived between first and
// last; so did all others of ours between moments of their own.
func (b *budget) others(s *slot, counted int) reading {
	first, last := s.arrived()
	sure, possible := 1, 1 // s itself
	for _, slots := range [][]*slot{b.slots, b.past} {
		for _, k := range slots {
			if k == s || !b.countsInWindow(k.search) {
				continue
			}
			from, to := k.arrived()
			if !from.After(last) && !to.Before(first.Add(-b.window.interval)) {
				possible++
			}
			if !k.denied && !k.answered.IsZero() && !to.After(first) && from.After(last.Add(-b.window.interval)) {
				sure++
			}
		}
	}
	return reading{at: last, least: counted - possible, most: counted - sure}
}

// arrived returns between which times the request arrived at HubSpot.
func (s *slot) arrived() (first, last time.Time) {
	first, last = s.granted, time.Now()
	if !s.written.IsZero() {
		first = s.written
	}
	if !s.answered.IsZero() {
		last = s.answered.Add(-s.latency().least())
	}
	return first, later(first, last)
}
