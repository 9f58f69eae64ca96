package connector

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
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

// newDraft takes the records of a page, each id once, and its malformed ones.
func (l *objectLog) newDraft(p page) *draft {
	d := &draft{page: p, at: l.now().UTC().Truncate(time.Millisecond), entries: make([]*entry, 0, len(p.Records)+len(p.Rejected))}
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
	for _, r := range p.Rejected {
		e := l.deadEntry(r.ID, r.Reason, r.Raw, d.at)
		e.readable = r.ID != "" && byID[r.ID] == nil
		d.entries = append(d.entries, e)
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
func resolveDoubts(doubts []*entry, records []hubspot.Record, subject func(id string) string) (healed []*entry) {
	found := make(map[string]hubspot.Record, len(records))
	for _, r := range records {
		found[r.ID] = inMillis(r)
	}
	for _, e := range doubts {
		r, ok := found[e.id()]
		e.confirmed = true
		switch {
		case ok && e.dead != nil:
			*e = entry{record: r, subject: subject(r.ID), confirmed: true}
			healed = append(healed, e)
		case ok:
			e.record, e.verdict = r, undecided
		case e.dead != nil:
			e.verdict = changed
		default: // archived, merged or purged: whoever watches for those will tell
			e.verdict = unchanged
		}
	}
	return healed
}

// counts says what the page did, as far as it is decided.
func (d *draft) counts() schemas.Counts {
	c := schemas.Counts{Fetched: int64(len(d.page.Records) + len(d.page.Rejected)), APICalls: d.page.APICalls}
	for _, e := range d.entries {
		switch {
		case e.verdict == unchanged:
			c.Unchanged++
		case e.dead != nil:
			c.Failed++
		case e.op == schemas.OpSnapshot || e.op == schemas.OpCreated:
			c.Created++
		case e.op == schemas.OpUpdated || e.op == schemas.OpRestored:
			c.Updated++
		default:
			c.Deleted++
		}
	}
	return c
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

// verdict says what becomes of an entry.
type verdict int

const (
	undecided verdict = iota
	changed           // publish it
	unchanged         // the log has it, or a newer state
	doubtful          // it contradicts the log and may be stale: read it again
)

// entry is one record of a page beside its last event in the log, or a dead letter.
type entry struct {
	record    hubspot.Record
	dead      *schemas.DeadLetter // instead of record
	readable  bool                // the dead letter's id is the record's: it can be read again
	subject   string
	last      lastEvent
	verdict   verdict
	confirmed bool       // the record was read again for this page
	op        schemas.Op // of the event, once encoded
	msg       *nats.Msg
	triedID   string // ce-id of the event that we tried to publish
	done      bool   // known to be in the log
}

// id returns the record's id.
func (e *entry) id() string {
	if e.dead != nil {
		return e.dead.ID
	}
	return e.record.ID
}

// lastEvent is the last message of a subject; seq is 0 if there is none.
type lastEvent struct {
	seq  uint64
	msg  schemas.Message
	time time.Time // ce-time
}

func (l *lastEvent) header(name string) string { return nats.Header(l.msg.Header).Get(name) }

// event decodes the last event. One that cannot be read counts as one without values, so that the record's next state
// repairs it.
func (l *lastEvent) event() *schemas.Event {
	if l.seq == 0 {
		return nil
	}
	e, err := schemas.DecodeEvent(l.msg)
	if err != nil {
		return &schemas.Event{UpdatedAt: l.time}
	}
	return e
}

// judge compares the record with its last event. primary says that it cannot be stale, narrow that it was read with other
// properties than it should be.
func (e *entry) judge(primary, narrow bool) {
	e.verdict = changed
	if e.last.seq == 0 {
		if !e.confirmed && (narrow || e.dead != nil && e.readable) {
			e.verdict = doubtful
		}
		return
	}
	if e.triedID != "" && e.triedID == e.last.header(schemas.HeaderID) {
		e.done = true // our own event, whose answer got lost
		return
	}
	if e.dead != nil {
		if sameDeadLetter(e.dead, e.last.msg) {
			e.verdict = unchanged
		} else if e.readable && !e.confirmed {
			e.verdict = doubtful
		}
		return
	}
	r := e.record
	if r.UpdatedAt.Before(e.last.time) {
		e.verdict = unchanged
		return
	}
	newer := r.UpdatedAt.After(e.last.time)
	if schemas.ContentHash(r.Archived, "", r.Properties) == e.last.header(schemas.HeaderHash) {
		if !newer {
			e.verdict = unchanged
		}
		return
	}
	if e.confirmed {
		return
	}
	// Archiving does not move the modification time, and the index keeps archived records for a while.
	if last := e.last.event(); last.Archived && !r.Archived || !newer && !primary || narrow {
		e.verdict = doubtful
	}
}

// encode builds the messages of the entries to be published and returns these entries.
func (l *objectLog) encode(d *draft) []*entry {
	since := historyStart(l.head.cursor)
	publish := make([]*entry, 0, len(d.entries))
	for _, e := range d.open() {
		if e.verdict != changed {
			continue
		}
		if e.dead == nil {
			if reason := l.encodeEvent(e, d.page.Origin, since); reason != "" {
				*e = *l.deadEntry(e.record.ID, reason, string(e.record.Properties), d.at)
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
		}
		publish = append(publish, e)
	}
	return publish
}

// encodeEvent makes the entry's event, or says why it cannot be one.
func (l *objectLog) encodeEvent(e *entry, origin schemas.Origin, since time.Time) (reason string) {
	event := newEvent(l.portal, l.object, e.record, e.last, origin, since)
	msg := newMsg(event.Encode())
	if err := event.Validate(); err != nil {
		return err.Error()
	}
	limit := l.js.Conn().MaxPayload()
	if size := msg.Size() + batchHeaders; int64(size) > limit {
		return fmt.Sprintf("event of %d bytes is larger than the NATS server's max_payload of %d", size, limit)
	}
	guard(msg, e.last.seq)
	e.op, e.msg, e.triedID = event.Op, msg, event.CEID()
	return ""
}

// batchHeaders is more than the headers that a batch adds to each message.
const batchHeaders = 512

// deadEntry makes a dead letter of a record. Records without an id are told apart by their text, so that reading one
// again and again does not fill the log, and none pushes another out of it.
func (l *objectLog) deadEntry(id, reason, raw string, at time.Time) *entry {
	if id == "" {
		sum := sha256.Sum256([]byte(raw))
		id = "unknown-" + hex.EncodeToString(sum[:6])
	}
	raw = strings.ToValidUTF8(raw[:min(len(raw), maxRaw)], "")
	dead := &schemas.DeadLetter{Portal: l.portal, Object: l.object.Name, ID: id, At: at, Reason: reason, Record: raw}
	return &entry{dead: dead, subject: dead.Subject().String(), verdict: changed}
}

// maxRaw is how much of a record a dead letter quotes.
const maxRaw = 64 << 10

func sameDeadLetter(d *schemas.DeadLetter, m schemas.Message) bool {
	c, err := schemas.DecodeControl(m)
	last, ok := c.(*schemas.DeadLetter)
	return err == nil && ok && last.Reason == d.Reason && strings.HasPrefix(d.Record, last.Record) // which may be cut
}

// fit returns how many of the entries go into one batch beside its tail, at least one.
func fit(entries []*entry, limit int) int {
	bytes := 0
	for i, e := range entries {
		if bytes += e.msg.Size(); i > 0 && (i == limit || bytes > batchBytes) {
			return i
		}
	}
	return len(entries)
}

// bury remembers the dead letters of a page that is in the log: the record will be read again and again.
func (l *objectLog) bury(d *draft) {
	for _, e := range d.entries {
		if e.dead == nil {
			continue
		}
		if l.buried == nil || len(l.buried) >= maxBuried {
			l.buried = make(map[string]string)
		}
		l.buried[e.subject] = e.dead.Reason + e.dead.Record
	}
}

// maxBuried bounds how many dead letters are remembered.
const maxBuried = 100

func messages(entries []*entry) []*nats.Msg {
	msgs := make([]*nats.Msg, len(entries), len(entries)+2)
	for i, e := range entries {
		msgs[i] = e.msg
	}
	return msgs
}
