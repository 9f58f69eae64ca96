package connector

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// verifier compares one object type in HubSpot with the log:
//
//	headers of the log's last events ─┐
//	list of the live records ─────────┼─▶ suspects ─▶ read again ─▶ beside the log as it is now ─▶ differences
//	list of the recycle bin ──────────┘
//
// The portal changes all the while. What the log did not claim to have when the walk began, by its watermark, is no
// difference; a suspicion counts only if it holds against the log of a later moment; and what bears no time has to
// outlast the patience.
type verifier struct {
	f      *follower
	o      VerifyOptions
	client *hubspot.Client
	report *difference.Report
	put    func(context.Context, page) (schemas.Counts, error) // a repair into the log

	cutoff time.Time       // what HubSpot stamped later is not expected in the log
	binned time.Time       // the same for records that were archived
	start  uint64          // the log's end before the walk
	names  []string        // to read with; nil: modification times only
	known  map[string]bool // names of all properties
	index  logIndex
	// definitions are those that HubSpot has; nil leaves them out, for a source compares them every few minutes.
	definitions *schemas.PropertyDefinitions

	suspects []string // to be read again
	undated  []string // differ and bear no time
}

func newVerifier(f *follower, o VerifyOptions) *verifier {
	return &verifier{f: f, o: o, client: f.verifyClient(), put: f.log.amend, report: &difference.Report{
		Object: f.object.Name, Hop: difference.HubSpotToLog, StartedAt: f.client.Now(),
	}}
}

// run compares, and repairs if it is asked to.
func (v *verifier) run(ctx context.Context) (*difference.Report, error) {
	err := v.compare(ctx)
	v.report.CompletedAt = v.f.client.Now()
	if err != nil {
		return v.report, fmt.Errorf("verify %s: %w", v.f.object.Name, err)
	}
	return v.report, nil
}

func (v *verifier) compare(ctx context.Context) error {
	cursor, err := v.f.log.Peek(ctx)
	if err != nil {
		return err
	}
	if cursor.BackfilledAt.IsZero() || cursor.CompleteThrough.IsZero() {
		v.report.Note = neverRead
		return nil
	}
	v.cutoff = earlier(v.report.StartedAt, cursor.CompleteThrough)
	v.binned = archivesExpected(cursor.ArchivedWalk, v.cutoff)
	if v.start, err = v.f.log.lastSeq(ctx); err != nil {
		return err
	}
	v.chooseNames()
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) (err error) { v.index, err = v.f.log.index(ctx); return err },
		v.compareDefinitions, v.walkLive, v.walkArchived, v.lookForGhosts, v.outlast, v.compareLinks,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// archivesExpected returns before when a record must have been archived for the log to know: search does not show it, the
// source's own walk through the recycle bin does.
func archivesExpected(w *schemas.ArchivedWalk, cutoff time.Time) time.Time {
	switch {
	case w == nil:
		return cutoff
	case w.Running():
		return earlier(cutoff, w.DoneAt.Add(-time.Hour)) // when the walk before began is not known: long enough ago
	}
	return earlier(cutoff, w.StartedAt)
}

// chooseNames decides whether values are compared: always where that costs no further requests.
func (v *verifier) chooseNames() {
	names := v.f.properties()
	v.known = make(map[string]bool, len(names))
	for _, name := range names {
		v.known[name] = true
	}
	if v.o.Full || v.client.ListFits(v.f.object, names) {
		v.names = names
		return
	}
	v.report.StampsOnly = true
}

// stampsOnly are the properties to read where modification times are all that is needed.
var stampsOnly = []string{idProperty}

// walkLive compares the live records.
func (v *verifier) walkLive(ctx context.Context) error {
	names, total := v.names, v.index.live()
	if names == nil {
		names = stampsOnly
	}
	return v.walk(ctx, false, names, func(p hubspot.Page) error {
		v.o.Progress(v.f.object.Name, v.report.Compared, max(total, v.report.Compared))
		var suspects []hubspot.Record
		for _, r := range p.Records {
			if r = inMillis(r); !v.differs(r) {
				continue
			}
			if !r.UpdatedAt.Before(v.cutoff) {
				v.report.Pending++
				continue
			}
			suspects = append(suspects, r)
		}
		return v.suspectAll(ctx, suspects)
	})
}

// differs compares a live record with its last event as it was before the walk, and notes that it is there.
func (v *verifier) differs(r hubspot.Record) bool {
	id, _ := strconv.ParseInt(r.ID, 10, 64) // canonical
	e := v.index.find(id)
	if e == nil {
		return true
	}
	e.state |= loggedSeen
	switch at := r.UpdatedAt.UnixMilli(); {
	case e.is(loggedPurged):
		return false // it never comes back
	case e.is(loggedEnded), at > e.millis():
		return true
	case at < e.millis() || v.names == nil:
		return false
	}
	return halfHash(schemas.ContentHash(false, "", r.Properties)) != e.hash
}

// suspectAll keeps the suspects whose last event is not their state by now either. With all values at hand, that costs
// no request.
func (v *verifier) suspectAll(ctx context.Context, suspects []hubspot.Record) error {
	if v.names == nil || len(suspects) == 0 {
		ids := make([]string, len(suspects))
		for i, r := range suspects {
			ids[i] = r.ID
		}
		return v.suspect(ctx, ids...)
	}
	p := page{Origin: schemas.OriginVerify, Primary: true, After: v.start, Records: suspects}
	found, explained, err := v.f.log.compare(ctx, p, v.known, false)
	if err != nil {
		return err
	}
	v.report.Explained += explained
	ids := make([]string, len(found))
	for i, f := range found {
		ids[i] = f.id
	}
	return v.suspect(ctx, ids...)
}

// walkArchived looks which of the records in the recycle bin the log thinks live. One that the log never had needs no end.
func (v *verifier) walkArchived(ctx context.Context) error {
	return v.walk(ctx, true, stampsOnly, func(p hubspot.Page) error {
		for _, r := range p.Records {
			id, _ := strconv.ParseInt(r.ID, 10, 64) // canonical
			e := v.index.find(id)
			switch {
			case e == nil || e.is(loggedEnded):
			case e.is(loggedSeen) || !r.ArchivedAt.Before(v.binned): // archived behind the walk, or lately
				v.report.Pending++
			default:
				if err := v.suspect(ctx, r.ID); err != nil {
					return err
				}
			}
			if e != nil {
				e.state |= loggedSeen
			}
		}
		return nil
	})
}

// walk lists all live records, or all in the recycle bin.
func (v *verifier) walk(ctx context.Context, archived bool, names []string, take func(hubspot.Page) error) error {
	request := hubspot.ListRequest{Object: v.f.object, Properties: names, Archived: archived}
	for {
		v.report.APICalls++
		if !v.client.ListFits(v.f.object, names) {
			v.report.APICalls++
		}
		p, err := v.client.List(ctx, request)
		if err != nil {
			return err
		}
		v.report.Compared += int64(len(p.Records))
		for _, r := range p.Rejected { // malformed: in the dead letters, if it ever was valid
			v.report.Explained++
			if id, err := strconv.ParseInt(r.ID, 10, 64); err == nil && v.index.find(id) != nil {
				v.index.find(id).state |= loggedSeen
			}
		}
		if err := take(p); err != nil {
			return err
		}
		if p.Next == "" {
			return nil
		}
		request.After = p.Next
	}
}

// lookForGhosts suspects the records that live in the log and were nowhere on the walk, and has the last suspects read.
func (v *verifier) lookForGhosts(ctx context.Context) error {
	for i := range v.index {
		if e := &v.index[i]; !e.is(loggedSeen) && !e.is(loggedEnded) {
			if err := v.suspect(ctx, strconv.FormatInt(e.id, 10)); err != nil {
				return err
			}
		}
	}
	return v.confirm(ctx, true)
}

// suspect has records read again, as soon as there are enough of them for a request.
func (v *verifier) suspect(ctx context.Context, ids ...string) error {
	v.suspects = append(v.suspects, ids...)
	if len(v.suspects) < maxRead {
		return nil
	}
	return v.confirm(ctx, false)
}

// maxRead is how many records one request reads. HubSpot rule.
const maxRead = 100

// confirm reads suspects again, whole requests of them, or all.
func (v *verifier) confirm(ctx context.Context, all bool) error {
	for len(v.suspects) >= maxRead || all && len(v.suspects) > 0 {
		ids := v.suspects[:min(maxRead, len(v.suspects))]
		v.suspects = slices.Clone(v.suspects[len(ids):])
		if err := v.judge(ctx, ids, v.o.Patience > 0); err != nil {
			return err
		}
	}
	return nil
}

// outlast reads the differences that bear no time once more, after the patience: by then a source has appended what was
// under way.
func (v *verifier) outlast(ctx context.Context) error {
	if len(v.undated) == 0 {
		return nil
	}
	if err := pause(ctx, v.o.Patience, v.o.Patience); err != nil {
		return err
	}
	for ids := range slices.Chunk(v.undated, maxRead) {
		if err := v.judge(ctx, ids, false); err != nil {
			return err
		}
	}
	return nil
}

// judge reads records again and compares them with the log as it is by then. What bears no time is put off if defer is
// set; the other differences are counted and, if asked, repaired.
func (v *verifier) judge(ctx context.Context, ids []string, putOff bool) error {
	after, err := v.f.log.lastSeq(ctx)
	if err != nil {
		return err
	}
	p, err := v.f.present(ctx, v.client, schemas.OriginVerify, ids)
	if err != nil {
		return err
	}
	v.report.APICalls += p.APICalls
	p.After = after
	found, explained, err := v.f.log.compare(ctx, p, v.known, true)
	if err != nil {
		return err
	}
	v.report.Explained += explained
	var differing []string
	for _, f := range found {
		cutoff := v.cutoff
		if f.kind == difference.Ghost {
			cutoff = v.binned
		}
		switch {
		case !slices.Contains(ids, f.id): // the winner of a merge: has its own place in the walk
		case f.at.IsZero() && putOff:
			v.undated = append(v.undated, f.id)
		case !f.at.IsZero() && !f.at.Before(cutoff):
			v.report.Pending++
		default:
			v.report.Add(f.kind, f.id, f.reason)
			differing = append(differing, f.id)
		}
	}
	if !v.o.Repair || len(differing) == 0 {
		return nil
	}
	counts, err := v.put(ctx, p.only(differing))
	if err != nil {
		return err
	}
	v.report.Repaired += int64(len(differing)) - counts.Failed
	return nil
}

// only returns the page with only the given records and endings, whose winners stay too.
func (p page) only(ids []string) page {
	keep := make(map[string]bool, len(ids))
	for _, id := range ids {
		keep[id] = true
	}
	p.Endings = slices.DeleteFunc(slices.Clone(p.Endings), func(e ending) bool { return !keep[e.ID] })
	for _, e := range p.Endings {
		if e.MergedInto != "" {
			keep[e.MergedInto] = true
		}
	}
	p.Records = slices.DeleteFunc(slices.Clone(p.Records), func(r hubspot.Record) bool { return !keep[r.ID] })
	p.Rejected = nil
	return p
}
