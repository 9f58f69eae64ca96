package connector

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// hintWatch notices what webhooks ought to have told of and did not: a change that polling found, of a record that no hint
// was about. A subscription that nobody made looks like that.
type hintWatch struct {
	now func() time.Time // HubSpot's clock

	mu         sync.Mutex // guards the fields below
	expected   bool       // there is a receiver: that nothing at all is heard is news, too
	since      time.Time  // when the first hint was heard; until then, if they are expected, when the watch began
	count      int64      // hints heard
	heard      map[string]time.Time
	pruned     time.Time
	found      []foundChange // by polling, not judged yet
	unheard    map[string]int64
	properties map[string]int64
}

// foundChange is a change that polling found.
type foundChange struct {
	id    string
	kind  string   // of subscription: "creation", ...
	names []string // of the properties that changed, for a propertyChange
	at    time.Time
	found time.Time
}

const (
	// watchPatience is how long a webhook may come after the poll that found its change. HubSpot rule: the first retry of a
	// delivery comes after about a minute.
	watchPatience = 3 * time.Minute
	// watchSlack is by how much a hint's time may be before its change's: events are stamped when they are made.
	watchSlack = 10 * time.Second
	// watchMost bounds what is remembered.
	watchMost = 20_000
	// watchNames bounds how many properties are named.
	watchNames = 50
)

// expect says that there is a receiver.
func (w *hintWatch) expect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = true
}

// begin sets since where webhooks are expected and none came yet. The watch begins with the work: a source on standby
// finds nothing.
func (w *hintWatch) begin(now time.Time) {
	if w.expected && w.since.IsZero() {
		w.since = now
	}
}

// judgedFrom returns from when on changes ought to have been told of. When the first webhook comes, subscriptions are being
// made, and they take some minutes to count.
func (w *hintWatch) judgedFrom() time.Time {
	if w.count == 0 {
		return w.since
	}
	return w.since.Add(watchPatience)
}

// hear notes a hint.
func (w *hintWatch) hear(h *schemas.Hint) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 { // webhooks begin: what was before says nothing of them
		w.since, w.heard = now, make(map[string]time.Time)
		w.found, w.unheard, w.properties = nil, nil, nil
	}
	w.count++
	if len(w.heard) >= watchMost && now.Sub(w.pruned) >= watchPatience/3 {
		w.pruned = now
		maps.DeleteFunc(w.heard, func(_ string, at time.Time) bool { return now.Sub(at) > 2*watchPatience })
	}
	if len(w.heard) < watchMost {
		w.heard[h.ID] = later(w.heard[h.ID], h.OccurredAt)
	}
}

// heardSoFar returns how many hints were heard since the source started.
func (w *hintWatch) heardSoFar() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// find notes the changes of a page that a poll brought into the log. It keeps those that a webhook can tell of.
func (w *hintWatch) find(events []*schemas.Event) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(now)
	w.judge(now)
	if w.since.IsZero() || len(w.heard) >= watchMost {
		return
	}
	for _, e := range events {
		c := foundChange{id: e.ID, kind: subscriptionOf(e.Op), at: later(e.UpdatedAt, e.ArchivedAt), found: now}
		if c.kind == "" || c.at.Before(w.judgedFrom()) || len(w.found) >= watchMost {
			continue
		}
		if c.kind == "propertyChange" {
			for _, name := range e.Changed {
				if !slices.Contains(unsubscribable, name) {
					c.names = append(c.names, name)
				}
			}
			if c.names == nil {
				continue
			}
		}
		w.found = append(w.found, c)
	}
}

// judge decides about what was found long enough ago.
func (w *hintWatch) judge(now time.Time) {
	due := 0
	for _, c := range w.found {
		if now.Sub(c.found) < watchPatience {
			break
		}
		due++
		if at, ok := w.heard[c.id]; ok && !at.Before(c.at.Add(-watchSlack)) {
			continue
		}
		if w.unheard == nil {
			w.unheard, w.properties = make(map[string]int64), make(map[string]int64)
		}
		w.unheard[c.kind]++
		for _, name := range c.names {
			if _, known := w.properties[name]; known || len(w.properties) < watchNames {
				w.properties[name]++
			}
		}
	}
	w.found = slices.Delete(w.found, 0, due)
}

// report returns what was noticed so far, nil if no webhook ever came and none was expected.
func (w *hintWatch) report() *schemas.Webhooks {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(now)
	w.judge(now)
	if w.since.IsZero() {
		return nil
	}
	report := &schemas.Webhooks{Since: w.since, Hints: w.count, Missed: maps.Clone(w.unheard), Properties: maps.Clone(w.properties)}
	if judged := now.Add(-watchPatience); judged.After(w.judgedFrom()) {
		report.Judged = judged
	}
	return report
}

// subscriptionOf returns the kind of subscription that tells of an op, "" if there is none.
func subscriptionOf(op schemas.Op) string {
	switch op {
	case schemas.OpCreated:
		return "creation"
	case schemas.OpUpdated:
		return "propertyChange"
	case schemas.OpArchived:
		return "deletion"
	case schemas.OpRestored:
		return "restore"
	case schemas.OpMerged:
		return "merge"
	}
	return ""
}

// watch shows the changes of a page that is in the log to who compares them with the hints.
func (l *objectLog) watch(d *draft) {
	if l.watcher == nil || d.page.Origin != schemas.OriginPoll {
		return
	}
	var events []*schemas.Event
	for _, e := range d.entries {
		if !e.done || e.verdict != changed || e.msg == nil || e.dead != nil || e.links != nil {
			continue
		}
		if event, err := schemas.DecodeEvent(schemas.Message{Subject: e.msg.Subject, Header: e.msg.Header, Data: e.msg.Data}); err == nil {
			events = append(events, event)
		}
	}
	if len(events) > 0 {
		l.watcher.find(events)
	}
}
