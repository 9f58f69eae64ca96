package sink

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/hubtail/hubtail/schemas"
)

// Message is a message of the log and where it stands there.
type Message struct {
	schemas.Message
	Seq uint64
}

// segment is a run of messages that are applied in one transaction. A message that changes columns is a segment of its
// own; in any other, only the newest of the messages about the same thing is left.
type segment struct {
	messages    []Message // all of them, ascending
	definitions *schemas.PropertyDefinitions
	groups      []*group // ascending by object, so that transactions take locks in one order
	links       map[schemas.Subject]versioned[*schemas.Links]
	pipelines   map[string]versioned[*schemas.Pipelines]
	cursors     map[string]versioned[*schemas.Cursor]
	runs        []versioned[*schemas.Run]
	dead        []deadLetter
	rewrite     bool // write rows that the tables have already, too
}

// versioned is a decoded message and its stream sequence.
type versioned[T any] struct {
	value T
	seq   uint64
}

// group is the records of one object type.
type group struct {
	object   string
	messages []Message     // the newest per record, in no order
	newest   map[int64]int // index in messages by record id
	offered  int           // before older ones were left out
	set      *rowSet       // nil until built
	dead     []deadLetter  // of the messages that could not be built
}

func newSegment() *segment {
	return &segment{
		links:     make(map[schemas.Subject]versioned[*schemas.Links]),
		pipelines: make(map[string]versioned[*schemas.Pipelines]),
		cursors:   make(map[string]versioned[*schemas.Cursor]),
	}
}

// onlyKnown reports whether nothing is left to write but the position.
func (s *segment) onlyKnown() bool {
	if len(s.links)+len(s.pipelines)+len(s.cursors)+len(s.runs)+len(s.dead) > 0 {
		return false
	}
	for _, g := range s.groups {
		if len(g.messages) > 0 {
			return false
		}
	}
	return true
}

// split sorts messages into segments, in stream order.
func (a *Applier) split(messages []Message) ([]*segment, error) {
	bySeq := func(x, y Message) int { return cmp.Compare(x.Seq, y.Seq) }
	if !slices.IsSortedFunc(messages, bySeq) {
		slices.SortFunc(messages, bySeq)
	}
	var segments []*segment
	var current *segment
	for _, m := range messages {
		if a.skip[m.Seq] {
			continue
		}
		subject, err := schemas.ParseSubject(m.Subject)
		if err == nil {
			if err := a.checkPortal(subject.Portal); err != nil {
				return nil, err
			}
		}
		alone := err == nil && subject.Kind == schemas.KindProperties
		if current == nil || alone || current.definitions != nil {
			current = newSegment()
			segments = append(segments, current)
		}
		current.messages = append(current.messages, m)
		if err == nil {
			err = current.take(m, subject)
		}
		if err != nil {
			current.dead = append(current.dead, deadLetterOf(m, err))
		}
	}
	return segments, nil
}

func (s *segment) take(m Message, subject schemas.Subject) error {
	if subject.Kind == schemas.KindRecord {
		return s.takeRecord(m, subject)
	}
	control, err := schemas.DecodeControl(m.Message)
	if err != nil {
		return err
	}
	switch c := control.(type) {
	case *schemas.PropertyDefinitions:
		s.definitions = c
	case *schemas.Links:
		if err := checkLinks(c); err != nil {
			return err
		}
		s.links[subject] = versioned[*schemas.Links]{c, m.Seq}
	case *schemas.Pipelines:
		s.pipelines[c.Object] = versioned[*schemas.Pipelines]{c, m.Seq}
	case *schemas.Cursor:
		s.cursors[c.Object] = versioned[*schemas.Cursor]{c, m.Seq}
	case *schemas.Run:
		s.runs = append(s.runs, versioned[*schemas.Run]{c, m.Seq})
	case *schemas.DeadLetter:
		s.dead = append(s.dead, deadLetterFromSource(m, c))
	}
	return nil
}

func (s *segment) takeRecord(m Message, subject schemas.Subject) error {
	id, err := strconv.ParseInt(subject.ID, 10, 64)
	if err != nil {
		return fmt.Errorf("record id %q is not a number", subject.ID)
	}
	if clean(subject.Object) != subject.Object {
		return fmt.Errorf("object type %q is no text", subject.Object)
	}
	i, found := slices.BinarySearchFunc(s.groups, subject.Object, func(g *group, object string) int {
		return cmp.Compare(g.object, object)
	})
	if !found {
		s.groups = slices.Insert(s.groups, i, &group{object: subject.Object, newest: make(map[int64]int)})
	}
	g := s.groups[i]
	g.offered++
	if i, seen := g.newest[id]; seen {
		if !isPurge(g.messages[i]) || isPurge(m) { // nothing comes after a privacy deletion
			g.messages[i] = m
		}
		return nil
	}
	g.newest[id] = len(g.messages)
	g.messages = append(g.messages, m)
	return nil
}

// build decodes the group's events and encodes its rows for the table as it is now, which is created if there is none. With
// rewrite they replace rows of the same sequence, too.
func (a *Applier) build(ctx context.Context, g *group, rewrite bool) error {
	t, err := a.tableOf(ctx, g.object)
	if err == nil && t == nil {
		t, err = a.createTable(ctx, g.object)
	}
	if err != nil {
		return err
	}
	size := 0
	for _, m := range g.messages {
		size += len(m.Data)
	}
	g.dead = nil
	a.rowSets.put(g.set)
	g.set = a.rowSets.get(t, len(g.messages), size)
	g.set.rewrite = rewrite
	for _, m := range g.messages {
		event, err := schemas.DecodeEvent(m.Message)
		if err == nil {
			err = g.set.add(event, m.Seq)
		}
		if err != nil {
			g.dead = append(g.dead, deadLetterOf(m, err))
		}
	}
	return nil
}

// tableOf returns an object type's table, as it is known or else as it is; nil if there is none.
func (a *Applier) tableOf(ctx context.Context, object string) (*table, error) {
	if t := a.catalogue.get(object); t != nil {
		return t, nil
	}
	return a.catalogue.load(ctx, a.pool, object)
}

// dropKnown leaves out the events that the table has already, or newer ones, before anything is decoded. It needs no
// lock: a row's _seq only ever rises.
func (a *Applier) dropKnown(ctx context.Context, g *group) error {
	t, err := a.tableOf(ctx, g.object)
	if err != nil || t == nil {
		return err
	}
	ids := make([]int64, 0, len(g.newest))
	for id := range g.newest {
		ids = append(ids, id)
	}
	rows, err := a.pool.Query(ctx, `select id, _seq from `+quote(a.schema, t.name)+` where id = any($1)`, ids)
	if err != nil {
		return fmt.Errorf("read versions of %s: %w", g.object, err)
	}
	defer rows.Close()
	known := make([]bool, len(g.messages))
	for rows.Next() {
		values := rows.RawValues()
		id, seq := decodeInt8(values[0]), decodeInt8(values[1])
		i := g.newest[id]
		known[i] = uint64(seq) >= g.messages[i].Seq && !isPurge(g.messages[i])
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read versions of %s: %w", g.object, err)
	}
	kept := g.messages[:0]
	for i, m := range g.messages {
		if !known[i] {
			kept = append(kept, m)
		}
	}
	g.messages, g.newest = kept, nil
	return nil
}
