package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// VerifyOptions say how the tables are compared with the log. The zero value compares and changes nothing.
type VerifyOptions struct {
	Repair bool // apply the last events of what differs once more, and delete what the log does not know
	// Patience is how long a row without an event may take to get one, or to go: an erasure takes the history out of the
	// log before it says so. 0 means 2 s; negative means none.
	Patience time.Duration
	Progress func(object string, done int64) // if set, called now and then
}

// Verify compares the tables of the named object types, of all that the log or the tables have if none is named, with
// the last events in the log: every row with its flags, times and values, every link, and which records were erased. It may run beside any number of sinks: what they have not
// applied yet, by the position, is no difference. The reports come in the order of the names, or ascending.
func (s *Sink) Verify(ctx context.Context, o VerifyOptions, objects ...string) ([]*difference.Report, error) {
	if o.Patience == 0 {
		o.Patience = 2 * time.Second
	}
	a, stream, _, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if a.portalName() == "" {
		return nil, fmt.Errorf("nothing of stream %s was ever applied to schema %s: run a sink first", s.cfg.Stream, s.cfg.Schema)
	}
	if len(objects) == 0 {
		if objects, err = a.allObjects(ctx, stream); err != nil {
			return nil, err
		}
	}
	verifiers := make([]*tableVerifier, len(objects))
	for i, object := range objects {
		verifiers[i] = &tableVerifier{a: a, s: s, o: o, stream: stream, whole: keepsAll(stream.CachedInfo().Config), report: &difference.Report{
			Object: object, Hop: difference.LogToTables, StartedAt: time.Now(),
		}}
		// First of all, for all: what counts as erased decides which links there are, those from other object types too.
		if err := verifiers[i].verifyErased(ctx, object); err != nil {
			return nil, fmt.Errorf("verify what was erased of %s: %w", object, advise(err))
		}
	}
	var reports []*difference.Report
	for i, object := range objects {
		v := verifiers[i]
		err := v.run(ctx, object)
		v.report.CompletedAt = time.Now()
		reports = append(reports, v.report)
		if err != nil {
			return reports, fmt.Errorf("verify table of %s: %w", object, advise(err))
		}
	}
	return reports, nil
}

// Applied returns how far the tables are: every message of the log up to this sequence is in them, whichever sink applied
// it.
func (s *Sink) Applied(ctx context.Context) (seq uint64, err error) {
	err = s.cfg.Pool.QueryRow(ctx, `select coalesce(max(seq), 0) from `+quote(s.cfg.Schema, "positions")+` where stream = $1`, s.cfg.Stream).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	return seq, nil
}

// keepsAll reports whether the stream keeps every record's last event, whatever its age and the stream's size.
func keepsAll(c jetstream.StreamConfig) bool {
	return c.MaxAge == 0 && c.MaxBytes <= 0 && c.MaxMsgs <= 0
}

// allObjects returns the object types that the tables or the log have, ascending.
func (a *Applier) allObjects(ctx context.Context, stream jetstream.Stream) ([]string, error) {
	rows, err := a.pool.Query(ctx, `select object from `+quote(a.schema, "objects"))
	if err != nil {
		return nil, fmt.Errorf("list object types: %w", err)
	}
	var objects []string
	for rows.Next() {
		var object string
		if err := rows.Scan(&object); err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list object types: %w", err)
	}
	cursors := schemas.Root + "." + schemas.EncodeToken(a.portalName()) + "." + string(schemas.KindCursor) + ".*"
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(cursors))
	if err != nil {
		return nil, fmt.Errorf("list object types of the log: %w", err)
	}
	for text := range info.State.Subjects {
		if subject, err := schemas.ParseSubject(text); err == nil {
			objects = append(objects, subject.Object)
		}
	}
	slices.Sort(objects)
	return slices.Compact(objects), nil
}

// tableVerifier compares one object type.
type tableVerifier struct {
	a      *Applier
	s      *Sink
	o      VerifyOptions
	stream jetstream.Stream
	whole  bool // the stream keeps every record's last event: what it does not know never was, or is gone
	report *difference.Report
}

func (v *tableVerifier) run(ctx context.Context, object string) error {
	if err := v.verifyTable(ctx, object); err != nil {
		return err
	}
	// On its way to another column a value may be in two places.
	if err := v.a.reshape(ctx, object); err != nil && classify(err) != faultRetry {
		return err
	}
	if err := v.verifyRows(ctx, object); err != nil {
		return err
	}
	return v.verifyLinks(ctx, object)
}

// verifyBatch is how many messages are compared at a time. A batch ends early at verifyBytes.
const (
	verifyBatch = 500
	verifyBytes = 4 << 20
)

// eachBatch calls do with the last messages of the subjects that the filter selects, ascending by sequence. They are do's
// to keep.
func (v *tableVerifier) eachBatch(ctx context.Context, filter string, do func([]Message) error) error {
	reader, err := jetlog.Reader(ctx, v.s.cfg.JetStream, v.s.cfg.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	if info, err := reader.Info(ctx); err != nil || info.NumPending == 0 {
		return err
	}
	iterator, err := reader.Messages(lastValuesOptions()...)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	defer iterator.Stop()
	defer context.AfterFunc(ctx, iterator.Stop)()
	var batch []Message
	size := 0
	for {
		m, err := iterator.Next(jetstream.NextMaxWait(2 * time.Second))
		last := false
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, jetstream.ErrNoMessages), isTimeout(err):
			// A message that was replaced before it was sent is never sent.
			info, err := reader.Info(ctx)
			if err != nil {
				return fmt.Errorf("read the log: %w", err)
			}
			if last = info.NumPending == 0; !last {
				continue
			}
		case err != nil:
			return fmt.Errorf("read the log: %w", err)
		default:
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("read the log: %w", err)
			}
			batch = append(batch, Message{
				Message: schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, Seq: meta.Sequence.Stream,
			})
			size += len(m.Data())
			last = meta.NumPending == 0
		}
		if len(batch) >= verifyBatch || size >= verifyBytes || last {
			if err := do(batch); err != nil || last {
				return err
			}
			batch, size = nil, 0
		}
	}
}

// lastMessages reads the last messages of subjects, those that have one.
func (v *tableVerifier) lastMessages(ctx context.Context, subjects []string) ([]Message, error) {
	var messages []Message
	for _, subject := range subjects {
		m, err := v.stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", subject, err)
		}
		messages = append(messages, Message{Message: schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}, Seq: m.Sequence})
	}
	return messages, nil
}
