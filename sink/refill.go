package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// refill reads the last events of object types whose tables ask for it once more, and writes their rows again. A column
// that turns from a typed one into text needs that: only the log has HubSpot's exact text ("1e3", not 1000). The request
// is a flag in the database, so a crash on the way only means that it is done again.
func (s *Sink) refill(ctx context.Context, a *Applier) error {
	for {
		var object string
		var generation int64
		err := a.pool.QueryRow(ctx, `select object, generation from `+quote(a.schema, "objects")+` where refill order by object limit 1`).Scan(&object, &generation)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for tables to refill: %w", err)
		}
		if known, err := a.knowsPortal(ctx); err != nil || !known {
			return err
		}
		s.cfg.Logger.InfoContext(ctx, "reading rows again from the log after a change of a column's type", "object", object)
		if err := s.refillObject(ctx, a, object); err != nil {
			return fmt.Errorf("refill %s: %w", object, err)
		}
		// Another change of types meanwhile, by another sink too, asks anew.
		if _, err := a.pool.Exec(ctx, `update `+quote(a.schema, "objects")+` set refill = false where object = $1 and generation = $2`, object, generation); err != nil {
			return fmt.Errorf("refill %s: %w", object, err)
		}
	}
}

// knowsPortal makes sure that it is known whose records to read: a sink that attached to empty tables and had no message yet
// learns it from the one that filled them.
func (a *Applier) knowsPortal(ctx context.Context) (bool, error) {
	if a.portalName() != "" {
		return true, nil
	}
	pos, err := a.readPosition(ctx)
	if err != nil || pos.portal == "" {
		return false, err
	}
	return true, a.checkPortal(pos.portal)
}

func (s *Sink) refillObject(ctx context.Context, a *Applier, object string) error {
	reader, err := jetlog.Reader(ctx, s.cfg.JetStream, s.cfg.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{schemas.Root + "." + schemas.EncodeToken(a.portalName()) + "." + schemas.EncodeToken(object) + ".*"},
		DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return err
	}
	if info, err := reader.Info(ctx); err != nil || info.NumPending == 0 {
		return err
	}
	iterator, err := reader.Messages(lastValuesOptions()...)
	if err != nil {
		return err
	}
	c := &collector{cfg: s.cfg, iterator: iterator, stats: &statistics{}, until: ^uint64(0), ordered: true}
	batches := make(chan *work)
	done := make(chan error, 1)
	collecting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(batches)
		done <- c.run(collecting, batches)
	}()
	for w := range batches {
		if err := a.rewrite(ctx, w.messages); err != nil {
			drainWork(batches, stop)
			<-done
			return err
		}
	}
	if err := <-done; err != nil {
		return err
	}
	return ctx.Err()
}

// rewrite applies messages like Apply, those that the tables have already too. It says nothing about the position.
func (a *Applier) rewrite(ctx context.Context, messages []Message) error {
	segments, err := a.split(messages)
	if err != nil {
		return err
	}
	for _, s := range segments {
		s.rewrite = true
	}
	return a.commit(ctx, &batch{segments: segments})
}

// definitionsFirst applies the newest property definitions in the log to tables that are still empty. Older events then
// find their columns: the definitions that came with them may have left the log's history.
func (s *Sink) definitionsFirst(ctx context.Context, a *Applier, stream jetstream.Stream) error {
	filter := schemas.Root + ".*." + string(schemas.KindProperties) + ".>"
	if s.cfg.Portal != "" {
		filter = schemas.Root + "." + schemas.EncodeToken(s.cfg.Portal) + "." + string(schemas.KindProperties) + ".>"
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return fmt.Errorf("look for property definitions: %w", err)
	}
	var messages []Message
	for subject := range info.State.Subjects {
		m, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return fmt.Errorf("read property definitions: %w", err)
		}
		messages = append(messages, Message{Message: schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}, Seq: m.Sequence})
	}
	if len(messages) == 0 {
		return nil
	}
	defer a.counts.messages.Add(-int64(len(messages))) // they come again in their turn
	return a.Apply(ctx, messages, 0)
}
