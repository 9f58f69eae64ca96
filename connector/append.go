package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// ErrStandby says that another source leads: the cursor in the log moved and we did not move it. Nothing was appended, and
// nothing will be until Reload.
var ErrStandby = errors.New("another source leads")

// page is what one read of HubSpot brought. It gets into the log whole, with the cursor that says so, or not at all.
type page struct {
	Origin schemas.Origin
	// Primary says that the records came from HubSpot's primary store (list, batch read). Search answers from an index that
	// may be stale: where its records contradict the log, they are read again before they are believed.
	Primary bool
	// After is the log's position, as Position returned it before the page was read: what came into the log since may be
	// newer than a record of the page with the same modification time.
	After    uint64
	Records  []hubspot.Record
	Rejected []hubspot.RejectedRecord
	Endings  []ending         // of records that cannot be read any longer
	Links    []*schemas.Links // of records of this type, each set whole
	// Asked are the names that the records were read with, as the objectLog's asked returned them; nil if that does not
	// matter. If the definitions changed since, a record that seems to have lost a value is read again.
	Asked    []string
	APICalls int64 // requests that the page cost, for the counts
	// Tell publishes the cursor even if nothing changed: what it says beside the progress is news.
	Tell bool
	// Controls join the batch without a guard of their own, for example the run that ends with this page.
	Controls []schemas.Control
}

// objectLog appends to the log what was read of one object type. Every origin goes through it. It serialises the appends
// of this process; against other processes the log guards itself.
type objectLog struct {
	js       jetstream.JetStream
	stream   string
	portal   string
	object   hubspot.Object
	instance string                // differs for every process, also after a restart
	now      func() time.Time      // HubSpot's clock
	quota    func() *schemas.Quota // for status; nil leaves it out of the cursor
	timeout  time.Duration         // of one attempt to publish; publishTimeout but for tests
	logger   *slog.Logger
	// confirm reads records again from HubSpot's primary store. Ids that it does not answer are gone.
	confirm func(ctx context.Context, ids []string) (hubspot.Batch, error)
	// asked returns the names of the properties that records are to be read with now; nil if there is no choice.
	asked func() []string
	// learned returns what cursors say of how late search is, and late is told when changes came into the log at a time
	// though the watermark had passed theirs. Either may be nil.
	learned func() *schemas.Settle
	late    func(modified []time.Time, at time.Time)
	// missing is told which live records HubSpot has no longer, and logged what the records' new events say. Either may be nil.
	missing func(ids []string)
	// condemn has records erased that were merged into one that was erased for privacy; nil leaves them.
	condemn func(ctx context.Context, ids []string) error
	logged  func(id string, op schemas.Op)

	watcher *hintWatch // is shown what polls brought; nil shows it to nobody

	token chan struct{} // holds one element while an append or a reload is under way
	// The fields below are written by the token's holder.
	head position // the last committed cursor, also read by Cursor
	lost bool     // another source leads
	// buried holds what the last dead letters said, by subject, so that they are not repeated.
	buried map[string]string
	// erased holds the ids of records that were erased for privacy since this process began: what was read of them before
	// must not get into the log any more. Other goroutines add to it.
	erased sync.Map
	// absorbed holds the ids that records say they have absorbed: an older read or the index may still show them.
	absorbed map[string]bool
}

// Append puts a page of records and the advanced cursor into the log as one atomic batch. Records equal to their last
// event in the log, or older, are dropped; if nothing remains and advance changes nothing, nothing is published.
//
// advance gets a copy of the last committed cursor and moves it; nil leaves it. It can be called more than once and must
// depend on nothing but its argument. The counts of a backfill page are added to Cursor.Backfill.Counts by Append itself.
//
// Append returns when the batch is known to be in the log. While NATS is away it waits. When ctx ends it finishes the
// attempt in flight, within publishTimeout, and starts no other. After an error the page may or may not be in the log, but
// not in part (only a page too large for one batch can have events in the log without its cursor), and appending it again
// never doubles anything. It returns ErrStandby if another source leads.
func (l *objectLog) Append(ctx context.Context, p page, advance func(*schemas.Cursor)) (schemas.Counts, error) {
	if err := l.acquire(ctx); err != nil {
		return schemas.Counts{}, err
	}
	defer l.release()
	if l.lost {
		return schemas.Counts{}, ErrStandby
	}
	if advance == nil {
		advance = func(*schemas.Cursor) {}
	}
	d, claimed := l.newDraft(p), l.head.cursor.CompleteThrough
	if err := l.append(ctx, d, advance); err != nil {
		return schemas.Counts{}, fmt.Errorf("append %d %s: %w", len(p.Records), l.object.Name, err)
	}
	l.bury(d)
	l.tellLate(d, claimed)
	l.tell(d)
	l.watch(d)
	counts := d.counts()
	l.head.add(counts)
	return counts, nil
}

// maxRefusals bounds how often one page is refused before its caller hears of it.
const maxRefusals = 20

// append looks up what the log has, publishes what it lacks, and starts over as often as a guard refuses.
func (l *objectLog) append(ctx context.Context, d *draft, advance func(*schemas.Cursor)) error {
	// Asking for records that the log does not have costs 0.3 ms for a page of 200: cheaper than to find out by a refusal.
	if err := l.lookup(ctx, d.open(), false); err != nil {
		return err
	}
	for refusals := 1; ; refusals++ {
		if err := l.judge(ctx, d); err != nil {
			return err
		}
		if err := l.absorb(ctx, d); err != nil {
			return err
		}
		if err := l.sentence(ctx, d, refusals > 2); err != nil {
			return err
		}
		if err := l.shield(ctx, d, refusals > 2); err != nil {
			return err
		}
		err := l.publish(ctx, d, advance)
		switch {
		case err == nil:
			return l.sentence(ctx, d, true) // a winner may have been erased meanwhile
		case refusals == maxRefusals:
			return fmt.Errorf("refused %d times: %w", refusals, err)
		case errors.Is(err, errRecordMoved):
			// Someone wrote one of the records since we looked, or a replica that lags answered us. Replicas catch up
			// soon; the leader never lags.
			if err := l.lookup(ctx, d.open(), refusals > 2); err != nil {
				return err
			}
		case !errors.Is(err, errCursorMoved):
			return err
		}
		if err := pause(ctx, 10*time.Millisecond, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// judge decides for every open entry whether it is published, and reads doubtful records again.
func (l *objectLog) judge(ctx context.Context, d *draft) error {
	how := reading{
		primary: d.page.Primary, after: d.page.After,
		narrow: d.page.Asked != nil && !sameSlice(d.page.Asked, l.asked()),
	}
	var doubts []*entry
	for _, e := range d.open() {
		if e.judge(how); e.verdict == changed && e.last.seq == 0 && !e.confirmed && l.absorbed[e.record.ID] {
			e.verdict = doubtful // merged away before the log ever had it
		}
		if e.verdict == doubtful {
			doubts = append(doubts, e)
		}
	}
	if len(doubts) == 0 {
		return nil
	}
	ids := make([]string, len(doubts))
	for i, e := range doubts {
		ids[i] = e.id()
	}
	read, err := l.confirm(ctx, ids)
	if err != nil {
		return fmt.Errorf("read %d doubtful records again: %w", len(doubts), err)
	}
	l.logger.Debug("doubtful records read again", "records", len(doubts), "found", len(read.Records))
	if healed := l.resolveDoubts(doubts, read, d.at); len(healed) > 0 {
		if err := l.lookup(ctx, healed, false); err != nil {
			return err
		}
	}
	for _, e := range doubts {
		if e.verdict == undecided {
			e.judge(reading{primary: true})
		}
	}
	return nil
}

func (l *objectLog) subjectOf(id string) string {
	return schemas.RecordSubject(l.portal, l.object.Name, id)
}

// publish sends the draft in one batch, or, if it is too large for one, in several of which the last holds the cursor.
func (l *objectLog) publish(ctx context.Context, d *draft, advance func(*schemas.Cursor)) error {
	entries := l.encode(d)
	cursor := cloneCursor(l.head.cursor)
	advance(&cursor)
	if b := cursor.Backfill; b != nil && d.page.Origin == schemas.OriginBackfill {
		b.Counts = addCounts(b.Counts, d.counts())
	}
	if len(entries) == 0 && len(d.page.Controls) == 0 && !d.page.Tell && equalCursors(cursor, l.head.cursor) {
		return nil
	}
	cursor.Portal, cursor.Object, cursor.Instance, cursor.At = l.portal, l.object.Name, l.instance, d.at
	cursor.Records = countRecords(l.head.cursor, cursor, entries)
	if l.quota != nil {
		cursor.Quota = l.quota()
	}
	if l.watcher != nil {
		cursor.Webhooks = l.watcher.report()
	}
	if l.learned != nil {
		cursor.Settle = l.learned()
	}
	tail, err := encodeControls(append(slices.Clone(d.page.Controls), &cursor)...)
	if err != nil {
		return err
	}
	last := tail[len(tail)-1]
	guard(last, l.head.seq)
	d.tried = append(d.tried, last.Data)

	for rest := entries; ; {
		n := fit(rest, maxBatch-len(tail))
		msgs, final := messages(rest[:n]), n == len(rest)
		if final {
			msgs = append(msgs, tail...)
		}
		seq, err := l.send(ctx, d, msgs, final)
		if err != nil {
			return err
		}
		for _, e := range rest[:n] {
			e.done = true
		}
		if rest = rest[n:]; final {
			l.head.set(cursor, seq)
			return nil
		}
	}
}

var (
	// errRecordMoved says that a guard refused the batch and it was not the cursor's.
	errRecordMoved = errors.New("a record has another last event in the log")
	// errCursorMoved says that an earlier append of ours, given up in doubt, arrived after all. The head is now its cursor.
	errCursorMoved = errors.New("the cursor was moved by ourselves")
)

// send publishes one batch and returns the sequence of its last message; final says that this is the cursor. Whatever
// happens on the way, send finds out whether the batch is in the log: no answer is never taken for a no.
func (l *objectLog) send(ctx context.Context, d *draft, msgs []*nats.Msg, final bool) (uint64, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		seq, err := publishBatch(ctx, l.js, l.timeout, msgs)
		if err == nil {
			return seq, nil
		}
		outcome := outcomeOf(err)
		switch outcome {
		case failed:
			return 0, err
		case unknown:
			l.logger.Warn("batch not acknowledged, looking whether it is in the log", "messages", len(msgs), "err", err)
		}
		if outcome != refused {
			if err := pause(ctx, wait, 4*wait); err != nil {
				return 0, err
			}
		}
		found, err := l.leaderCursor(ctx)
		switch {
		case err != nil:
			return 0, err
		case found.seq == l.head.seq && outcome == refused, found.seq == l.head.seq && outcome == unknown && !final:
			return 0, errRecordMoved
		case found.seq == l.head.seq: // not there, and what was in our way is gone
		case final && d.hasTried(found.data):
			return found.seq, nil // it was committed, only the answer got lost
		case found.cursor.Instance == l.instance:
			l.head.set(found.cursor, found.seq)
			return 0, errCursorMoved
		default:
			l.lost = true
			l.logger.Info("batch refused, another source moved the cursor", "other", found.cursor.Instance)
			return 0, ErrStandby
		}
	}
}

func sameSlice(a, b []string) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// acquire takes the token that serialises appends.
func (l *objectLog) acquire(ctx context.Context) error {
	select {
	case l.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *objectLog) release() { <-l.token }

// pause waits between low and high, or until ctx ends.
func pause(ctx context.Context, low, high time.Duration) error {
	t := time.NewTimer(low + rand.N(high-low+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
