package connector

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// chaosEvent is one change event, as its headers tell it.
type chaosEvent struct {
	seq      uint64
	stored   int64 // epoch ms by NATS' clock, which is ours
	modified int64
	op       schemas.Op
	hash     uint64 // the beginning of the content hash
}

// chaosLog follows the log as it grows and checks what can be checked on the way: that no event says twice the same, that
// no record goes back, and that every watermark keeps its word at the very place where it stands.
type chaosLog struct {
	tb     testing.TB
	stream jetstream.Stream
	ledger *chaosLedger

	mu         sync.Mutex // guards all below
	seq        uint64     // of the last message that was read
	events     int
	history    map[chaosID][]chaosEvent
	links      map[string][]int64 // when the sets of links were stored, by subject
	through    []int64            // the watermarks, by object, epoch ms
	late       []int64            // at each cursor, how far its watermark trails behind, ms
	duplicates map[chaosID]int
	disorder   []string
	broken     []string // watermarks that claim what is not in the log
}

func newChaosLog(tb testing.TB, js jetstream.JetStream, ledger *chaosLedger) *chaosLog {
	stream, err := js.Stream(tb.Context(), jetlog.DefaultStream)
	must(tb, err)
	return &chaosLog{
		tb: tb, stream: stream, ledger: ledger, history: map[chaosID][]chaosEvent{}, links: map[string][]int64{},
		through: make([]int64, len(chaosObjects)), duplicates: map[chaosID]int{},
	}
}

// follow reads the log from its beginning until stop is called.
func (l *chaosLog) follow(ctx context.Context) (stop func()) {
	consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	must(l.tb, err)
	messages, err := consumer.Messages()
	must(l.tb, err)
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			m, err := messages.Next()
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				return
			}
			if err != nil {
				l.tb.Errorf("follow the log: %v", err)
				return
			}
			if err := l.read(ctx, m); err != nil && ctx.Err() == nil {
				l.tb.Errorf("read the log: %v", err)
			}
		}
	})
	return func() {
		messages.Stop()
		reading.Wait()
	}
}

func (l *chaosLog) read(ctx context.Context, m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	subject, err := schemas.ParseSubject(m.Subject())
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch subject.Kind {
	case schemas.KindRecord:
		err = l.event(subject, m, meta)
	case schemas.KindLinks:
		l.links[m.Subject()] = append(l.links[m.Subject()], meta.Timestamp.UnixMilli())
	case schemas.KindCursor:
		err = l.cursor(ctx, subject, meta.Sequence.Stream)
	}
	l.seq = meta.Sequence.Stream
	return err
}

func (l *chaosLog) event(subject schemas.Subject, m jetstream.Msg, meta *jetstream.MsgMetadata) error {
	id, header := chaosIDOf(subject.Object, subject.ID), m.Headers()
	if id.object < 0 {
		return nil
	}
	modified, err := time.Parse(time.RFC3339Nano, header.Get(schemas.HeaderTime))
	if err != nil {
		return fmt.Errorf("event %s: %w", header.Get(schemas.HeaderID), err)
	}
	hash, err := chaosHash(header.Get(schemas.HeaderHash))
	if err != nil {
		return fmt.Errorf("event %s: %w", header.Get(schemas.HeaderID), err)
	}
	kind := header.Get(schemas.HeaderType)
	e := chaosEvent{
		seq: meta.Sequence.Stream, stored: meta.Timestamp.UnixMilli(), modified: modified.UnixMilli(),
		op: schemas.Op(kind[strings.LastIndexByte(kind, '.')+1:]), hash: hash,
	}
	if before := l.history[id]; len(before) > 0 {
		last := before[len(before)-1]
		if last.hash == e.hash {
			l.duplicates[id]++
		}
		if e.modified < last.modified {
			l.disorder = append(l.disorder, fmt.Sprintf("%s %s goes back by %d ms at %d", subject.Object, subject.ID, last.modified-e.modified, e.seq))
		}
	}
	l.history[id] = append(l.history[id], e)
	l.events++
	return nil
}

// cursor checks what a cursor's watermark claims, where it stands in the log. One that is gone already (the stream keeps
// the last ones of each type) is passed over: the next one claims the same and more.
func (l *chaosLog) cursor(ctx context.Context, subject schemas.Subject, seq uint64) error {
	m, err := l.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	control, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if err != nil {
		return err
	}
	object := int(chaosIDOf(subject.Object, "0").object)
	through := control.(*schemas.Cursor).CompleteThrough
	if object < 0 || through.IsZero() {
		return nil
	}
	l.through[object] = through.UnixMilli()
	l.late = append(l.late, m.Time.UnixMilli()-through.UnixMilli())
	for _, c := range l.ledger.claimed(object, through.UnixMilli()) {
		var has int64
		if history := l.history[c.record]; len(history) > 0 {
			has = history[len(history)-1].modified
		}
		if has < c.modified {
			l.broken = append(l.broken, fmt.Sprintf("%s %d: %s of %d, which search knew from %d on, is not in the log at %d (it has %d), where the watermark is %d",
				subject.Object, c.record.id, c.kind, c.modified, c.indexed, seq, has, through.UnixMilli()))
		}
	}
	return nil
}

// reached reports whether all of the log up to a sequence was read.
func (l *chaosLog) reached(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq >= seq
}

// passed reports whether every watermark is past a time, in epoch ms.
func (l *chaosLog) passed(at int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, through := range l.through {
		if through <= at {
			return false
		}
	}
	return true
}

// chaosHash returns the beginning of a content hash.
func chaosHash(digits string) (uint64, error) {
	return strconv.ParseUint(digits[:min(16, len(digits))], 16, 64)
}
