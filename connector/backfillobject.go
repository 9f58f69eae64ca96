package connector

import (
	"context"
	"strconv"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// backfillObject is one object type of a backfill.
type backfillObject struct {
	source   *Source
	follower *follower
	run      schemas.Backfill // as the cursor has it, less what changes with every page
	plan     *objectPlan

	queue      []*answered // pages received and not yet handed to the log, in order
	committing bool        // an append is under way
	dropping   bool        // an append failed: nothing more is appended
	failed     error       // why nothing more is read
	over       bool
	ended      func(error)
}

// newBackfillObject goes on with the full read in the follower's cursor, or begins one at the given time.
func newBackfillObject(s *Source, f *follower, now time.Time) *backfillObject {
	o := &backfillObject{source: s, follower: f}
	if b := f.log.Cursor().Backfill; b != nil {
		o.run = *b
		total := b.Total
		if total == 0 { // search never counted it
			total = -1
		}
		o.plan = newObjectPlan(b.Ranges, total, b.Counts.Fetched)
		return o
	}
	o.run = schemas.Backfill{
		RunID: newRunID(f.object.Name, now), StartedAt: now,
		Ranges: []schemas.Range{{From: 0, To: maxID}},
	}
	o.plan = newObjectPlan(o.run.Ranges, -1, 0)
	return o
}

func (o *backfillObject) name() string { return o.follower.object.Name }

func (o *backfillObject) end(err error) {
	o.over = true
	o.ended(err)
}

// receive takes a page into the plan and queues what was still unread. It returns the size of what it queued.
func (o *backfillObject) receive(a *answered) int {
	settled, fresh := o.plan.receive(a.request, a.ids)
	if a.settled = settled; o.dropping || len(settled) == 0 {
		return 0
	}
	n := 0
	for i, r := range a.records {
		if fresh[i] {
			a.records[n] = r
			n++
		}
	}
	clear(a.records[n:])
	a.records = a.records[:n]
	n = 0
	for _, r := range a.rejected { // one past the end will come again with the next page
		if id, _ := strconv.ParseInt(r.ID, 10, 64); id == 0 || settled.has(id) {
			a.rejected[n] = r
			n++
		}
	}
	a.rejected = a.rejected[:n]
	o.queue = append(o.queue, a)
	return a.size()
}

// drop forgets what was received and not appended, and what will be received. It returns the size of it.
func (o *backfillObject) drop() (size int) {
	for _, a := range o.queue {
		size += a.size()
	}
	o.queue, o.dropping = nil, true
	return size
}

// size returns about how much memory a page holds.
func (a *answered) size() (n int) {
	for i := range a.records {
		n += len(a.records[i].Properties) + 200
	}
	for i := range a.rejected {
		n += len(a.rejected[i].Raw) + 200
	}
	return n
}

const (
	// takeRecords and takeBytes bound what is appended at once; NATS rule: a batch holds at most 1,000 messages.
	takeRecords = 900
	takeBytes   = 3 << 20
)

// take removes from the queue what is to be appended together: pages of one lane, in order. While the log is busy pages
// pile up, and each append costs the disk one flush however many it holds.
func (o *backfillObject) take() []*answered {
	n, records, bytes := 0, 0, 0
	for _, a := range o.queue {
		records += len(a.records) + len(a.rejected)
		bytes += a.size()
		if n > 0 && (a.request.lane != o.queue[0].request.lane || !sameSlice(a.asked, o.queue[0].asked) || records > takeRecords || bytes > takeBytes) {
			break
		}
		n++
	}
	taken := o.queue[:n:n]
	o.queue = o.queue[n:]
	return taken
}

// append puts pages into the log with the cursor that says that their ids are read.
func (o *backfillObject) append(ctx context.Context, pages []*answered, total int64) error {
	p := page{Origin: schemas.OriginBackfill, Primary: pages[0].request.lane == laneList, Asked: pages[0].asked}
	p.After = pages[0].after
	for _, a := range pages {
		p.After = min(p.After, a.after)
		p.APICalls += int64(a.calls)
		p.Records = append(p.Records, a.records...)
		p.Rejected = append(p.Rejected, a.rejected...)
	}
	_, err := o.follower.log.Append(ctx, p, func(c *schemas.Cursor) {
		if c.Backfill == nil {
			b := o.run
			c.Backfill = &b
		}
		c.Backfill.Total = max(total, 0)
		ranges := idRanges(c.Backfill.Ranges)
		for _, a := range pages {
			for _, r := range a.settled {
				ranges = ranges.without(r)
			}
		}
		c.Backfill.Ranges = ranges
	})
	return err
}

// close ends the read in the log: the run's record, and a cursor that says so.
func (o *backfillObject) close(ctx context.Context) error {
	log := o.follower.log
	counts := schemas.Counts{}
	if b := log.Cursor().Backfill; b != nil {
		counts = b.Counts
	}
	run := o.source.runOf(o.name(), o.run.RunID, "full", o.run.StartedAt, o.source.cfg.Client.Now(), counts, nil)
	_, err := log.Append(ctx, page{Origin: schemas.OriginBackfill, Controls: []schemas.Control{run}}, func(c *schemas.Cursor) {
		c.Backfill, c.BackfilledAt = nil, o.run.StartedAt
	})
	return err
}

// list reads a page upward from the start of the range.
func (a *answered) list(ctx context.Context, client *hubspot.Client) {
	a.asked, a.after = a.object.follower.properties(), a.object.follower.log.Position()
	req := hubspot.ListRequest{Object: a.object.follower.object, Limit: listPage, Properties: a.asked}
	if from := a.request.from(); from > 0 {
		req.After = strconv.FormatInt(from, 10)
	}
	page, err := client.List(ctx, req)
	if err != nil {
		a.err = err
		return
	}
	a.ids.next, _ = strconv.ParseInt(page.Next, 10, 64)
	a.ids.last = page.Next == ""
	a.take(page.Records, page.Rejected)
}

// search reads a page downward from the end of the range.
func (a *answered) search(ctx context.Context, client *hubspot.Client) {
	const id = "hs_object_id"
	a.asked = a.object.follower.properties()
	req := hubspot.SearchRequest{
		Object: a.object.follower.object, SortBy: id, Descending: true, Limit: searchPage, Properties: a.asked,
	}
	for _, r := range a.request.ranges {
		var within []hubspot.Filter
		if r.From > 0 {
			within = append(within, hubspot.Filter{Property: id, Operator: "GTE", Value: strconv.FormatInt(r.From, 10)})
		}
		if r.To < maxID {
			within = append(within, hubspot.Filter{Property: id, Operator: "LT", Value: strconv.FormatInt(r.To, 10)})
		}
		req.AnyOf = append(req.AnyOf, within)
	}
	page, err := client.Search(ctx, req)
	if err != nil {
		a.err = err
		return
	}
	a.ids.total = int64(page.Total)
	a.ids.last = page.Next == 0
	a.take(page.Records, page.Rejected)
}

// take notes the ids of a page. A record whose id is no number cannot be placed in a range: it counts as malformed.
func (a *answered) take(records []hubspot.Record, rejected []hubspot.RejectedRecord) {
	for _, r := range records {
		id, err := strconv.ParseInt(r.ID, 10, 64)
		if err != nil || id < 0 {
			rejected = append(rejected, hubspot.RejectedRecord{ID: r.ID, Reason: "the id is not a number", Raw: string(r.Properties)})
			continue
		}
		a.records = append(a.records, r)
		a.ids.ids = append(a.ids.ids, id)
	}
	a.rejected = rejected
	for _, r := range rejected {
		id, _ := strconv.ParseInt(r.ID, 10, 64)
		a.ids.rejected = append(a.ids.rejected, id)
	}
}
