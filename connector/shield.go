package connector

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

// shield looks up the records of the dead letters and sets of links that a draft publishes. What belongs to a record that was
// erased for privacy is dropped: both have subjects of their own, so that the record's guard does not keep them out.
func (l *objectLog) shield(ctx context.Context, d *draft, leader bool) error {
	owners := make(map[string]*entry)
	for _, e := range d.open() {
		if e.verdict == changed && (e.dead != nil || e.links != nil) && isRecordID(e.id()) {
			subject := l.subjectOf(e.id())
			owners[subject] = &entry{subject: subject}
		}
	}
	if len(owners) == 0 {
		return nil
	}
	wanted := make([]*entry, 0, len(owners))
	for _, owner := range owners {
		wanted = append(wanted, owner)
	}
	if err := l.lookup(ctx, wanted, leader); err != nil {
		return err
	}
	for _, e := range d.open() {
		if e.dead == nil && e.links == nil {
			continue
		}
		owner := owners[l.subjectOf(e.id())]
		if e.owner = nil; owner == nil {
			continue
		}
		if e.owner = &owner.last; owner.last.op() == schemas.OpPurged {
			e.verdict = unchanged
		}
	}
	return nil
}

// guardOwner makes a message about a record pass only while the record's last event is the one that shield or the lookup
// found: an erasure under way would not see what comes into the log behind it. NATS rule: no guard of a batch may be about a
// subject that the batch itself wrote before; that message has its own guard.
func (e *entry) guardOwner(record string, written map[string]bool) {
	if e.owner == nil || written[record] {
		return
	}
	guard(e.msg, e.owner.seq)
	e.msg.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, record)
}

// unguard takes off what an earlier try put on.
func unguard(m *nats.Msg) {
	m.Header.Del(jetstream.ExpectedLastSubjSeqSubjHeader)
	m.Header.Del(jetstream.ExpectedLastSubjSeqHeader)
}
