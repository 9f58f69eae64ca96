package history

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// The kinds of RecordChange.
const (
	Created  = "created" // in HubSpot, in between
	Loaded   = "loaded"  // into the log for the first time: HubSpot had it before
	Changed  = "changed"
	Archived = "archived"
	Restored = "restored"
	Merged   = "merged"
	Erased   = "erased" // for privacy
)

// Kinds are all kinds of RecordChange, in the order of reports.
var Kinds = []string{Created, Loaded, Changed, Archived, Restored, Merged, Erased}

// RecordChange is what became of a record between two moments, all its events taken together.
type RecordChange struct {
	Object     string    `json:"object"`
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`
	Archived   bool      `json:"archived,omitempty"` // at the second moment
	MergedInto string    `json:"merged_into,omitempty"`
	Events     int       `json:"events"`    // in between
	Seq        uint64    `json:"seq"`       // of the last of them
	LoggedAt   time.Time `json:"logged_at"` // when that was logged
	Changed    []Change  `json:"changed"`   // ascending by name; none of a record that was created, loaded or erased
}

// Diff is what changed between two moments.
type Diff struct {
	From Moment `json:"from"`
	To   Moment `json:"to"`
	// LogBegins is when the stream was created, if that was after the first moment: what changed before is not known.
	LogBegins time.Time      `json:"log_begins,omitzero"`
	Counts    map[string]int `json:"counts"`  // by kind; all kinds are there
	Records   []RecordChange `json:"records"` // ascending by object and id
}

// Diff returns what became of the records of object types, of all if none is named, between two moments. A record that is new
// in the log was created if HubSpot created it after the first moment, or the source saw that happen; else it was loaded. Of a record that
// was changed and changed back nothing is said, nor of one that was erased later: nothing is kept of it. It returns a
// NotCoveredError if the log no longer has what it takes.
func (l *Log) Diff(ctx context.Context, from, to Moment, objects ...string) (*Diff, error) {
	if from.Seq > to.Seq {
		return nil, fmt.Errorf("%w: %s is after %s", ErrMoment, from, to)
	}
	d := &differ{from: from, to: to, since: from.Time, first: map[string]*later{}, between: map[string]*passage{}}
	if from.IsStart() {
		var err error
		if d.since, err = l.timeOf(ctx, 1); err != nil {
			return nil, err
		}
	}
	// Behind the second moment, too: what happened in between may be kept no longer where much happened since.
	if err := l.Walk(ctx, Range{From: from.Seq + 1, Subjects: l.Filters(objects...)}, d.take); err != nil {
		return nil, err
	}
	var missing gaps
	for text, f := range d.first {
		subject, err := schemas.ParseSubject(text)
		if err != nil || f.previous <= from.Seq {
			continue // the event before it is the state at the first moment: what it changed says the rest
		}
		missing.reach(f)
		if moment := to; f.seq <= to.Seq && !f.createdAfter(from) || f.seq > to.Seq && !f.createdAfter(moment) {
			missing.add(subject, f)
		}
	}
	err := missing.err(from, l.Depth)
	forgotten, first, infoErr := l.forgotten(ctx)
	if infoErr != nil {
		return nil, infoErr
	}
	if first > from.Seq+1 && forgotten != "" { // a difference needs only what came after the first moment
		since, infoErr := l.timeOf(ctx, first)
		if infoErr != nil {
			return nil, infoErr
		}
		err = notCovered(err, from, l.Depth, forgotten, first-1, since)
	}
	if err != nil {
		return nil, err
	}
	diff, err := d.diff(ctx, l)
	if err == nil && !from.Time.IsZero() && from.Time.Before(l.Created) {
		diff.LogBegins = l.Created.UTC()
	}
	return diff, err
}

// differ follows records from one moment to another.
type differ struct {
	from, to Moment
	since    time.Time           // of the first moment: what HubSpot created later was created in between; zero: not known
	first    map[string]*later   // by subject: the oldest that is kept after the first moment
	between  map[string]*passage // those that have an event in between
}

// passage is the way of a record from one moment to the other.
type passage struct {
	first, last Version // without values
	isNew       bool
	created     bool // in between, if it is new
	events      int
	old, new    map[string]*string // values of what changed: at the first moment, and as of the last event
}

func (d *differ) take(e Entry) error {
	subject, err := schemas.ParseSubject(e.Subject)
	if err != nil || subject.Kind != schemas.KindRecord {
		return nil
	}
	known := d.first[e.Subject] != nil
	if known && e.Seq > d.to.Seq {
		return nil
	}
	v := VersionOf(e)
	if v.Error != "" {
		return nil // no event: the tables have a dead letter of it
	}
	if !known {
		d.first[e.Subject] = &later{seq: e.Seq, previous: v.PreviousSeq, at: e.Time, created: v.CreatedAt}
	}
	if e.Seq > d.to.Seq {
		return nil
	}
	p := d.between[e.Subject]
	if p == nil {
		p = &passage{isNew: d.first[e.Subject].createdAfter(d.from)}
		p.created = v.Op == schemas.OpCreated || !d.since.IsZero() && v.CreatedAt.After(d.since)
		d.between[e.Subject] = p
	}
	p.events++
	if !p.isNew {
		p.follow(v.Changed)
	}
	v.Changed, v.Properties = nil, nil // they keep the whole message in memory
	if p.last = v; p.events == 1 {
		p.first = v
	}
	return nil
}

// follow notes changes.
func (p *passage) follow(changes []Change) {
	if p.new == nil {
		p.old, p.new = map[string]*string{}, map[string]*string{}
	}
	for _, c := range changes {
		if _, seen := p.new[c.Property]; !seen {
			p.old[c.Property] = c.Old
		}
		p.new[c.Property] = c.New
	}
}

// diff says what came of it.
func (d *differ) diff(ctx context.Context, l *Log) (*Diff, error) {
	before, err := d.before(ctx, l)
	if err != nil {
		return nil, err
	}
	diff := &Diff{From: d.from, To: d.to, Counts: map[string]int{}, Records: []RecordChange{}}
	for _, kind := range Kinds {
		diff.Counts[kind] = 0
	}
	for subject, p := range d.between {
		r := RecordChange{
			Object: p.last.Object, ID: p.last.ID, Archived: p.last.Ended(), MergedInto: p.last.MergedInto, Events: p.events,
			Seq: p.last.Seq, LoggedAt: p.last.LoggedAt, Changed: []Change{},
		}
		if r.Kind = p.kind(before[subject]); r.Kind == "" {
			continue
		}
		if r.Kind != Erased {
			r.Changed = p.changes()
		}
		diff.Counts[r.Kind]++
		diff.Records = append(diff.Records, r)
	}
	slices.SortFunc(diff.Records, func(a, b RecordChange) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), compareIDs(a.ID, b.ID))
	})
	return diff, nil
}

// before reads how the records were at the first moment whose first event does not say it: of one that says "archived" or
// "merged", whether it was that already. What is no longer kept counts as live.
func (d *differ) before(ctx context.Context, l *Log) (map[string]Version, error) {
	var subjects []string
	for subject, p := range d.between {
		if p.first.PreviousSeq > 0 && (p.first.Op == schemas.OpArchived || p.first.Op == schemas.OpMerged) {
			subjects = append(subjects, subject)
		}
	}
	last, err := l.LastAt(ctx, subjects, d.from.Seq)
	if err != nil {
		return nil, err
	}
	before := make(map[string]Version, len(d.between))
	for subject, p := range d.between {
		before[subject] = Version{Archived: p.first.Op == schemas.OpRestored}
		if e, ok := last[subject]; ok {
			before[subject] = VersionOf(e)
		}
	}
	return before, nil
}

// kind says what became of the record, "" if nothing did.
func (p *passage) kind(before Version) string {
	last := &p.last
	switch {
	case last.Op == schemas.OpPurged:
		return Erased
	case p.isNew && p.created:
		return Created
	case p.isNew:
		return Loaded
	case last.MergedInto != before.MergedInto && last.MergedInto != "":
		return Merged
	case last.Ended() && !before.Ended():
		return Archived
	case !last.Ended() && before.Ended():
		return Restored
	case len(p.changes()) > 0:
		return Changed
	}
	return ""
}

// changes returns the properties whose value is not what it was.
func (p *passage) changes() []Change {
	changes := []Change{}
	for name, value := range p.new {
		if old := p.old[name]; !sameValue(old, value) {
			changes = append(changes, Change{name, old, value})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Property, b.Property) })
	return changes
}

func sameValue(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}
