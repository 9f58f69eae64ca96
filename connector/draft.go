package connector

import (
	"bytes"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// draft is a page on its way into the log: for each record what the log has, and what is to be done.
type draft struct {
	page    page
	at      time.Time // HubSpot's clock when the append began
	entries []*entry
	tried   [][]byte // bodies of the cursors that we tried to publish
}

// newDraft takes what a page brings, each id once: records, how records ended, malformed ones, and links.
func (l *objectLog) newDraft(p page) *draft {
	d := &draft{page: p, at: l.now().UTC().Truncate(time.Millisecond)}
	d.entries = make([]*entry, 0, len(p.Records)+len(p.Rejected)+len(p.Endings)+len(p.Links))
	byID := make(map[string]*entry, len(p.Records))
	for _, r := range p.Records {
		r = inMillis(r)
		if e := byID[r.ID]; e != nil {
			// A page can bring a record twice when it moves while the page is read.
			if !r.UpdatedAt.Before(e.record.UpdatedAt) {
				e.record = r
			}
			continue
		}
		e := &entry{record: r, subject: l.subjectOf(r.ID)}
		byID[r.ID] = e
		d.entries = append(d.entries, e)
	}
	for _, end := range p.Endings {
		if e := byID[end.ID]; e != nil {
			e.record, e.ending = hubspot.Record{}, &end
			continue
		}
		e := &entry{ending: &end, subject: l.subjectOf(end.ID)}
		byID[end.ID] = e
		d.entries = append(d.entries, e)
	}
	for _, r := range p.Rejected {
		if _, erased := l.erased.Load(r.ID); erased {
			continue
		}
		e := l.deadEntry(r.ID, r.Reason, r.Raw, d.at)
		e.readable = r.ID != "" && byID[r.ID] == nil
		d.entries = append(d.entries, e)
	}
	for _, links := range p.Links {
		if _, erased := l.erased.Load(links.ID); erased {
			continue
		}
		d.entries = append(d.entries, l.linksEntry(links, d.at))
	}
	return d
}

// open returns the entries that are not known to be in the log yet.
func (d *draft) open() []*entry {
	open := make([]*entry, 0, len(d.entries))
	for _, e := range d.entries {
		if !e.done {
			open = append(open, e)
		}
	}
	return open
}

// resolveDoubts gives the doubtful entries what was read again for them. Those that were malformed before and are records now
// are returned: their last events are still to be looked up.
func (l *objectLog) resolveDoubts(doubts []*entry, read hubspot.Batch, at time.Time) (healed []*entry) {
	found := make(map[string]hubspot.Record, len(read.Records))
	for _, r := range read.Records {
		found[r.ID] = inMillis(r)
	}
	malformed := make(map[string]hubspot.RejectedRecord, len(read.Rejected))
	for _, r := range read.Rejected {
		malformed[r.ID] = r
	}
	var gone []string
	for _, e := range doubts {
		r, ok := found[e.id()]
		bad, isBad := malformed[e.id()]
		winner := read.Merged[e.id()]
		e.confirmed = true
		switch {
		case ok && e.dead != nil:
			*e = entry{record: r, subject: l.subjectOf(r.ID), confirmed: true}
			healed = append(healed, e)
		case ok:
			e.record, e.verdict = r, undecided
		case e.dead != nil:
			e.verdict = changed
		case isBad:
			*e = *l.deadEntry(bad.ID, bad.Reason, bad.Raw, at)
			e.confirmed = true
			healed = append(healed, e)
		case winner != "":
			e.ending, e.verdict = &ending{ID: e.id(), Op: schemas.OpMerged, MergedInto: winner, At: at}, undecided
		default: // archived, purged or merged away: a batch read does not say which
			e.verdict = unchanged
			if e.last.seq > 0 && !e.last.ended() {
				gone = append(gone, e.id())
			}
		}
	}
	if l.missing != nil && len(gone) > 0 {
		l.missing(gone)
	}
	return healed
}

// counts says what the page did, as far as it is decided.
func (d *draft) counts() schemas.Counts {
	c := schemas.Counts{Fetched: int64(len(d.page.Records) + len(d.page.Endings) + len(d.page.Rejected)), APICalls: d.page.APICalls}
	for _, e := range d.entries {
		switch {
		case e.links != nil:
		case e.verdict == unchanged:
			c.Unchanged++
		case e.dead != nil:
			c.Failed++
		case e.op == schemas.OpSnapshot, e.op == schemas.OpCreated, e.op == schemas.OpArchived && e.last.seq == 0:
			c.Created++
		case e.op == schemas.OpUpdated || e.op == schemas.OpRestored:
			c.Updated++
		default:
			c.Deleted++
		}
	}
	return c
}

// tell passes on what the events of a page that is in the log say.
func (l *objectLog) tell(d *draft) {
	if l.logged == nil {
		return
	}
	for _, e := range d.entries {
		if e.done && e.verdict == changed && e.op != "" && e.dead == nil && e.links == nil {
			l.logged(e.id(), e.op)
		}
	}
}

// hasTried reports whether data is one of the cursors that we tried to publish.
func (d *draft) hasTried(data []byte) bool {
	for _, t := range d.tried {
		if bytes.Equal(t, data) {
			return true
		}
	}
	return false
}

// encode builds the messages of the entries to be published and returns these entries.
func (l *objectLog) encode(d *draft) []*entry {
	since := historyStart(l.head.cursor)
	publish := make([]*entry, 0, len(d.entries))
	written := make(map[string]bool) // subjects of records
	for _, e := range d.open() {
		if e.verdict != changed {
			continue
		}
		if e.links != nil {
			unguard(e.msg)
			if guard(e.msg, e.last.seq); e.last.seq == 0 { // else its own message goes with an erasure
				e.guardOwner(l.subjectOf(e.id()), written)
			}
			publish = append(publish, e)
			continue
		}
		if e.dead == nil {
			if reason := l.encodeEvent(e, d.page.Origin, since); reason != "" {
				before := e.last
				*e = *l.deadEntry(e.id(), reason, string(e.record.Properties), d.at)
				e.owner = &before
			} else {
				written[e.subject] = true
			}
		}
		if e.dead != nil {
			if e.verdict = changed; l.buried[e.subject] == e.dead.Reason+e.dead.Record {
				e.verdict = unchanged
				continue
			}
			msgs, err := encodeControls(e.dead)
			if err != nil { // a struct of strings always encodes
				l.logger.Error("dead letter lost", "object", l.object.Name, "id", e.dead.ID, "err", err)
				continue
			}
			e.msg = msgs[0]
			e.guardOwner(l.subjectOf(e.id()), written)
		}
		publish = append(publish, e)
	}
	return publish
}

// encodeEvent makes the entry's event, or says why it cannot be one.
func (l *objectLog) encodeEvent(e *entry, origin schemas.Origin, since time.Time) (reason string) {
	var event *schemas.Event
	if e.ending != nil {
		event = newEnding(l.portal, l.object, *e.ending, e.last, origin)
	} else {
		event = newEvent(l.portal, l.object, e.record, e.last, origin, since)
	}
	msg := newMsg(event.Encode())
	if err := event.Validate(); err != nil {
		return err.Error()
	}
	if reason := l.tooLarge(msg); reason != "" {
		return reason
	}
	guard(msg, e.last.seq)
	e.op, e.msg, e.triedID = event.Op, msg, event.CEID()
	return ""
}

// tooLarge says why a message is too large for the NATS server, "" if it is not.
func (l *objectLog) tooLarge(msg *nats.Msg) string {
	limit := l.js.Conn().MaxPayload()
	if size := msg.Size() + batchHeaders; int64(size) > limit {
		return fmt.Sprintf("message of %d bytes is larger than the NATS server's max_payload of %d", size, limit)
	}
	return ""
}

// batchHeaders is more than the headers that a batch adds to each message.
const batchHeaders = 512

// fit returns how many of the entries go into one batch beside its tail, at least one.
func fit(entries []*entry, limit int) int {
	bytes := 0
	for i, e := range entries {
		if bytes += e.msg.Size(); i == 0 || i < limit && bytes <= batchBytes {
			continue
		}
		n := i
		for n > 0 && entries[n].behind { // at most 250 in a row
			n--
		}
		if n > 0 {
			return n
		}
		if i == limit {
			return i
		}
	}
	return len(entries)
}

func messages(entries []*entry) []*nats.Msg {
	msgs := make([]*nats.Msg, len(entries), len(entries)+2)
	for i, e := range entries {
		msgs[i] = e.msg
	}
	return msgs
}
