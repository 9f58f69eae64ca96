package connector

import (
	"context"
	"errors"
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

// deep reads everything that changed since the coverage ends, and extends it.
func (f *follower) deep(ctx context.Context) (passStats, error) {
	now, cfg, settle := f.client.Now(), f.source.cfg, f.settling.time()
	since := f.covered.next(f.log.Cursor(), now, settle, cfg.Reach)
	since = since.Add(-min(settle, settleProbe)) // to see how late the late ones are
	late := f.lastLate.due(now, fewRecords, f.every(lateEvery), 10)
	if late {
		since = earlier(since, now.Add(-cfg.Reach))
	}
	f.lastPass = now
	var covered coverage
	stats, err := f.pass(ctx, f.changedSince(since), func(c *schemas.Cursor, start time.Time) {
		settle := f.settling.time() // as long as the pass has taught
		covered = f.covered.extend(since, start, settle)
		c.CompleteThrough = covered.watermark(*c, settle)
	})
	if err != nil {
		return stats, err
	}
	f.settling.passed(since, stats.start)
	if covered == (coverage{}) { // the cursor was not moved
		covered = f.covered.extend(since, stats.start, f.settling.time())
	}
	f.covered = covered
	if late {
		f.lastLate = stats
	}
	if !late || stats.requests == 1 {
		f.lastDeep = stats
	}
	return stats, nil
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

const idProperty = "hs_object_id"

// pass appends all records that the filter selects. It walks by id: a position that no change can move, so that records
// which change during the pass, share a millisecond or exceed the 10,000 results of a search shift nothing. (Offsets
// shift when a record leaves the results, and a time read from a page can be newer than the record's place in the index.)
// A record that changes behind the walk is younger than the pass and the next one's business.
//
// complete moves the cursor together with the last page. During a long pass the newest changes are looked at every so
// often, so that fresh ones need not wait for old ones, and the cursor is written, so that others see it live.
func (f *follower) pass(ctx context.Context, filter hubspot.Filter, complete func(*schemas.Cursor, time.Time)) (passStats, error) {
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
					complete(c, stats.start)
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

// walkOn reads the next page of a walk. What cannot be all that there is is asked for again a few times: results missing
// that the total counts, and records whose ids cannot be read and which so could not be read again later.
func (f *follower) walkOn(ctx context.Context, walk *idWalk, filter hubspot.Filter, names []string, stats *passStats) (hubspot.SearchPage, error) {
	for try := 1; ; try++ {
		found, err := f.client.Search(ctx, walk.request(f.object, filter, names))
		if err != nil {
			return found, err
		}
		stats.requests++
		next := *walk
		err = next.step(found)
		again := errors.Is(err, errPageShort) || slices.ContainsFunc(found.Rejected, withoutID)
		if try == pageTries || !again {
			*walk = next
			return found, err
		}
		if err := pause(ctx, pageRetry<<try/2, pageRetry<<try); err != nil {
			return found, err
		}
	}
}

const (
	pageTries = 5
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

// idWalk goes through the results of a search, ascending by id.
type idWalk struct {
	last   int64     // highest id seen
	offset int       // into the results above last, while a page brings no id to go on from
	newest time.Time // newest modification time seen
	done   bool
}

func (w *idWalk) request(o hubspot.Object, filter hubspot.Filter, properties []string) hubspot.SearchRequest {
	filters := []hubspot.Filter{filter}
	if w.last > 0 {
		filters = append(filters, hubspot.Filter{Property: idProperty, Operator: "GT", Value: strconv.FormatInt(w.last, 10)})
	}
	return hubspot.SearchRequest{Object: o, Filters: filters, SortBy: idProperty, After: w.offset, Properties: properties}
}

var (
	// errPageLoop says that the walk does not get on. Trusting such pages would lose records or never end.
	errPageLoop = errors.New("results are not in the order asked for")
	// errPageShort says that a page has no results though there are some.
	errPageShort = errors.New("results are missing")
)

// step takes the next page. The last one names no next page and holds all there is; a page that ends too early by one
// sign or the other is no end.
func (w *idWalk) step(p hubspot.SearchPage) error {
	before := w.last
	for _, r := range p.Records {
		id, err := strconv.ParseInt(r.ID, 10, 64)
		if err != nil || id <= w.last {
			return fmt.Errorf("id %s after %d: %w", r.ID, w.last, errPageLoop)
		}
		w.last = id
		w.newest = later(w.newest, r.UpdatedAt)
	}
	n := len(p.Records) + len(p.Rejected)
	if n == 0 && w.offset < p.Total {
		return fmt.Errorf("none of %d after id %d, offset %d: %w", p.Total, w.last, w.offset, errPageShort)
	}
	w.done = n == 0 || p.Next == 0 && w.offset+n >= p.Total
	if w.last > before || w.done {
		w.offset = 0
		return nil
	}
	if w.offset += n; w.offset >= 10_000 { // only malformed records so far
		return fmt.Errorf("10,000 malformed records after id %d: %w", before, errPageLoop)
	}
	return nil
}
