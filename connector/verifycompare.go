package connector

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// finding is a record whose last event in the log is not its state in HubSpot.
type finding struct {
	id     string
	kind   difference.Kind
	reason string
	// at is when HubSpot says that it came about; zero if HubSpot does not say: a restored record, a calculated value and
	// one that is gone bear no time.
	at time.Time
}

// compare returns how the records of a page, which is read from the primary store, differ from their last events in the
// log; explained are those that the log cannot hold. A value counts only if its property is among the known names: those
// of a property that is gone stay in the log until their record changes. If leader is set, the stream's leader is asked,
// which never lags.
func (l *objectLog) compare(ctx context.Context, p page, known map[string]bool, leader bool) (found []finding, explained int64, err error) {
	d := l.newDraft(p)
	if err := l.lookup(ctx, d.entries, leader); err != nil {
		return nil, 0, err
	}
	since := historyStart(l.Cursor())
	for _, e := range d.entries {
		if e.dead != nil {
			explained++
			continue
		}
		e.confirmed = true // nothing is to be read again
		if e.judge(reading{primary: true}); e.verdict != changed {
			continue
		}
		f := e.finding(p.After, known)
		if f == nil {
			continue
		}
		if l.encodeEvent(e, schemas.OriginVerify, since) != "" {
			explained++
			continue
		}
		found = append(found, *f)
	}
	return found, explained, nil
}

// finding says how the entry, which would be published, differs from its last event; nil if that is no difference.
func (e *entry) finding(after uint64, known map[string]bool) *finding {
	f := &finding{id: e.id()}
	if e.ending != nil {
		f.kind, f.reason = difference.Ghost, "HubSpot has it no longer"
		if e.ending.Op == schemas.OpMerged {
			f.kind, f.reason = difference.Merged, "merged into "+e.ending.MergedInto
		}
		return f
	}
	r, last := e.record, e.last.event()
	f.at = r.UpdatedAt
	switch {
	case last == nil && r.Archived:
		return nil // the log never had it, and need not tell of its end
	case last == nil:
		f.kind, f.reason = difference.Missing, "modified "+stamp(r.UpdatedAt)
	case r.Archived && last.Archived:
		return nil
	case r.Archived:
		f.kind, f.reason, f.at = difference.Ghost, "archived "+stamp(r.ArchivedAt), r.ArchivedAt
	case last.Archived:
		f.kind, f.reason, f.at = difference.Archived, "the log says "+string(last.Op)+", HubSpot has it", time.Time{}
	case r.UpdatedAt.After(last.UpdatedAt):
		f.kind, f.reason = difference.Stale, fmt.Sprintf("modified %s, the log has %s", stamp(r.UpdatedAt), stamp(last.UpdatedAt))
	case e.last.seq > after: // the log knows more than we read
		return nil
	default:
		names, _ := schemas.Diff(last.Properties, r.Properties)
		names = slices.DeleteFunc(names, func(name string) bool { return !known[name] })
		if len(names) == 0 {
			return nil
		}
		f.kind, f.reason, f.at = difference.Value, "other values of "+some(names), time.Time{}
	}
	return f
}

// stamp writes a time as short as it is exact.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }

// some names a few of many.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
