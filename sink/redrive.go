package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

// What becomes of a dead letter that is redriven.
const (
	RedriveApplied = "applied" // it, or something newer about the same, is in the tables, and the letter is gone
	RedriveFailed  = "failed"  // again: the letter has one more try
	RedriveAsk     = "ask"     // the source has to read the record again
)

// Redriven is a dead letter and what became of it.
type Redriven struct {
	DeadLetter
	Outcome string `json:"outcome"`
}

// redriveRows bounds how many letters are applied at a time.
const redriveRows = 200

// Redrive applies the messages of dead letters once more, under their own sequences, through the one Applier: what the
// tables have that is newer stays. Sinks may run beside it. Of records that the source could not read there is nothing to
// apply: they are in the log by now, or the source has to be asked.
func (s *Sink) Redrive(ctx context.Context, selected DeadLetters) ([]Redriven, error) {
	a, stream, _, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.dropErasedLetters(ctx); err != nil {
		return nil, err
	}
	selected.Stream = s.cfg.Stream
	letters, err := ListDeadLetters(ctx, s.cfg.Pool, s.cfg.Schema, selected, false)
	if err != nil {
		return nil, err
	}
	var all []Redriven
	for len(letters) > 0 {
		n := min(len(letters), redriveRows)
		done, err := a.redrive(ctx, stream, letters[:n])
		all = append(all, done...)
		if err != nil {
			return all, advise(err)
		}
		letters = letters[n:]
	}
	return all, nil
}

// dropErasedLetters removes what a race may have left of records that were deleted for privacy.
func (a *Applier) dropErasedLetters(ctx context.Context) error {
	_, err := a.pool.Exec(ctx, `delete from `+quote(a.schema, "dead_letters")+` d using `+quote(a.schema, "erased")+` e where e.object = d.object
and not coalesce(`+isPurgeLetter+`, false) and (d.record_id = e.record_id::text or d.record_id like 'unknown%' and position(convert_to(e.record_id::text, 'UTF8') in d.payload) > 0)`)
	if err != nil {
		return fmt.Errorf("drop dead letters of erased records: %w", err)
	}
	return nil
}

// redrive takes a batch of letters.
func (a *Applier) redrive(ctx context.Context, stream jetstream.Stream, letters []DeadLetter) ([]Redriven, error) {
	seqs := make([]int64, len(letters))
	for i, l := range letters {
		seqs[i] = l.Seq
	}
	whole, err := ListDeadLetters(ctx, a.pool, a.schema, DeadLetters{Stream: a.stream, Seqs: seqs}, true)
	if err != nil {
		return nil, err
	}
	done := make([]Redriven, 0, len(whole))
	var messages []Message
	var applied []*Redriven
	for _, l := range whole {
		r := Redriven{DeadLetter: l}
		r.Headers, r.Payload = nil, nil
		if l.Origin == "source" {
			if r.Outcome, err = a.redriveRead(ctx, stream, l); err != nil {
				return done, err
			}
			done = append(done, r)
			continue
		}
		if newer, err := a.hasNewer(ctx, l); err != nil {
			return done, err
		} else if newer {
			done = append(done, r)
			applied = append(applied, &done[len(done)-1])
			continue
		}
		m, err := messageOf(ctx, stream, l)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			r.Outcome, r.Reason = RedriveFailed, "the log no longer has the message, and the letter has the beginning only"
			done = append(done, r)
			continue
		}
		if err != nil {
			return done, err
		}
		messages = append(messages, m)
		done = append(done, r)
		applied = append(applied, &done[len(done)-1]) // done has room for all: it does not move
	}
	if len(messages) > 0 {
		if err := a.Apply(ctx, messages, 0); err != nil {
			return done, fmt.Errorf("apply %d dead letters: %w", len(messages), err)
		}
	}
	for _, r := range applied {
		if err := a.concludeLetter(ctx, r); err != nil {
			return done, err
		}
	}
	return done, nil
}

// hasNewer reports whether the record's row is from a newer event. Postgres rule: constraints refuse a row before it is known
// that there is one already, so an old event would fail for ever though nothing of it is wanted.
func (a *Applier) hasNewer(ctx context.Context, l DeadLetter) (newer bool, err error) {
	subject, err := schemas.ParseSubject(l.Subject)
	if err != nil || subject.Kind != schemas.KindRecord {
		return false, nil //nolint:nilerr // Apply says what is wrong with the subject
	}
	id, err := strconv.ParseInt(subject.ID, 10, 64)
	if err != nil {
		return false, nil //nolint:nilerr // as above
	}
	t, err := a.catalogue.load(ctx, a.pool, subject.Object)
	if err != nil || t == nil {
		return false, err
	}
	err = a.pool.QueryRow(ctx, `select exists (select from `+quote(a.schema, t.name)+` where id = $1 and _seq >= $2)`, id, l.Seq).Scan(&newer)
	if err != nil {
		return false, fmt.Errorf("look for the row of %s %s: %w", l.Object, l.ID, err)
	}
	return newer, nil
}

// messageOf returns the message of a letter: the log's, if the letter has only its beginning, or the newer one that took its
// place there.
func messageOf(ctx context.Context, stream jetstream.Stream, l DeadLetter) (Message, error) {
	if !l.Truncated {
		return Message{Message: schemas.Message{Subject: l.Subject, Header: l.Headers, Data: l.Payload}, Seq: uint64(l.Seq)}, nil
	}
	m, err := stream.GetMsg(ctx, uint64(l.Seq))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		m, err = stream.GetLastMsgForSubject(ctx, l.Subject)
	}
	if err != nil {
		return Message{}, fmt.Errorf("read message %d: %w", l.Seq, err)
	}
	return Message{Message: schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}, Seq: m.Sequence}, nil
}

// concludeLetter removes a letter that has no more tries than before: its message was applied. One that failed again says so
// itself.
func (a *Applier) concludeLetter(ctx context.Context, r *Redriven) error {
	tag, err := a.pool.Exec(ctx, `delete from `+quote(a.schema, "dead_letters")+` where stream = $1 and seq = $2 and tries = $3`, a.stream, r.Seq, r.Tries)
	if err != nil {
		return fmt.Errorf("remove dead letter %d: %w", r.Seq, err)
	}
	if r.Outcome = RedriveApplied; tag.RowsAffected() > 0 {
		return nil
	}
	again, err := ListDeadLetters(ctx, a.pool, a.schema, DeadLetters{Stream: a.stream, Seqs: []int64{r.Seq}}, false)
	if err != nil || len(again) == 0 { // somebody else removed it
		return err
	}
	r.DeadLetter, r.Outcome = again[0], RedriveFailed
	return nil
}

// redriveRead looks whether the source has read a record since it could not; if not, that is one more try.
func (a *Applier) redriveRead(ctx context.Context, stream jetstream.Stream, l DeadLetter) (outcome string, err error) {
	outcome, change := RedriveAsk, `update `+quote(a.schema, "dead_letters")+` set tries = tries + 1, last_at = now()`
	if read, err := readSince(ctx, stream, l); err != nil {
		return "", err
	} else if read {
		outcome, change = RedriveApplied, `delete from `+quote(a.schema, "dead_letters")
	}
	if _, err = a.pool.Exec(ctx, change+` where stream = $1 and seq = $2`, a.stream, l.Seq); err != nil {
		return "", fmt.Errorf("redrive dead letter %d: %w", l.Seq, err)
	}
	return outcome, nil
}

// ReadSince removes the selected letters of records that the source has read since, and returns which.
func (s *Sink) ReadSince(ctx context.Context, selected DeadLetters) (read []int64, err error) {
	stream, err := s.cfg.JetStream.Stream(ctx, s.cfg.Stream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", s.cfg.Stream, err)
	}
	selected.Stream = s.cfg.Stream
	letters, err := ListDeadLetters(ctx, s.cfg.Pool, s.cfg.Schema, selected, false)
	if err != nil {
		return nil, err
	}
	for _, l := range letters {
		is, err := readSince(ctx, stream, l)
		if err != nil {
			return read, err
		}
		if !is {
			continue
		}
		if _, err := DropDeadLetters(ctx, s.cfg.Pool, s.cfg.Schema, DeadLetters{Stream: s.cfg.Stream, Seqs: []int64{l.Seq}}); err != nil {
			return read, err
		}
		read = append(read, l.Seq)
	}
	return read, nil
}

// readSince reports whether the log has an event of the record that is newer than the letter.
func readSince(ctx context.Context, stream jetstream.Stream, l DeadLetter) (bool, error) {
	subject, err := schemas.ParseSubject(l.Subject)
	if err != nil || l.Origin != "source" || strings.HasPrefix(l.ID, "unknown") {
		return false, nil //nolint:nilerr // of what has no readable subject there is no newer event
	}
	m, err := stream.GetLastMsgForSubject(ctx, schemas.RecordSubject(subject.Portal, subject.Object, subject.ID))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s %s in the log: %w", l.Object, l.ID, err)
	}
	return m.Sequence > uint64(l.Seq), nil
}
