package history

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Moment is a state of the log: all messages up to a sequence.
type Moment struct {
	Seq  uint64    `json:"seq"`  // 0: before the first message
	Time time.Time `json:"time"` // what was asked for, or when the message of that sequence was logged
}

// IsStart reports whether it is the log's beginning, whenever that was.
func (m Moment) IsStart() bool { return m.Seq == 0 && m.Time.IsZero() }

// ErrMoment says that a text names no moment of the log.
var ErrMoment = errors.New("not a moment of the log")

// layouts are the ways to write a time. Without a zone it is the local one.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly,
}

// ParseTime reads a time, or a duration before now: "2026-03-01", "2026-03-01 14:30", "2026-03-01T14:30:00Z", "90m", "7d".
func ParseTime(text string, now time.Time) (time.Time, bool) {
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, true
		}
	}
	if d, ok := parseDuration(strings.TrimSuffix(strings.TrimSpace(text), " ago")); ok {
		return now.Add(-d), true
	}
	return time.Time{}, false
}

// parseDuration is time.ParseDuration, and knows days and weeks.
func parseDuration(text string) (time.Duration, bool) {
	if n := len(text) - 1; n > 0 && (text[n] == 'd' || text[n] == 'w') {
		days, err := strconv.ParseFloat(text[:n], 64)
		if text[n] == 'w' {
			days *= 7
		}
		return time.Duration(days * 24 * float64(time.Hour)), err == nil && days >= 0 && days < 36_500
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

// Resolve finds the moment that a text names: a sequence, "start", "now", a time or a duration before now. A time means
// what was logged by then.
func (l *Log) Resolve(ctx context.Context, text string, now time.Time) (Moment, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "start":
		return Moment{}, nil
	case "now":
		return Moment{Seq: l.LastSeq, Time: now}, nil
	}
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		if seq > l.LastSeq {
			return Moment{}, fmt.Errorf("%w: the log ends at %d, before %d", ErrMoment, l.LastSeq, seq)
		}
		at, err := l.timeOf(ctx, seq)
		return Moment{Seq: seq, Time: at}, err
	}
	at, ok := ParseTime(text, now)
	switch {
	case !ok:
		return Moment{}, fmt.Errorf("%w: %q is no time (2026-03-01, \"2026-03-01 14:30\", 2026-03-01T14:30:00Z), no duration before now (90m, 7d), "+
			"no sequence of the log, and neither start nor now", ErrMoment, text)
	case at.After(now):
		return Moment{}, fmt.Errorf("%w: %s is in the future", ErrMoment, at.Format(time.RFC3339))
	}
	seq, err := l.seqAt(ctx, at)
	return Moment{Seq: seq, Time: at}, err
}

// seqAt returns the last sequence that was logged at or before a time.
func (l *Log) seqAt(ctx context.Context, at time.Time) (uint64, error) {
	seq := l.LastSeq
	err := l.get(ctx, func(m *jetstream.RawStreamMsg) { seq = min(seq, m.Sequence-1) },
		func(ctx context.Context) (answers, error) {
			a, err := jetstreamext.GetBatch(ctx, l.js, l.name, 1, jetstreamext.GetBatchStartTime(at.Add(1)))
			return answers(a), err
		})
	return seq, err
}

// timeOf returns when a message was logged; of one that is no longer kept, the next one.
func (l *Log) timeOf(ctx context.Context, seq uint64) (at time.Time, err error) {
	if seq == 0 {
		return at, nil
	}
	err = l.get(ctx, func(m *jetstream.RawStreamMsg) { at = m.Time },
		func(ctx context.Context) (answers, error) {
			a, err := jetstreamext.GetBatch(ctx, l.js, l.name, 1, jetstreamext.GetBatchSeq(seq))
			return answers(a), err
		})
	return at, err
}
