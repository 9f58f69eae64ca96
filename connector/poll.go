package connector

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// passStats are what a pass read.
type passStats struct {
	start    time.Time // HubSpot's clock before its first request
	end      time.Time
	requests int
	missing  int // results that search counted and did not show, however often it was asked
	counts   schemas.Counts
}

// How often things are due, in poll intervals; in the comments, at the default of 12 s.
const (
	deepEvery = 2.5 // 30 s, a deep pass that is not small
	lateEvery = 25  // 5 min, a late pass that is not small
	peekEvery = 0.3 // 4 s, a look at the newest changes during a long pass

	// moveEvery bounds how often the cursor is written while nothing changes: a standby is to see us live.
	moveEvery = 10 * time.Second
	// fewRecords is what may be read again with every poll, for the price of a request that is made anyway.
	fewRecords = 50
)

func (f *follower) every(intervals float64) time.Duration {
	return time.Duration(intervals * float64(f.source.cfg.PollInterval))
}

// due says whether a pass of this kind is to be made again, given the last one: always if it was small, else after a
// while, and after several times as long as it took.
func (p passStats) due(now time.Time, small int64, every, times time.Duration) bool {
	return p.requests <= 1 && p.counts.Fetched <= small || now.Sub(p.start) >= max(every, times*p.end.Sub(p.start))
}

// poll makes one pass over what changed and returns how many records were new to the log. A deep pass reaches back to
// where the last one's certainty ended, and moves the watermark; a late one reaches further, for what the index shows
// later than it should. As long as that costs one request, every pass is both. For a busy type fast passes, which reach
// back only a little, go between.
func (f *follower) poll(ctx context.Context) (news int64, err error) {
	pass := f.deep
	if !f.lastDeep.due(f.client.Now(), searchPage, f.every(deepEvery), 3) {
		pass = f.fast
	}
	stats, err := pass(ctx)
	return newsOf(stats.counts), err
}

// deep reads everything that changed since the coverage ends, and extends it. If search counts results that it does not
// show, the coverage waits for them, not for longer than Reach.
func (f *follower) deep(ctx context.Context) (passStats, error) {
	now, cfg, settle := f.client.Now(), f.source.cfg, f.settling.time()
	since := f.covered.next(f.log.Cursor(), now, settle, cfg.Reach)
	since = since.Add(-min(settle, settleProbe)) // to see how late the late ones are
	late := f.lastLate.due(now, fewRecords, f.every(lateEvery), 10)
	if late {
		since = earlier(since, now.Add(-cfg.Reach))
	}
	f.lastPass = now
	extended := func(c schemas.Cursor, stats passStats, settle time.Duration) coverage {
		if stats.missing > 0 {
			return f.covered.extendShort(c, since, stats.start, settle, cfg.Reach)
		}
		return f.covered.extend(since, stats.start, settle)
	}
	var covered *coverage
	stats, err := f.pass(ctx, f.changedSince(since), func(c *schemas.Cursor, stats passStats) {
		settle := f.settling.time() // as long as the pass has taught
		v := extended(*c, stats, settle)
		c.CompleteThrough, covered = v.watermark(*c, settle), &v
	})
	if err != nil {
		return stats, err
	}
	f.settling.passed(since, stats.start)
	if covered == nil { // the cursor was not moved
		v := extended(f.log.Cursor(), stats, f.settling.time())
		covered = &v
	}
	f.wasShort(stats, *covered != f.covered)
	f.covered = *covered
	if late {
		f.lastLate = stats
	}
	if !late || stats.requests == 1 {
		f.lastDeep = stats
	}
	return stats, nil
}

// wasShort tells once of results that search counts and does not show, if the coverage no longer waits for them.
func (f *follower) wasShort(stats passStats, extended bool) {
	switch {
	case stats.missing == 0:
		f.short = false
	case extended && !f.short:
		f.short = true
		f.logger.Warn("search counts results that it does not show; the watermark has waited for them and goes on",
			"missing", stats.missing, "waited", f.source.cfg.Reach)
	}
}

// fast reads what changed since shortly before the last pass began.
func (f *follower) fast(ctx context.Context) (passStats, error) {
	since := f.lastPass.Add(-f.source.cfg.Overlap)
	f.lastPass = f.client.Now()
	stats, err := f.pass(ctx, f.changedSince(since), nil)
	if err == nil {
		f.settling.passed(since, stats.start)
	}
	return stats, err
}

// changedSince selects the records modified at t or later. HubSpot rule: filter values are epoch milliseconds; a filter
// of 0 is answered with 500.
func (f *follower) changedSince(t time.Time) hubspot.Filter {
	ms := max(t.UnixMilli(), 1000)
	return hubspot.Filter{Property: f.object.ModifiedProperty, Operator: "GTE", Value: strconv.FormatInt(ms, 10)}
}

// pass appends all records that the filter selects. It walks by id: a position that no change can move, so that records
// which change during the pass, share a millisecond or exceed the 10,000 results of a search shift nothing. (Offsets
// shift when a record leaves the results, and a time read from a page can be newer than the record's place in the index.)
// A record that changes behind the walk is younger than the pass and the next one's business.
//
// complete moves the cursor together with the last page. During a long pass the newest changes are looked at every so
// often, so that fresh ones need not wait for old ones, and the cursor is written, so that others see it live.
func (f *follower) pass(ctx context.Context, filter hubspot.Filter, complete func(*schemas.Cursor, passStats)) (passStats, error) {
	stats := passStats{start: f.client.Now()}
	f.settling.passing(stats.start)
	lastPeek := stats.start
	names := f.properties()
	walk := idWalk{}
	for {
		found, err := f.walkOn(ctx, &walk, filter, names, &stats)
		if err != nil {
			return stats, fmt.Errorf("search %s: %w", f.object.Name, err)
		}
		now := f.client.Now()
		var advance func(*schemas.Cursor)
		silent := now.Sub(f.movedAt) >= min(moveEvery, f.every(1))
		move := walk.done && (newsOf(stats.counts) > 0 || silent)
		if move {
			advance = func(c *schemas.Cursor) {
				c.PolledTo = later(c.PolledTo, earlier(walk.newest, stats.start))
				if complete != nil {
					complete(c, stats)
				}
			}
		}
		if err := f.append(ctx, found, names, advance, &stats, silent && stats.requests > 1); err != nil {
			return stats, err
		}
		if move || silent {
			f.movedAt = now
		}
		if walk.done {
			stats.end = f.client.Now()
			return stats, nil
		}
		if now.Sub(lastPeek) >= f.every(peekEvery) {
			lastPeek = now
			if err := f.peek(ctx, filter, names, &stats); err != nil {
				return stats, err
			}
		}
	}
}

// walkOn reads the next page of a walk. Results that it counts and does not show, or whose ids cannot be read, are asked for
// again, as long as that brings more and the pass is not short anyway. The page has all that any of the answers showed.
//
// HubSpot rule: rows that changed just now may be missing from an answer.
func (f *follower) walkOn(ctx context.Context, walk *idWalk, filter hubspot.Filter, names []string, stats *passStats) (hubspot.SearchPage, error) {
	shown := shownRows{}
	for try, vain := 1, 0; ; try++ {
		found, err := f.client.Search(ctx, walk.request(f.object, filter, names))
		if err != nil {
			return found, err
		}
		stats.requests++
		next := *walk
		if err := next.step(found); err != nil {
			return found, err
		}
		if news := shown.add(found); news == 0 && try > 1 {
			vain++
		}
		missing := shown.missing(found, walk.offset)
		if missing == 0 || stats.missing > 0 || vain == pageVain || try == pageTries {
			*walk = next
			stats.missing += missing
			found.Records = append(found.Records, shown.others(found)...)
			return found, nil
		}
		if err := pause(ctx, pageRetry<<try/2, pageRetry<<try); err != nil {
			return found, err
		}
	}
}

const (
	pageTries = 5
	pageVain  = 2                     // of them may bring nothing more
	pageRetry = 25 * time.Millisecond // doubled with every try
)

func withoutID(r hubspot.RejectedRecord) bool { return r.ID == "" }

// peek appends the newest of the records that the filter selects. It proves nothing and moves nothing.
func (f *follower) peek(ctx context.Context, filter hubspot.Filter, names []string, stats *passStats) error {
	found, err := f.client.Search(ctx, hubspot.SearchRequest{
		Object: f.object, Filters: []hubspot.Filter{filter}, SortBy: f.object.ModifiedProperty, Descending: true, Properties: names,
	})
	if err != nil {
		return fmt.Errorf("look at the newest: %w", err)
	}
	stats.requests++
	found.Rejected = slices.DeleteFunc(found.Rejected, withoutID) // the walk will come to them
	return f.append(ctx, found, names, nil, stats, false)
}

// append appends a page of search results and counts what was news; tell writes the cursor even if there is none.
func (f *follower) append(ctx context.Context, found hubspot.SearchPage, names []string, advance func(*schemas.Cursor), stats *passStats, tell bool) error {
	f.settling.sighted(found.Records, f.client.Now())
	counts, err := f.log.Append(ctx, page{
		Origin: schemas.OriginPoll, Records: found.Records, Rejected: found.Rejected, Asked: names, APICalls: 1, Tell: tell,
	}, advance)
	stats.counts = addCounts(stats.counts, counts)
	f.summary.add(stats.start, counts)
	return err
}
