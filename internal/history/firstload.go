package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// Unloaded is an object type whose first load had not ended at a moment: HubSpot had records that the log did not have yet.
type Unloaded struct {
	Object  string    `json:"object"`
	Records int       `json:"records"`    // that HubSpot had then and the log has from later
	Seq     uint64    `json:"loaded_seq"` // of the last of them in the log: from here on all are there
	Since   time.Time `json:"loaded_at"`  // when that one was logged
}

// firstReads are the records of an object type that HubSpot had at a moment and that the log has from later, in its order.
type firstReads struct {
	portal string
	reads  []firstRead
	stored int // how many records the log had
}

type firstRead struct {
	seq  uint64
	at   time.Time
	load bool // by a full read
}

// noteFirstRead notes a record's first event if it is of one that HubSpot had at the moment: a source calls that a snapshot,
// and a comparison of HubSpot with the log, which finds what loads and polls missed, is no load.
func (s *State) noteFirstRead(subject schemas.Subject, e Entry, event *schemas.Event) {
	if event.PreviousSeq > 0 || event.Op != schemas.OpSnapshot || event.Origin == schemas.OriginVerify ||
		!s.at.Time.IsZero() && event.CreatedAt.After(s.at.Time) {
		return
	}
	f := s.firstReads[subject.Object]
	if f == nil {
		f = &firstReads{portal: subject.Portal}
		s.firstReads[subject.Object] = f
	}
	f.reads = append(f.reads, firstRead{e.Seq, e.Time, event.Origin == schemas.OriginBackfill})
}

// noteStored counts a subject that the log had.
func (s *State) noteStored(text string) {
	if len(s.firstReads) == 0 {
		return
	}
	if subject, err := schemas.ParseSubject(text); err == nil && subject.Kind == schemas.KindRecord && s.firstReads[subject.Object] != nil {
		s.firstReads[subject.Object].stored++
	}
}

// unloaded returns the object types whose first load had not ended at the moment, by name.
func (s *State) unloaded(ctx context.Context) ([]Unloaded, error) {
	var all []Unloaded
	for object, f := range s.firstReads {
		then, err := s.cursor(ctx, f.portal, object, s.at.Seq)
		if err != nil {
			return nil, err
		}
		now, err := s.cursor(ctx, f.portal, object, s.log.LastSeq)
		if err != nil {
			return nil, err
		}
		if reads := f.ofFirstLoad(s.at, then, now); len(reads) > 0 {
			last := reads[len(reads)-1]
			all = append(all, Unloaded{Object: object, Records: len(reads), Seq: last.seq, Since: last.at.UTC()})
		}
	}
	slices.SortFunc(all, func(a, b Unloaded) int { return cmp.Compare(a.Object, b.Object) })
	s.firstReads = nil
	return all, nil
}

// notBegun adds to an error about gaps, nil if there are none, what the log did not have yet. reached is from where on there
// would be no gaps.
func (s *State) notBegun(err error, reached *gaps, unloaded []Unloaded) error {
	nothing := ""
	if len(s.newest) == 0 && s.begins.Seq > 0 {
		if nothing = "the log"; len(s.objects) > 0 {
			nothing = strings.Join(s.objects, ", ")
		}
	}
	if nothing == "" && len(unloaded) == 0 {
		return err
	}
	var gone *NotCoveredError
	if !errors.As(err, &gone) {
		gone = &NotCoveredError{At: s.at, Depth: s.log.Depth}
	}
	if gone.Nothing, gone.Unloaded = nothing, unloaded; nothing != "" {
		gone.Seq, gone.Since = s.begins.Seq, s.begins.Time.UTC()
		if reached.seq > gone.Seq {
			gone.Seq, gone.Since = reached.seq, reached.since.UTC()
		}
	}
	for _, u := range unloaded {
		if u.Seq > gone.Seq {
			gone.Seq, gone.Since = u.Seq, u.Since
		}
	}
	return gone
}

// cursor returns the source's cursor as it was at a sequence, nil if there was none or it is no longer kept.
func (s *State) cursor(ctx context.Context, portal, object string, seq uint64) (*schemas.Cursor, error) {
	subject := schemas.ControlSubject(schemas.KindCursor, portal, object)
	found, err := s.log.LastAt(ctx, []string{subject}, seq)
	if err != nil {
		return nil, err
	}
	e, ok := found[subject]
	if !ok {
		return nil, nil
	}
	c, err := schemas.DecodeControl(e.Message)
	if err != nil {
		return nil, nil //nolint:nilerr // a dead letter: it says nothing
	}
	cursor, _ := c.(*schemas.Cursor)
	return cursor, nil
}

// ofFirstLoad returns those of the reads that belong to the first load, if that had not ended at the moment. The cursor of then
// says whether it had, if it is still kept. If not, the reads do: where the log had fewer than they are, and where they come from
// a full read that had begun before the moment. (What a later one finds, the first one missed.)
func (f *firstReads) ofFirstLoad(at Moment, then, now *schemas.Cursor) []firstRead {
	if then != nil && !then.BackfilledAt.IsZero() {
		return nil
	}
	reads, byLoads := f.reads, slices.ContainsFunc(f.reads, func(r firstRead) bool { return r.load })
	if byLoads {
		reads = slices.DeleteFunc(reads, func(r firstRead) bool { return !r.load })
	}
	begunSince := false // the full read that they are of, which is not the first then
	for _, start := range fullReads(now) {
		if start.After(reads[0].at.Add(clockSkew)) {
			reads = slices.DeleteFunc(reads, func(r firstRead) bool { return !r.at.Before(start) })
		} else if start.After(at.Time.Add(clockSkew)) {
			begunSince = true
		}
	}
	switch {
	case f.stored <= len(reads), now != nil && now.BackfilledAt.IsZero():
		return reads
	case begunSince, then == nil && now == nil, !byLoads && (then == nil || then.Backfill != nil):
		return nil // a poll found what a full read had missed
	}
	return reads
}

// fullReads returns when the full reads began that a cursor knows of, by HubSpot's clock: the last one that ended and the one
// under way.
func fullReads(c *schemas.Cursor) []time.Time {
	var starts []time.Time
	if c != nil && !c.BackfilledAt.IsZero() {
		starts = append(starts, c.BackfilledAt)
	}
	if c != nil && c.Backfill != nil {
		starts = append(starts, c.Backfill.StartedAt)
	}
	return starts
}

// unloadedText names object types whose first load had not ended.
func unloadedText(at Moment, list []Unloaded) string {
	names := make([]string, len(list))
	for i, u := range list {
		names[i] = fmt.Sprintf("%s (%s)", u.Object, count(u.Records, "record"))
	}
	return fmt.Sprintf("the first load of %s had not ended at %s", strings.Join(names, ", "), at)
}
