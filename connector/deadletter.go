package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

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
