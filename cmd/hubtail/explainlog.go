package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
)

// logStory is what the log and the queue of hints have about a record.
type logStory struct {
	LastSeq  uint64            `json:"last_seq"` // of the log
	Types    []string          `json:"objects"`  // object types that the log has
	Read     *readState        `json:"read,omitempty"`
	Complete bool              `json:"complete"` // no version of the record is missing
	Versions []history.Version `json:"versions"` // oldest first, with all values
	// DeadLetters are states of the record that the source could not make events of.
	DeadLetters []sourceLetter `json:"dead_letters,omitempty"`
	Links       []linkedSet    `json:"links,omitempty"`
	Hints       []hintStory    `json:"hints,omitempty"` // webhooks that wait for a source

	last *history.Version // nil if there is none
}

// readState is how far the source has read the object type.
type readState struct {
	CompleteThrough time.Time `json:"complete_through,omitzero"`
	BackfillDone    int64     `json:"backfill_done,omitempty"` // of a full read under way
	BackfillTotal   int64     `json:"backfill_total,omitempty"`
	LastRun         *runRow   `json:"last_run,omitempty"`
}

type sourceLetter struct {
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// linkedSet is the links from the record to one object type.
type linkedSet struct {
	To       string    `json:"to"`
	Seq      uint64    `json:"seq"`
	LoggedAt time.Time `json:"logged_at"`
	IDs      []string  `json:"ids"` // each once
}

type hintStory struct {
	Kind       schemas.HintKind `json:"kind"`
	Cause      string           `json:"cause"`
	Property   string           `json:"property,omitempty"`
	OccurredAt time.Time        `json:"occurred_at"`
}

// story reads what there is about a record.
func (p *past) story(ctx context.Context, stream, object, id string) (*logStory, error) {
	l := &logStory{LastSeq: p.LastSeq, Versions: []history.Version{}, Types: []string{}}
	for _, t := range p.types {
		l.Types = append(l.Types, t.Name)
	}
	slices.Sort(l.Types)
	record, err := p.ReadRecord(ctx, object, id)
	if err != nil {
		return nil, err
	}
	l.Complete, l.last = record.Complete(), record.Last()
	l.Versions = append(l.Versions, record.Versions...)
	status, err := connector.ReadStatus(ctx, p.js, stream, p.Portal())
	if err != nil {
		return nil, err
	}
	for _, o := range status.Objects {
		if o.Object == object {
			l.Read = readStateOf(o)
		}
	}
	if err := p.readLinks(ctx, l, object, id); err != nil {
		return nil, err
	}
	dead := schemas.Subject{Kind: schemas.KindDeadLetter, Portal: p.Portal(), Object: object, ID: id}
	letters, err := p.Messages(ctx, dead.String())
	if err != nil {
		return nil, err
	}
	for _, m := range letters {
		if c, err := schemas.DecodeControl(m.Message); err == nil {
			letter := c.(*schemas.DeadLetter)
			l.DeadLetters = append(l.DeadLetters, sourceLetter{m.Seq, letter.At, letter.Reason})
		}
	}
	return l, p.readHints(ctx, l, stream, object, id)
}

func readStateOf(o connector.LoggedObject) *readState {
	r := &readState{CompleteThrough: o.Cursor.CompleteThrough}
	if b := o.Cursor.Backfill; b != nil {
		r.BackfillDone, r.BackfillTotal = b.Counts.Fetched, b.Total
	}
	if o.LastRun != nil {
		r.LastRun = &runRow{o.LastRun.SyncType, o.LastRun.Status, o.LastRun.CompletedAt, o.LastRun.Error}
	}
	return r
}

// readLinks reads the newest set of links from the record to each object type.
func (p *past) readLinks(ctx context.Context, l *logStory, object, id string) error {
	to := schemas.Subject{Kind: schemas.KindLinks, Portal: p.Portal(), Object: object, ID: id, To: "x"}.String()
	sets, err := p.LastAt(ctx, []string{strings.TrimSuffix(to, "x") + "*"}, p.LastSeq)
	if err != nil {
		return err
	}
	for _, m := range sets {
		c, err := schemas.DecodeControl(m.Message)
		if err != nil {
			continue
		}
		set := linkedSet{To: c.(*schemas.Links).To, Seq: m.Seq, LoggedAt: m.Time.UTC(), IDs: []string{}}
		for _, link := range c.(*schemas.Links).Links {
			set.IDs = append(set.IDs, link.ID)
		}
		set.IDs = slices.Compact(set.IDs)
		l.Links = append(l.Links, set)
	}
	slices.SortFunc(l.Links, func(a, b linkedSet) int { return strings.Compare(a.To, b.To) })
	return nil
}

// readHints reads what webhooks said of the record and no source has worked off.
func (p *past) readHints(ctx context.Context, l *logStory, stream, object, id string) error {
	queue, err := p.js.Stream(ctx, connector.HintsStream(stream))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up the queue of hints: %w", err)
	}
	for _, kind := range []schemas.HintKind{schemas.HintRecord, schemas.HintLinks, schemas.HintPurge} {
		subject := (&schemas.Hint{Kind: kind, Portal: p.Portal(), Object: object, ID: id}).Subject()
		if kind == schemas.HintLinks {
			subject = subject[:strings.LastIndexByte(subject, '.')+1] + "*"
		}
		m, err := queue.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look into the queue of hints: %w", err)
		}
		if h, err := schemas.DecodeHint(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}); err == nil {
			l.Hints = append(l.Hints, hintStory{h.Kind, h.Cause, h.Property, h.OccurredAt})
		}
	}
	return nil
}
