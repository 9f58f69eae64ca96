package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// purgePatience is how long a privacy deletion may wait for the follower of its object type, before it is done without: one
// that HubSpot does not let read any more takes none.
const purgePatience = time.Minute

// keepErased erases, until ctx ends, the records that were deleted for privacy and that no follower erases: those of object
// types that the log has and the source does not read, or not any longer.
func (s *Source) keepErased(ctx context.Context) {
	var told undone
	for wait := s.cfg.PollInterval; ; {
		if err := s.eraseLeft(ctx, purgePatience); err == nil {
			wait = s.cfg.PollInterval
		} else if ctx.Err() == nil {
			told.tell(s.cfg.Logger.With("component", "source"), err)
			wait = min(2*wait, retryMost)
		}
		if pause(ctx, wait/2, wait) != nil {
			return
		}
	}
}

// eraseLeft erases what hints say now and no follower will see, or none has taken within patience.
func (s *Source) eraseLeft(ctx context.Context, patience time.Duration) error {
	stream, err := s.cfg.JetStream.Stream(ctx, s.hints.stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", s.hints.stream, err)
	}
	all := schemas.HintRoot + "." + schemas.EncodeToken(s.portal) + "._" + string(schemas.HintPurge) + ".>"
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(all))
	if err != nil {
		return fmt.Errorf("look for privacy deletions: %w", err)
	}
	var failed []error
	for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
		if err := s.eraseLeftOne(ctx, subject, patience); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (s *Source) eraseLeftOne(ctx context.Context, subject string, patience time.Duration) error {
	e := s.eraser()
	m, err := e.next(ctx, e.hints, subject, 1)
	if err != nil || m == nil {
		return err
	}
	hint, err := schemas.DecodeHint(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if err != nil {
		return err
	}
	object, mark := hubspot.Object{}, func(string) {}
	i := slices.IndexFunc(s.followers, func(f *follower) bool { return isNamed(f.object, hint.Object) })
	if i >= 0 {
		f := s.followers[i]
		if hint.Object == f.object.Name && time.Since(m.Time) < patience {
			return nil // it will do it
		}
		object, mark = f.object, f.log.forget
	} else if object, err = s.loggedObject(ctx, hint.Object); errors.Is(err, ErrNotInLog) {
		e.logger.Info("privacy deletion of a record that the log cannot have: it has no such object type", "object", hint.Object, "id", hint.ID)
		return e.scrub(ctx, e.hints, subject, 0)
	} else if err != nil {
		return fmt.Errorf("erase %s %s: %w", hint.Object, hint.ID, err)
	}
	if err := e.erase(ctx, object, hint.ID, mark); err != nil {
		return err
	}
	return e.scrub(ctx, e.hints, subject, 0)
}

// typeID is how HubSpot writes type ids.
var typeID = regexp.MustCompile(`^[0-9]{1,10}-[0-9]{1,10}$`)

func isTypeID(name string) bool { return typeID.MatchString(name) }

// loggedObject returns an object type that the log has and the source need not read, by its name in the log or, of a custom
// one, by its type id.
func (s *Source) loggedObject(ctx context.Context, name string) (hubspot.Object, error) {
	cfg := EraseConfig{JetStream: s.cfg.JetStream, Stream: s.cfg.Stream, Portal: s.portal}
	if _, standard := hubspot.ObjectByName(name); standard || !isTypeID(name) {
		return loggedObject(ctx, cfg, name)
	}
	status, err := ReadStatus(ctx, cfg.JetStream, cfg.Stream, cfg.Portal)
	if err != nil {
		return hubspot.Object{}, err
	}
	for _, o := range status.Objects {
		subject := schemas.ControlSubject(schemas.KindProperties, s.portal, o.Object)
		m, err := leaderLast(ctx, cfg.JetStream, cfg.Stream, subject)
		if err != nil {
			return hubspot.Object{}, fmt.Errorf("read the definitions of %s: %w", o.Object, err)
		}
		if m == nil {
			continue
		}
		control, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
		if err != nil {
			return hubspot.Object{}, err
		}
		if d, ok := control.(*schemas.PropertyDefinitions); ok && d.ObjectTypeID == name {
			return hubspot.Object{Name: o.Object, TypeID: name}, nil
		}
	}
	return hubspot.Object{}, fmt.Errorf("%w %q", ErrNotInLog, name)
}
