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

// Gap is something whose version at a moment is no longer kept: its history begins later.
type Gap struct {
	Object    string    `json:"object"`
	ID        string    `json:"id"`
	To        string    `json:"to,omitempty"` // object type at the other end, of a set of links
	BeginsSeq uint64    `json:"begins_seq"`   // the oldest version that is kept
	Begins    time.Time `json:"begins"`       // when that one was logged
}

func (g Gap) String() string {
	what := g.Object + " " + g.ID
	if g.To != "" {
		what = "links of " + what + " to " + g.To
	}
	return fmt.Sprintf("%s (kept since %s, sequence %d)", what, g.Begins.UTC().Format(time.RFC3339), g.BeginsSeq)
}

// NotCoveredError says that the log no longer keeps what a question about the past needs.
type NotCoveredError struct {
	At    Moment
	Depth int64     // how many versions of a record are kept
	Gaps  []Gap     // ascending by object and id
	Since time.Time // from then on everything is kept
	Seq   uint64    // the same as a sequence; 0: there is no such moment
	// Nothing is what was asked for, if the log had nothing of it yet; Unloaded are object types of which it had not all records.
	Nothing  string
	Unloaded []Unloaded // ascending by object
	// Forgotten says that the stream has limits by which it drops whole records, and has dropped what came before its first
	// message: nothing tells which. "" if it has not.
	Forgotten string
}

func (e *NotCoveredError) Error() string {
	var parts []string
	after := "everything is kept"
	if len(e.Gaps) > 0 {
		text := fmt.Sprintf("the log keeps the last %d versions of a record, and of %s no longer the one of %s: %s",
			e.Depth, count(len(e.Gaps), "record"), e.At, e.Gaps[0])
		if n := len(e.Gaps) - 1; n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		parts = append(parts, text)
	} else if e.Nothing != "" || len(e.Unloaded) > 0 {
		after = "it is there"
	}
	if e.Nothing != "" {
		parts = append(parts, fmt.Sprintf("there was nothing yet of %s at %s", e.Nothing, e.At))
	}
	if len(e.Unloaded) > 0 {
		parts = append(parts, unloadedText(e.At, e.Unloaded))
	}
	if e.Forgotten != "" {
		parts = append(parts, e.Forgotten)
	}
	text := strings.Join(parts, "; ")
	if e.Seq == 0 || len(parts) == 1 && e.Forgotten != "" {
		return text
	}
	return text + fmt.Sprintf("; from %s (sequence %d) on %s", e.Since.UTC().Format(time.RFC3339Nano), e.Seq, after)
}

// forgotten says what a stream with limits may have forgotten without a trace, given what it keeps now; "" if nothing. NATS
// rule: limits of age, bytes and messages drop the oldest messages whatever their subject, a limit per subject never drops
// the last one.
func (l *Log) forgotten(ctx context.Context) (text string, first uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := l.stream.Info(ctx)
	if err != nil {
		return "", 0, fmt.Errorf("look at the limits of stream %s: %w", l.name, err)
	}
	c := info.Config
	if first = info.State.FirstSeq; first <= 1 || c.MaxAge == 0 && c.MaxBytes <= 0 && c.MaxMsgs <= 0 {
		return "", first, nil
	}
	return fmt.Sprintf("stream %s has limits (max_age %s, max_bytes %d, max_msgs %d; 0 and -1 mean none) and keeps nothing before sequence %d: "+
		"records that have not changed since may be forgotten whole, and nothing tells which", l.name, c.MaxAge, c.MaxBytes, c.MaxMsgs, first), first, nil
}

// notCovered adds to an error about gaps, nil if there are none, that the stream may have forgotten whole records.
func notCovered(err error, at Moment, depth int64, forgotten string, seq uint64, since time.Time) error {
	var gone *NotCoveredError
	switch {
	case forgotten == "":
		return err
	case !errors.As(err, &gone):
		gone = &NotCoveredError{At: at, Depth: depth}
	}
	if gone.Forgotten = forgotten; seq == 0 || seq > gone.Seq {
		gone.Seq, gone.Since = seq, since
	}
	return gone
}

// String writes the moment as a reader knows it.
func (m Moment) String() string {
	switch {
	case m.IsStart():
		return "the start of the log"
	case m.Time.IsZero():
		return fmt.Sprintf("sequence %d", m.Seq)
	}
	return fmt.Sprintf("%s (sequence %d)", m.Time.UTC().Format(time.RFC3339), m.Seq)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// clockSkew is how far HubSpot's clock and the NATS server's may be apart. A record that HubSpot created later than that
// after a moment cannot have been in the log then.
const clockSkew = time.Minute

// later is the oldest message of a subject that is kept after a moment.
type later struct {
	seq, previous uint64 // previous is the sequence of the record's event before it, 0 if it is the first
	at, created   time.Time
	kept          int64 // how many messages are kept of the subject after the moment
}

// createdAfter reports whether the record was created after a moment. Before the log's first message there was none.
func (f *later) createdAfter(m Moment) bool {
	return f.previous == 0 || m.Seq == 0 || !f.created.IsZero() && !m.Time.IsZero() && f.created.After(m.Time.Add(clockSkew))
}

// gaps collects what is not covered.
type gaps struct {
	list  []Gap
	since time.Time
	seq   uint64
}

// reach notes that a record's history does not begin with its first event: before that nothing can be said of it.
func (g *gaps) reach(f *later) {
	if f.seq > g.seq {
		g.seq, g.since = f.seq, f.at
	}
}

func (g *gaps) add(s schemas.Subject, f *later) {
	g.list = append(g.list, Gap{Object: s.Object, ID: s.ID, To: s.To, BeginsSeq: f.seq, Begins: f.at.UTC()})
}

func (g *gaps) err(at Moment, depth int64) error {
	if len(g.list) == 0 {
		return nil
	}
	slices.SortFunc(g.list, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), compareIDs(a.ID, b.ID), cmp.Compare(a.To, b.To))
	})
	return &NotCoveredError{At: at, Depth: depth, Gaps: g.list, Since: g.since, Seq: g.seq}
}

// compareIDs orders record ids, which are numbers without leading zeros.
func compareIDs(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
