package statuspage

import "time"

// View is all that a page says. What is nil or zero is not known, unless told otherwise.
type View struct {
	At      time.Time
	Roles   string // "source and sink"
	Version string
	Portal  string
	Started time.Time

	Starting bool     // the parts are not there yet
	Problems []string // in plain words, each with what to do
	Unknown  []string // what this process cannot know, and who does

	Objects []Object
	Quota   *Quota
	Log     *Log
	Tables  *Tables
	Runs    []Run
	Plots   []Plot
}

// Object is an object type.
type Object struct {
	Name          string
	State         string // "live", "full read", ...
	Bad           bool   // State needs attention
	LogThrough    time.Time
	TablesThrough time.Time
	Rows          *int64
	RowsAbout     bool // Rows is an estimate
	EventsPerS    *float64
	Backfill      *Backfill // under way
	LastRun       *Run
	DeadLetters   *int64
}

// Backfill is a full read under way.
type Backfill struct {
	Done, Total int64   // records; Total 0 if unknown
	Rate        float64 // records per second
}

// Left returns how long the rest takes at the present rate, 0 if that is unknown.
func (b Backfill) Left() time.Duration {
	if b.Total <= b.Done || b.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(b.Total-b.Done) / b.Rate * float64(time.Second))
}

// Quota is the use of HubSpot's quota.
type Quota struct {
	AsOf        time.Time // zero means now
	DayLimit    int       // of the account
	DayLeft     *int      // of that, for all apps
	DayUsed     int       // by us
	ResetsAt    time.Time
	Window      *Use
	Search      *Use
	Requests    int64 // since the source started
	Refused     int64 // of these, by 429
	Breaker     string
	ParkedUntil time.Time
	ParkedFor   string
}

// Use is how much of a short quota is in use.
type Use struct {
	Used, Limit int
	Interval    time.Duration
}

// Log is the stream.
type Log struct {
	Stream   string
	Messages uint64
	Bytes    uint64
	Leader   string // who reads HubSpot; "" if nobody does
	Leads    bool   // this process does
	Alone    bool   // nobody reads HubSpot: Leader is not only unknown
}

// Tables is the sink.
type Tables struct {
	Schema      string
	Behind      uint64 // messages of the log that are not in the tables
	RowsPerS    *float64
	LastCommit  time.Time
	DeadLetters int64
	Error       string // why the sink waits
	Silent      bool   // Postgres did not answer: what is in them is not known
}

// Run is a row of sync_logs.
type Run struct {
	Object, Type, Status, Error string
	At                          time.Time
	Seconds                     float64
	Fetched, Changed, Failed    int64
}

// Plot is a figure over the last hour.
type Plot struct {
	Title  string
	Unit   string
	Points []Point // ascending
}

// Point is a figure at a time.
type Point struct {
	At    time.Time
	Value float64
}

// through returns the watermark that counts: the tables' where they are known.
func (v *View) through(o Object) time.Time {
	if v.TablesKnown() {
		return o.TablesThrough
	}
	return o.LogThrough
}

// TablesKnown reports whether the tables could be looked at.
func (v *View) TablesKnown() bool { return v.Tables != nil && !v.Tables.Silent }

// Mood is the colour of the page.
func (v *View) Mood() string {
	switch {
	case v.Starting:
		return "busy"
	case len(v.Problems) > 0:
		return "bad"
	case v.loading():
		return "busy"
	}
	return "good"
}

// Verdict answers whether all is well.
func (v *View) Verdict() string {
	switch {
	case v.Starting:
		return "Starting"
	case len(v.Problems) == 1:
		return "One thing needs attention"
	case len(v.Problems) > 1:
		return thousands(int64(len(v.Problems))) + " things need attention"
	case v.loading():
		return "Healthy, the first full read is under way"
	}
	return "All is well"
}

func (v *View) loading() bool {
	for _, o := range v.Objects {
		if o.Backfill != nil || v.through(o).IsZero() {
			return true
		}
	}
	return len(v.Objects) == 0
}

// Main returns the object type that people ask for first: deals, or else the first one.
func (v *View) Main() *Object {
	for i := range v.Objects {
		if v.Objects[i].Name == "deals" {
			return &v.Objects[i]
		}
	}
	if len(v.Objects) > 0 {
		return &v.Objects[0]
	}
	return nil
}

// Oldest returns the object type that is furthest behind, nil if none is further than Main.
func (v *View) Oldest() *Object {
	oldest := v.Main()
	for i := range v.Objects {
		if o := &v.Objects[i]; v.through(*o).Before(v.through(*oldest)) {
			oldest = o
		}
	}
	if oldest == v.Main() {
		return nil
	}
	return oldest
}

// Loads adds up the full reads under way, nil if there are none.
func (v *View) Loads() *Backfill {
	var sum *Backfill
	for _, o := range v.Objects {
		if o.Backfill == nil {
			continue
		}
		if sum == nil {
			sum = &Backfill{}
		}
		sum.Done += o.Backfill.Done
		sum.Total += max(o.Backfill.Total, o.Backfill.Done)
		sum.Rate += o.Backfill.Rate
	}
	return sum
}

// Waiting names the object types that have no watermark and are not being read.
func (v *View) Waiting() (names []string) {
	for _, o := range v.Objects {
		if o.Backfill == nil && v.through(o).IsZero() {
			names = append(names, o.Name)
		}
	}
	return names
}

// Rows adds up the rows, or returns nil if they are not known.
func (v *View) Rows() *int64 {
	var sum *int64
	for _, o := range v.Objects {
		if o.Rows != nil {
			if sum == nil {
				sum = new(int64)
			}
			*sum += *o.Rows
		}
	}
	return sum
}
