package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// verdict is the answer of `hubtail explain` in a word.
type verdict string

// The verdicts. Those before the blank line are as it should be.
const (
	verdictHere     verdict = "here"     // in the tables, as in the log
	verdictArchived verdict = "archived" // in HubSpot's recycle bin, or gone from there; the row says so
	verdictMerged   verdict = "merged"   // into another record
	verdictErased   verdict = "erased"   // for privacy

	verdictNotRead    verdict = "object_not_read" // nothing reads the object type
	verdictUnseen     verdict = "never_seen"      // HubSpot has never shown it
	verdictWaiting    verdict = "hint_waiting"    // a webhook told of it, no source has read it yet
	verdictUnapplied  verdict = "not_applied"     // in the log, not yet in the tables
	verdictDeadLetter verdict = "dead_letter"     // it could not be made an event, or a row
	verdictMissing    verdict = "row_missing"     // it should be in the tables
	verdictDiffers    verdict = "row_differs"     // from the log
	verdictGhost      verdict = "row_without_event"
)

func (v verdict) healthy() bool {
	return slices.Contains([]verdict{verdictHere, verdictArchived, verdictMerged, verdictErased}, v)
}

func (e *explanation) decide(v verdict, format string, args ...any) {
	e.Verdict, e.Answer = v, fmt.Sprintf(format, args...)
}

// judge finds the answer: what stands in the way first, else how the record is.
func (e *explanation) judge() {
	switch {
	case e.Log == nil:
		e.judgeTables()
	case e.Log.last == nil:
		e.judgeUnseen()
	case e.Tables == nil:
		e.judgeEvent("the log has it")
	default:
		e.judgeRow()
	}
	if e.Log != nil && len(e.Log.Hints) > 0 && e.Log.last != nil {
		e.Answer += fmt.Sprintf(". A webhook (%s) told of a change at %s that no source has read yet", e.Log.Hints[0].Cause, stamp(e.Log.Hints[0].OccurredAt))
	}
}

// judgeUnseen says why the log has no event of it.
func (e *explanation) judgeUnseen() {
	log, tables := e.Log, e.Tables
	switch {
	case tables != nil && tables.Row != nil && tables.Row.Seq > log.LastSeq:
		e.judgeNewerRow()
	case tables != nil && tables.Row != nil:
		e.decide(verdictGhost, "the tables have a row, of event %d, but the log has no event of it: was the stream restored or purged? `hubtail verify %s` compares both",
			tables.Row.Seq, e.Object)
	case !slices.Contains(log.Types, e.Object):
		has := strings.Join(log.Types, ", ")
		if has == "" {
			has = "none"
		}
		e.decide(verdictNotRead, "nothing reads %s: the log has %s. Add it to the source's --objects (HUBTAIL_OBJECTS); if it is there, the token may lack the scope: `hubtail doctor` says",
			e.Object, has)
	case len(log.DeadLetters) > 0:
		d := log.DeadLetters[len(log.DeadLetters)-1]
		e.decide(verdictDeadLetter, "HubSpot sent something that is no record, at %s: %s. It is tried again with its next change", stamp(d.At), shownName(d.Reason))
	case len(log.Hints) > 0:
		e.decide(verdictWaiting, "a webhook (%s) told of it at %s, and no source has read it yet: is one running? `hubtail status` says",
			shownName(log.Hints[0].Cause), stamp(log.Hints[0].OccurredAt))
	default:
		e.decide(verdictUnseen, "HubSpot has never shown it to hubtail%s. Either there is no such record, the token may not see it, or it is newer than that; `hubtail verify %s` looks for it",
			log.Read.text(), e.Object)
	}
}

// text says how far the object type was read.
func (r *readState) text() string {
	switch {
	case r == nil:
		return ", of whose type nothing was read yet"
	case r.LastRun != nil && r.LastRun.Status == "failed":
		return fmt.Sprintf("; the last read failed: %s", shownName(r.LastRun.Error))
	case r.BackfillTotal > 0 || r.BackfillDone > 0:
		return fmt.Sprintf("; the first full read is under way, %s of %s records", thousands(r.BackfillDone), thousands(r.BackfillTotal))
	case r.CompleteThrough.IsZero():
		return "; the first full read is not done"
	}
	return ", whose log is complete through " + stamp(r.CompleteThrough)
}

// judgeEvent says how the record is by its last event.
func (e *explanation) judgeEvent(here string) {
	switch last := e.Log.last; {
	case last.Error != "":
		e.decide(verdictDeadLetter, "its last event, %d, cannot be read: %s", last.Seq, shownName(last.Error))
	case last.Op == schemas.OpPurged:
		e.decide(verdictErased, "it was erased for privacy, %s (event %d): no value of it is kept anywhere, and nothing brings it back", stamp(last.LoggedAt), last.Seq)
	case last.Op == schemas.OpMerged:
		e.decide(verdictMerged, "it was merged into %s %s, which has its values now (event %d, %s); %s, archived", e.Object, shownName(last.MergedInto), last.Seq, stamp(last.LoggedAt), here)
	case last.Archived:
		e.decide(verdictArchived, "it is in HubSpot's recycle bin, or gone from there (event %d, %s); %s, archived: queries leave it out by `where not _archived`", last.Seq, stamp(last.LoggedAt), here)
	default:
		e.decide(verdictHere, "%s, as of event %d, %s, found by %s", here, last.Seq, stamp(last.LoggedAt), last.Origin)
	}
}

// judgeRow compares the last event with the row.
func (e *explanation) judgeRow() {
	last, t := e.Log.last, e.Tables
	letter := slices.IndexFunc(t.DeadLetters, func(d tableLetter) bool { return d.Seq == last.Seq })
	switch {
	case last.Op == schemas.OpPurged && (t.Row == nil || t.Row.Purged) && t.Position >= last.Seq,
		t.ErasedSeq > 0 && t.Row != nil && t.Row.Purged:
		e.judgeEvent("")
		if last.Op != schemas.OpPurged {
			e.decide(verdictErased, "it was erased for privacy by event %d; what came into the log of it later, up to event %d, is not taken in", t.ErasedSeq, last.Seq)
		}
	case t.Row != nil && t.Row.Seq == last.Seq && t.Differs == "":
		e.judgeEvent("the tables have it")
	case t.Row != nil && t.Row.Seq == last.Seq:
		e.decide(verdictDiffers, "its row says that it is of the last event, %d, but differs: %s. Was it changed by hand? `hubtail verify --repair %s` mends it",
			last.Seq, shownName(t.Differs), e.Object)
	case letter >= 0:
		d := t.DeadLetters[letter]
		e.decide(verdictDeadLetter, "its last event, %d, could not be applied: %s %s; `hubtail dead-letters` shows it, and applies it again", last.Seq, d.SQLState, shownName(d.Reason))
	case t.Position < last.Seq:
		e.decide(verdictUnapplied, "its last event, %d (%s, %s), is not in the tables yet: they are applied through %d, %s messages behind the log. Is a sink running? `hubtail status` says",
			last.Seq, last.Op, stamp(last.LoggedAt), t.Position, thousands(int64(e.Log.LastSeq-min(e.Log.LastSeq, t.Position))))
	case t.Row == nil:
		e.decide(verdictMissing, "the log has it, event %d is the last, and the tables are applied through %d, but there is no row. Was it deleted by hand? `hubtail verify --repair %s` brings it back",
			last.Seq, t.Position, e.Object)
	case t.Row.Seq > last.Seq:
		e.judgeNewerRow()
	default:
		e.decide(verdictDiffers, "its row is of event %d, the log's last is %d, and the tables are applied through %d: `hubtail verify --repair %s` mends it",
			t.Row.Seq, last.Seq, t.Position, e.Object)
	}
}

// judgeNewerRow is about a row that is of a later event than the log's last when that was asked: it may have come since.
func (e *explanation) judgeNewerRow() {
	if e.Tables.Row.Seq > e.Log.LastSeq && time.Since(e.Tables.Row.SyncedAt) < time.Minute {
		e.decide(verdictHere, "the tables have it, as of event %d, which came just now", e.Tables.Row.Seq)
		return
	}
	e.decide(verdictDiffers, "its row says that it is of event %d, which is not its last in the log: was the stream restored, or the row changed by hand? `hubtail verify --repair %s` mends it",
		e.Tables.Row.Seq, e.Object)
}

// judgeTables answers by the tables alone.
func (e *explanation) judgeTables() {
	t := e.Tables
	switch {
	case t.ErasedSeq > 0:
		e.decide(verdictErased, "it was erased for privacy (event %d): no value of it is kept, and nothing brings it back", t.ErasedSeq)
	case t.Row == nil && len(t.DeadLetters) > 0:
		d := t.DeadLetters[0]
		e.decide(verdictDeadLetter, "event %d could not be applied: %s %s; `hubtail dead-letters` shows it", d.Seq, d.SQLState, shownName(d.Reason))
	case t.Table == "":
		e.decide(verdictNotRead, "the tables have no object type %s: add it to the source's --objects (HUBTAIL_OBJECTS); if it is there, `hubtail doctor` says whether the token may read it", e.Object)
	case t.Row == nil && t.CompleteThrough.IsZero():
		e.decide(verdictUnseen, "the tables have no row of it, and the first full read of %s is not in them yet", e.Object)
	case t.Row == nil:
		e.decide(verdictUnseen, "the tables have no row of it; %s are complete through %s. Whether the log has it, only NATS can tell (NATS_URL)", e.Object, stamp(t.CompleteThrough))
	case t.Row.MergedInto != "":
		e.decide(verdictMerged, "it was merged into %s %s, which has its values now", e.Object, t.Row.MergedInto)
	case t.Row.Archived:
		e.decide(verdictArchived, "it is in HubSpot's recycle bin, or gone from there; its row is archived: queries leave it out by `where not _archived`")
	default:
		e.decide(verdictHere, "the tables have it, as of event %d, written %s", t.Row.Seq, stamp(t.Row.SyncedAt))
	}
}
