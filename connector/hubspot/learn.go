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
	held, lists        int // slots taken: all that count, and those of requests other than searches
	grants, listGrants int // ever
}

func (b *budget) spent(now time.Time) spent {
	p := spent{held: b.held(now), grants: b.grants, listGrants: b.listGrants}
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
	if b.countsInWindow(true) {
		most = s.before.held + b.grants - s.before.grants
	}
	b.neighbours.note(counted-most, now)

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
