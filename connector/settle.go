package connector

import (
	"strconv"
	"sync"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// The settle time is how old a change must be to count as surely in HubSpot's search index. It is learned, per object type:
// a change that search shows for the first time, after a pass that covered its time did not show it, was late by at least
// the age it had at the start of that pass. The settle time is the longest lag seen for some hours, and more, the less was
// seen. It grows at once, also when a change turns up behind the watermark, which then was wrong; it shrinks when an epoch
// of observations ends.
//
// Changes are shown early or late, and the early ones come first: a change counts as seen only when those of its time that are
// late were seen as well, that is when it is settleFirst old and passes are no further apart than settleFloor.
const (
	settleFirst   = 100 * time.Second // until enough changes were observed
	settleFloor   = 60 * time.Second  // however fast the index is: it can slow down without a sign
	settleCeiling = 15 * time.Minute
	settleEnough  = 1000          // changes
	settleEpoch   = 3 * time.Hour // observations count for one to two epochs
	settleProbe   = time.Minute   // that deep passes reach back beyond the settle time
	maxSightings  = 50_000        // about 2 MB
	maxPasses     = 16
)

// settling learns the settle time of one object type.
type settling struct {
	fixed time.Duration // what the configuration asks for; 0 means that it is learned
	reach time.Duration // changes older than that are not looked for

	mu     sync.Mutex // guards the fields below: polls observe, hydration finds late changes
	state  schemas.Settle
	from   time.Time       // every change since that search showed is in seen
	seen   map[int64]int64 // the newest modification time that search showed of a record, in epoch ms, by id
	passes []passSpan      // of this process that count, the latest start last
	pruned time.Time
	last   int64           // modification time of the change that was counted last, in epoch ms
	young  map[int64]int64 // changes that do not count as seen yet, by when they were made, in youngGrain
	deep   time.Time       // when the last pass began that reached back beyond the settle time
}

// youngGrain is how exactly the age of young changes is known.
const youngGrain = 10 * time.Second

// passSpan is a finished pass: what was modified since and is not among its results was not in the index at start.
type passSpan struct{ since, start time.Time }

// begin takes over what the cursor says was learned. What this process saw before counts no longer: someone else may have
// led meanwhile.
func (s *settling) begin(c *schemas.Settle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = schemas.Settle{}
	if c != nil {
		s.state = *c
		s.state.Epochs = append([]schemas.LagEpoch(nil), c.Epochs...)
	}
	s.from, s.seen, s.passes = time.Time{}, nil, nil
	s.young, s.deep = make(map[int64]int64), time.Time{}
}

// time returns the settle time.
func (s *settling) time() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current()
}

func (s *settling) current() time.Duration {
	if s.fixed > 0 {
		return s.fixed
	}
	return settleOf(s.state.Epochs)
}

// settleOf returns the settle time that observations suggest: the longest lag and a margin of a third, which shrinks to
// nearly nothing the more changes were seen: each lag is already told a little too long.
func settleOf(epochs []schemas.LagEpoch) time.Duration {
	var longest, changes int64
	for _, e := range epochs {
		longest, changes = max(longest, e.LongestMS), changes+e.Changes
	}
	margin := 1.02 + 0.3*settleEnough/float64(settleEnough+changes)
	t := max(time.Duration(float64(longest)*margin)*time.Millisecond, settleFloor)
	if changes < settleEnough {
		t = max(t, settleFirst)
	}
	return min(t, settleCeiling)
}

// sighted takes note of records that search shows at now, whether or not the log had them.
func (s *settling) sighted(records []hubspot.Record, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from.IsZero() {
		return // the first pass is still to begin: nothing says what was there before
	}
	for i := range records {
		r := &records[i]
		id, err := strconv.ParseInt(r.ID, 10, 64)
		if err != nil || r.UpdatedAt.Before(s.from) || r.UpdatedAt.After(now) {
			continue
		}
		at := r.UpdatedAt.UnixMilli()
		if s.seen[id] >= at {
			continue
		}
		if len(s.seen) >= maxSightings {
			s.seen, s.from = nil, now
			return
		}
		if s.seen == nil {
			s.seen = make(map[int64]int64)
		}
		s.seen[id] = at
		if at != s.last { // those of a bulk change are as one
			s.young[r.UpdatedAt.UnixNano()/int64(youngGrain)]++
		}
		s.last = at
		s.observe(s.lagOf(r.UpdatedAt, now), now)
	}
}

// observe takes a change into account that search showed first at now.
func (s *settling) observe(lag time.Duration, now time.Time) {
	if len(s.state.Epochs) == 0 || now.Sub(s.state.Epochs[0].Since) >= settleEpoch {
		s.state.Epochs = append([]schemas.LagEpoch{{Since: now.UTC()}}, s.state.Epochs[:min(len(s.state.Epochs), 1)]...)
	}
	e := &s.state.Epochs[0]
	e.LongestMS = max(e.LongestMS, lag.Milliseconds())
}

// mature counts young changes that are old enough at the start of a pass that reached back beyond the settle time. If the
// last such pass was long ago, how late they were is not known, and they never count.
func (s *settling) mature(start time.Time) {
	often := start.Sub(s.deep) <= settleFloor
	s.deep = start
	over := start.Add(-settleFirst).UnixNano()/int64(youngGrain) - 1
	for made, n := range s.young {
		if made > over {
			continue
		}
		if delete(s.young, made); often {
			s.state.Epochs[0].Changes += n
		}
	}
}

// lagOf returns how late a change was, of which search shows the first sign at now: 0 if no pass asked for it in vain, else
// its age when the last of these began, and a poll's interval more, if not shown earlier.
func (s *settling) lagOf(modified, now time.Time) time.Duration {
	for i := len(s.passes) - 1; i >= 0; i-- {
		if p := s.passes[i]; !modified.Before(p.since) && modified.Before(p.start) {
			return min(p.start.Sub(modified)+settleGrain, now.Sub(modified))
		}
	}
	return 0
}

// settleGrain is what is added to the age of a change at a pass that did not show it: it can have been indexed any time
// between this pass and the next.
const settleGrain = 5 * time.Second

// passing notes that a pass begins.
func (s *settling) passing(start time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from.IsZero() {
		s.from = start
	}
}

// passed notes that a pass ended which asked for everything modified since a time, and forgets what is over.
func (s *settling) passed(since, start time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.passes[:0]
	for _, p := range s.passes { // one that reaches no further than the new one says less
		if p.since.Before(since) && start.Sub(p.start) < s.reach {
			kept = append(kept, p)
		}
	}
	if len(kept) == maxPasses {
		kept = append(kept[:0], kept[1:]...)
	}
	s.passes = append(kept, passSpan{since, start})
	if start.Sub(since) >= s.current() {
		s.mature(start)
	}
	if over := start.Add(-s.reach - time.Minute); start.Sub(s.pruned) >= time.Minute {
		s.pruned = start
		s.from = later(s.from, over)
		for id, at := range s.seen {
			if at < over.UnixMilli() {
				delete(s.seen, id)
			}
		}
	}
}

// behind takes note of changes that came into the log at now though the watermark had passed their times: by search, or
// because a webhook or another reading told of them. It returns the settle time that follows.
func (s *settling) behind(modified []time.Time, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range modified {
		age := now.Sub(m)
		s.state.Late++
		s.state.LateAt, s.state.LateMS = now.UTC(), age.Milliseconds()
		if age > s.reach { // no settle time would have covered it
			continue
		}
		// Passes that reach back so far are rare: how late it was is not known well. The settle time at most doubles by it.
		s.observe(max(s.lagOf(m, now), min(age, 2*settleOf(s.state.Epochs))), now)
	}
	return s.current()
}

// learned returns what the cursor is to say, nil if that is nothing.
func (s *settling) learned() *schemas.Settle {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	state.Epochs = append([]schemas.LagEpoch(nil), s.state.Epochs...)
	state.TimeMS = s.current().Milliseconds()
	return &state
}
