package connector

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// How long a turn of the sweep may take. It follows from what it costs: a turn may use a small share of the daily quota.
const (
	sweepShare = 0.018 // of the daily quota
	turnLeast  = 5 * time.Minute
	turnMost   = 6 * time.Hour // unless that would use more than sweepMost
	sweepMost  = 0.1
	// smallestDaily is the daily quota of the smallest accounts, while it is unknown. HubSpot rule.
	smallestDaily = 250_000
)

// turn returns how long a sweep over all object types may take.
func (r *linkReader) turn() time.Duration {
	if d := r.source.cfg.SweepTurn; d > 0 {
		return d
	}
	cost := int64(0)
	for _, t := range r.types {
		records := int64(0)
		if links := t.log.Cursor().Links; links != nil && links.Sweep != nil {
			records = links.Sweep.Total
		}
		cost += max(t.turned, (records+maxInputs-1)/maxInputs*int64(len(t.open(nil))))
	}
	return turnFor(cost, r.daily())
}

// turnFor returns how long a turn of so many requests may take.
func turnFor(cost, daily int64) time.Duration {
	whole := 24 * time.Hour * time.Duration(cost) / time.Duration(daily) // with all of the quota
	turn := max(time.Duration(float64(whole)/sweepShare), turnLeast)
	if turn > turnMost {
		return max(turnMost, time.Duration(float64(whole)/sweepMost))
	}
	return turn
}

func (r *linkReader) daily() int64 {
	if limit := r.source.cfg.Client.Usage().Daily.Limit; limit > 0 {
		return int64(limit)
	}
	return smallestDaily
}

// begin starts a sweep where one is due: at once, and as fast as it gets, if there are pairs whose links were never read
// for every record; else when the turn of the last one is over.
func (r *linkReader) begin(ctx context.Context, t *linkType) error {
	c := t.log.Cursor()
	if err := r.tellRefusals(ctx, t); err != nil {
		return err
	}
	missing := t.missing(c)
	var last *schemas.Sweep
	if c.Links != nil {
		last = c.Links.Sweep
	}
	underWay := last != nil && last.DoneAt.IsZero()
	now := r.source.cfg.Client.Now()
	next := schemas.Sweep{StartedAt: now, To: missing}
	switch {
	case len(missing) > 0:
		if underWay && covers(last.To, missing) || r.loading() {
			return nil
		}
	case last == nil || underWay || len(t.open(nil)) == 0:
		return nil
	default:
		turn := r.turn()
		if now.Before(last.StartedAt.Add(turn)) {
			return nil
		}
		next.Seconds, next.To = int64(turn/time.Second), namesOf(t.open(nil))
	}
	if last != nil {
		next.Turn = last.Turn
	}
	next.Turn++
	end, err := t.log.lastSeq(ctx)
	if err != nil {
		return err
	}
	next.End = end
	t.sweep.close(ctx)
	t.sweep, t.cost = nil, 0
	open, refused := namesOf(t.open(nil)), t.refusals()
	_, err = t.log.Append(ctx, page{Origin: schemas.OriginPoll}, func(c *schemas.Cursor) {
		if c.Links == nil { // the sweep reads what is in the log by now
			c.Links = &schemas.LinkProgress{Seq: end, To: []string{}}
		}
		s := next
		c.Links.Sweep, c.Links.Refused = &s, refused
		// What HubSpot refuses now has to be read for every record once it shows it again.
		c.Links.To = slices.DeleteFunc(slices.Clone(c.Links.To), func(name string) bool { return !slices.Contains(open, name) })
	})
	return err
}

// tellRefusals puts into the cursor what HubSpot refuses, if that is all there is to say.
func (r *linkReader) tellRefusals(ctx context.Context, t *linkType) error {
	refused := t.refusals()
	var known map[string]string
	links := t.log.Cursor().Links
	if links != nil {
		known = links.Refused
	}
	if maps.Equal(known, refused) || links == nil && len(t.open(nil)) > 0 {
		return nil
	}
	end, err := t.log.lastSeq(ctx)
	if err != nil {
		return err
	}
	_, err = t.log.Append(ctx, page{Origin: schemas.OriginPoll}, func(c *schemas.Cursor) {
		if c.Links == nil {
			c.Links = &schemas.LinkProgress{Seq: end, To: []string{}}
		}
		c.Links.Refused = refused
	})
	return err
}

func covers(names, others []string) bool {
	for _, name := range others {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return true
}

// loading reports whether an object type is being read whole: the quota is for that then.
func (r *linkReader) loading() bool {
	for _, t := range r.types {
		if t.follower.loading.Load() {
			return true
		}
	}
	return false
}

// sweepOn reads the next records of the sweep under way, if it is time. It returns after how long there is more.
func (r *linkReader) sweepOn(ctx context.Context, t *linkType) (time.Duration, error) {
	c := t.log.Cursor()
	s := c.Links.Sweep
	if s == nil {
		return linkPatience, nil
	}
	if !s.DoneAt.IsZero() {
		return max(s.StartedAt.Add(r.turn()).Sub(r.source.cfg.Client.Now()), time.Millisecond), nil
	}
	if wait := sweepDue(s).Sub(r.source.cfg.Client.Now()); wait > 0 && !r.once {
		return wait, nil
	}
	if t.sweep == nil {
		t.sweep = t.log.walk(s.Seq, true)
	}
	records, more, err := t.sweep.take(ctx)
	if err != nil {
		return 0, err
	}
	done := !more
	if i := slices.IndexFunc(records, func(w walked) bool { return w.seq > s.End }); i >= 0 {
		records, done = records[:i], true
	}
	client := r.source.cfg.Client.At(hubspot.PriorityVerify)
	if s.Seconds == 0 {
		client = r.labels
	}
	r.cost = 0
	err = r.readSets(ctx, client, t, records, t.open(s.To), s.Seconds > 0)
	t.cost += r.cost
	if err != nil {
		t.sweep.close(ctx)
		t.sweep = nil // goes on from the cursor
		return 0, err
	}
	return 0, r.swept(ctx, t, records, done)
}

// sweepDue returns when the next records of a sweep are to be read: they are spread over its turn.
func sweepDue(s *schemas.Sweep) time.Time {
	if s.Total <= 0 {
		return s.StartedAt
	}
	share := float64(s.Done) / float64(s.Total)
	return s.StartedAt.Add(time.Duration(share * float64(s.Seconds) * float64(time.Second)))
}

// swept puts into the cursor what a sweep has read.
func (r *linkReader) swept(ctx context.Context, t *linkType, records []walked, done bool) error {
	total, now := t.sweep.total, r.source.cfg.Client.Now()
	open := namesOf(t.open(nil))
	_, err := t.log.Append(ctx, page{Origin: schemas.OriginPoll}, func(c *schemas.Cursor) {
		if c.Links == nil || c.Links.Sweep == nil {
			return
		}
		s := c.Links.Sweep
		s.Total = max(s.Total, total)
		s.Done += int64(len(records))
		if len(records) > 0 {
			s.Seq = records[len(records)-1].seq
		}
		if !done {
			return
		}
		s.DoneAt, s.Seq, s.Total = now, s.End, s.Done
		for _, name := range s.To {
			if slices.Contains(open, name) && !slices.Contains(c.Links.To, name) {
				c.Links.To = append(c.Links.To, name)
			}
		}
	})
	if err != nil || !done {
		return err
	}
	t.sweep.close(ctx)
	t.sweep, t.turned = nil, t.cost
	s := t.log.Cursor().Links.Sweep
	t.logger.Info("links of all records read", "turn", s.Turn, "records", s.Done, "requests", t.cost, "took", fmt.Sprint(s.DoneAt.Sub(s.StartedAt).Round(time.Second)))
	return nil
}
