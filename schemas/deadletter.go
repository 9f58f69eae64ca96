package schemas

import (
	"time"
	"unicode/utf8"
)

// maxRecord bounds DeadLetter.Record.
const maxRecord = 64 << 10

// DeadLetter is a record that the source read but could not turn into an event, on `_dead_letter.<object>.<id>`.
type DeadLetter struct {
	Portal string    `json:"portal"`
	Object string    `json:"object"`
	ID     string    `json:"id"` // "unknown" if it could not be read
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Record string    `json:"record"` // what HubSpot sent, as text, cut at 64 KiB
}

// Subject returns where the message travels.
func (d *DeadLetter) Subject() Subject {
	return Subject{Kind: KindDeadLetter, Portal: d.Portal, Object: d.Object, ID: d.ID}
}

func (*DeadLetter) schema() string { return "dead_letter" }

func (d *DeadLetter) normalise() {
	milliseconds(&d.At)
	if len(d.Record) > maxRecord {
		end := maxRecord
		for end > maxRecord-utf8.UTFMax && !utf8.RuneStart(d.Record[end]) { // not through a character
			end--
		}
		d.Record = d.Record[:end]
	}
}

func (d *DeadLetter) check() error {
	if d.Reason == "" {
		return errMissing("reason")
	}
	return nil
}
