package connector

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// verdict says what becomes of an entry.
type verdict int

const (
	undecided verdict = iota
	changed           // publish it
	unchanged         // the log has it, or a newer state
	doubtful          // it contradicts the log and may be stale: read it again
)

// entry is one record of a page beside its last event in the log; or, instead of a record, how one ended, a set of links,
// or a dead letter.
type entry struct {
	record    hubspot.Record
	ending    *ending
	links     *schemas.Links
	dead      *schemas.DeadLetter
	readable  bool // the dead letter's id is the record's: it can be read again
	subject   string
	last      lastEvent
	verdict   verdict
	confirmed bool       // the record was read again for this page
	op        schemas.Op // of the event, once encoded
	msg       *nats.Msg
	triedID   string     // ce-id of the event that we tried to publish
	done      bool       // known to be in the log
	owner     *lastEvent // of the record that a dead letter or a set of links is about; nil if it was not looked up
	derived   bool       // no page brought it: it follows from another entry's record
	behind    bool       // in one batch with the entry before it
}

// id returns the record's id.
func (e *entry) id() string {
	switch {
	case e.dead != nil:
		return e.dead.ID
	case e.ending != nil:
		return e.ending.ID
	case e.links != nil:
		return e.links.ID
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

// op returns the last event's op without decoding it, "" if there is none.
func (l *lastEvent) op() schemas.Op {
	t := l.header(schemas.HeaderType)
	return schemas.Op(t[strings.LastIndexByte(t, '.')+1:])
}

// ended reports whether HubSpot shows the record no longer, according to its last event.
func (l *lastEvent) ended() bool {
	switch l.op() {
	case schemas.OpArchived, schemas.OpMerged, schemas.OpPurged:
		return true
	}
	return false
}

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

// reading says how the records of a page were read.
type reading struct {
	primary bool   // from HubSpot's primary store: not stale at the time
	narrow  bool   // with other properties than they should be
	after   uint64 // the log's position before; what came into the log since may be newer
}

// judge compares the record with its last event.
func (e *entry) judge(how reading) {
	e.verdict = changed
	switch {
	case e.links != nil:
		e.judgeLinks()
		return
	case e.ending != nil:
		e.judgeEnding()
		return
	case e.last.op() == schemas.OpPurged, // and never comes back
		e.last.op() == schemas.OpMerged && e.record.Archived: // nothing new, should HubSpot list it in the recycle bin too
		e.verdict = unchanged
		return
	}
	if e.last.seq == 0 {
		if !e.confirmed && (how.narrow || e.dead != nil && e.readable) {
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
	// A read that began before the last event came into the log may have seen the state before it.
	stale := !newer && (!how.primary || e.last.seq > how.after)
	if last := e.last.event(); stale || how.narrow || last.Archived && !r.Archived {
		e.verdict = doubtful
	}
}

// linksEntry makes an entry of a set of links. One that cannot be a message is a dead letter.
func (l *objectLog) linksEntry(links *schemas.Links, at time.Time) *entry {
	e := &entry{links: links, subject: links.Subject().String()}
	msgs, err := encodeControls(links)
	if err != nil {
		return l.deadEntry(links.ID, fmt.Sprintf("links to %s: %s", links.To, err), "", at)
	}
	e.msg = msgs[0]
	if reason := l.tooLarge(e.msg); reason != "" {
		return l.deadEntry(links.ID, fmt.Sprintf("%d links to %s: %s", len(links.Links), links.To, reason), "", at)
	}
	return e
}

// judgeLinks compares a set of links with the last one: byte by byte, for the codec has one form for a set.
func (e *entry) judgeLinks() {
	if e.last.seq == 0 && len(e.links.Links) == 0 || e.last.seq > 0 && bytes.Equal(e.msg.Data, e.last.msg.Data) {
		e.verdict = unchanged
	}
}
