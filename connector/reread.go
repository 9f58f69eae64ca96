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

// rereading walks over all records of an object type by list, again and again, and lets the log compare their whole state.
// HubSpot rule: calculated properties, such as the number of associated contacts, change without moving the modification
// time, so that no search for changes finds them.
//
// A turn is spread evenly over Config.RereadTurn, at the lowest priority, and goes on where it was after a restart. Its
// requests stay under rereadShare of the daily quota, all object types together: a large portal's turn takes longer.
type rereading struct {
	follower *follower
	client   *hubspot.Client
	changed  int64 // records found changed that the cursor does not count yet
	told     toldCounts
}

const (
	// rereadShare is the part of the daily quota that the turns of all object types may take.
	rereadShare = 0.03
	// rereadFirst is the part of a turn's time that passes between a full read, which saw every record, and the first turn.
	rereadFirst = 24
	// rereadOnce bounds the pages that a one-shot run reads.
	rereadOnce = 50
	// rereadLook is the longest time between two looks at whether a page is due: other things move that, too.
	rereadLook = time.Minute
)

func newRereading(f *follower) *rereading {
	return &rereading{follower: f, client: f.source.cfg.Client.At(hubspot.PriorityVerify)}
}

// run reads pages as they are due, until ctx ends. It returns an error only if the object type cannot go on.
func (r *rereading) run(ctx context.Context) error {
	if r.follower.source.cfg.RereadTurn < 0 {
		return nil
	}
	told := ""
	for {
		wait := r.due(r.client.Now())
		if wait <= 0 && !r.follower.loading.Load() {
			err := r.page(ctx)
			switch {
			case err == nil:
				told = ""
				wait = max(r.due(r.client.Now()), r.gap())
			case r.stops(ctx, err):
				return err
			case told != causeOf(err):
				told = causeOf(err)
				r.follower.logger.Warn("records cannot be read again, trying on: calculated values may be old", "err", err)
			}
			if err != nil {
				wait = rereadLook
			}
		}
		wait = min(max(wait, time.Millisecond), rereadLook)
		if err := pause(ctx, wait, wait+wait/12); err != nil {
			return err
		}
	}
}

// once reads the pages that are due, some at most.
func (r *rereading) once(ctx context.Context) error {
	if r.follower.source.cfg.RereadTurn < 0 {
		return nil
	}
	for range rereadOnce {
		if r.due(r.client.Now()) > 0 {
			return nil
		}
		err := r.page(ctx)
		if err != nil && r.stops(ctx, err) {
			return err
		}
		if err != nil {
			r.follower.logger.Warn("records cannot be read again: calculated values may be old", "err", err)
			return nil
		}
	}
	return nil
}

// stops reports whether after err nothing can go on for the object type.
func (r *rereading) stops(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrStandby) || errors.Is(err, hubspot.ErrUnauthorized)
}

// due returns after how long the next page is to be read.
func (r *rereading) due(now time.Time) time.Duration {
	c, turn := r.follower.log.Cursor(), r.turn()
	switch {
	case c.BackfilledAt.IsZero() || c.Backfill != nil:
		return r.follower.every(1) // everything is being read anyway
	case c.Reread == nil:
		return c.BackfilledAt.Add(turn / rereadFirst).Sub(now)
	case !c.Reread.DoneAt.IsZero():
		return later(c.Reread.StartedAt.Add(turn), c.Reread.DoneAt).Sub(now)
	}
	return rereadAt(*c.Reread, c.Records, turn).Sub(now)
}

// rereadAt returns when the next page of a turn is due: the records done so far are as large a part of all as the time is of
// the turn's.
func rereadAt(r schemas.Reread, records int64, turn time.Duration) time.Time {
	part := float64(r.Done) / float64(max(records, r.Done)+listPage) // a page without records ends the turn
	return r.StartedAt.Add(time.Duration(part * float64(turn)))
}

// gap returns the least time between two pages, a quarter of what a turn has for each: after a long pause a turn catches up,
// but not all at once.
func (r *rereading) gap() time.Duration {
	return r.turn() / time.Duration(4*rereadRequests(r.follower.log.Cursor().Records))
}

// turn returns how long a turn takes.
func (r *rereading) turn() time.Duration {
	source, pages := r.follower.source, int64(0)
	for _, f := range source.followers {
		pages += rereadRequests(f.log.Cursor().Records)
	}
	return rereadTurn(source.cfg.RereadTurn, pages, r.client.Usage().Daily.Limit)
}

// rereadRequests returns how many requests a turn over that many records takes.
func rereadRequests(records int64) int64 { return (records+listPage-1)/listPage + 1 }

// rereadTurn returns how long a turn takes that costs that many requests, of all object types, at least the given time.
func rereadTurn(least time.Duration, requests int64, daily int) time.Duration {
	if daily <= 0 {
		daily = unknownDaily
	}
	return max(least, time.Duration(float64(requests)/(rereadShare*float64(daily))*float64(24*time.Hour)))
}

// page reads the next page of the turn, or begins one. An empty page ends it: that a page names no next one is no proof.
func (r *rereading) page(ctx context.Context) error {
	f, now := r.follower, r.client.Now()
	turn := schemas.Reread{StartedAt: now}
	if last := f.log.Cursor().Reread; last != nil && last.DoneAt.IsZero() {
		turn = *last
	}
	p := page{Origin: schemas.OriginPoll, Primary: true, After: f.log.Position(), Asked: f.properties()}
	found, err := r.list(ctx, turn, p.Asked, &p.APICalls)
	if err != nil {
		return err
	}
	if turn.LastID, err = lastOf(found, turn.LastID); err != nil {
		return fmt.Errorf("list %s: %w", f.object.Name, err)
	}
	p.Records, p.Rejected = found.Records, found.Rejected
	n := int64(len(p.Records) + len(p.Rejected))
	turn.Done += n
	turn.Changed += r.changed
	if n == 0 {
		turn.DoneAt = now
	}
	counts, err := f.log.Append(ctx, p, func(c *schemas.Cursor) {
		t := turn
		c.Reread = &t
		if n == 0 && c.Records == 0 {
			c.Records = t.Done // of a log from before they were counted
		}
	})
	if err != nil {
		return err
	}
	r.changed = newsOf(counts)
	counts.Fetched, counts.Unchanged = newsOf(counts), 0 // what did not change is no work worth telling
	r.told.add(counts)
	if n == 0 {
		f.logger.Debug("all records read again", "records", turn.Done, "changed", turn.Changed, "took", now.Sub(turn.StartedAt).Round(time.Second))
	}
	return nil
}

// list reads the page after the records that the turn has done. A record whose id cannot be read is asked for again.
func (r *rereading) list(ctx context.Context, turn schemas.Reread, names []string, calls *int64) (hubspot.Page, error) {
	req := hubspot.ListRequest{Object: r.follower.object, Limit: listPage, Properties: names}
	if turn.LastID > 0 {
		req.After = strconv.FormatInt(turn.LastID+1, 10) // HubSpot rule: the cursor is the least id to be shown
	}
	for try := 1; ; try++ {
		found, err := r.client.List(ctx, req)
		*calls++
		if err != nil || try == pageTries || !slices.ContainsFunc(found.Rejected, withoutID) {
			return found, err
		}
		if err := pause(ctx, pageRetry<<try/2, pageRetry<<try); err != nil {
			return found, err
		}
	}
}

// lastOf returns the highest id of a page that follows after.
func lastOf(found hubspot.Page, after int64) (int64, error) {
	last := after
	for _, record := range found.Records {
		id, ok := parseID(record.ID)
		if !ok || id <= last {
			return 0, fmt.Errorf("id %s after %d: %w", record.ID, last, errPageLoop)
		}
		last = id
	}
	if next, ok := parseID(found.Next); ok && len(found.Rejected) > 0 {
		last = max(last, next-1) // malformed records, at the end perhaps
	}
	if last == after && len(found.Rejected) > 0 {
		return 0, fmt.Errorf("%d malformed records after %d and nothing to go on from: %w", len(found.Rejected), after, errPageLoop)
	}
	return last, nil
}
