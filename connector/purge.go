package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// eraser erases records that were deleted for privacy, for good:
//
//	the hint is stored ──▶ the records merged into it, each like itself
//	(it is the intent,     ▼
//	and stays until the    what the log has of it: history, links, dead letters, hints. Overwritten, then purged
//	end: a crash at any    ▼
//	step is finished by    its purged event, if nothing came into the log meanwhile; else from above
//	whoever takes it next) ▼
//	                       once more what came into the log beside it ──▶ the hint is taken away
//
// It needs no lead: the purged event is guarded by its subject alone, and a source that has the record in a batch on its way
// is refused, looks again, and finds it purged. Several erasers at once do no harm.
type eraser struct {
	js     jetstream.JetStream
	stream string // of the log
	hints  string // stream of the hints
	portal string
	now    func() time.Time
	logger *slog.Logger
	// read reads from HubSpot what a record has absorbed; nil if there is only the log.
	read func(ctx context.Context, object hubspot.Object, id string) (hubspot.Batch, error)
	// reached is told every step that was reached; an error stops there as a crash would. For tests; may be nil.
	reached func(step string) error
}

// erase erases a record and all that were merged into it, as far as the log has them: they are the same person. mark is
// called with each id before anything of it is touched; it may be nil.
func (e *eraser) erase(ctx context.Context, object hubspot.Object, id string, mark func(id string)) error {
	if _, ok := parseID(id); !ok { // nothing to be erased, and a tombstone that no table could hold
		e.logger.Error("privacy deletion dropped: its id is no record's", "object", object.Name, "id", id)
		return nil
	}
	merges := e.merges(object)
	if err := merges.refresh(ctx); err != nil {
		return fmt.Errorf("erase %s %s: %w", object.Name, id, err)
	}
	// The others first: once its own history is gone, nobody knows which they are.
	others, err := e.family(ctx, object, id, merges)
	if err != nil {
		return fmt.Errorf("erase %s %s: %w", object.Name, id, err)
	}
	if err := e.eraseFamily(ctx, object, others, mark); err != nil {
		return fmt.Errorf("erase %s %s: %w", object.Name, id, err)
	}
	if mark != nil {
		mark(id)
	}
	if err := e.eraseOne(ctx, object, id); err != nil {
		return fmt.Errorf("erase %s %s: %w", object.Name, id, err)
	}
	// What ended meanwhile as merged into one of them. What ends from here on finds them erased.
	if err := e.eraseLate(ctx, object, append(others, id), merges, mark); err != nil {
		return fmt.Errorf("erase %s %s: %w", object.Name, id, err)
	}
	e.logger.Info("erased for privacy", "object", object.Name, "id", id)
	return nil
}

// eraseLate erases what was merged into erased records according to events that came since.
func (e *eraser) eraseLate(ctx context.Context, object hubspot.Object, erased []string, merges *mergeIndex, mark func(id string)) error {
	for {
		if err := merges.refresh(ctx); err != nil {
			return err
		}
		var late []string
		for _, id := range erased {
			late = append(late, merges.into(id)...)
		}
		if len(late) == 0 {
			return nil
		}
		if err := e.eraseFamily(ctx, object, late, mark); err != nil {
			return err
		}
		erased = append(erased, late...)
	}
}

func (e *eraser) subject(object hubspot.Object, id string) string {
	return schemas.RecordSubject(e.portal, object.Name, id)
}

// eraseOne erases one record. Of one that the log never had a purged event stays all the same, so that it never gets in.
func (e *eraser) eraseOne(ctx context.Context, object hubspot.Object, id string) error {
	subject := e.subject(object, id)
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		last, err := e.last(ctx, subject)
		if err != nil {
			return err
		}
		if last.op() == schemas.OpPurged {
			if err := e.scrub(ctx, e.stream, subject, last.seq); err != nil {
				return err
			}
			return e.scrubBeside(ctx, object, id)
		}
		if err := e.scrub(ctx, e.stream, subject, 0); err != nil {
			return err
		}
		if err := e.scrubBeside(ctx, object, id); err != nil {
			return err
		}
		if err := e.publish(ctx, object, id); err != nil {
			return err
		}
		if err := pause(ctx, wait/2, wait); err != nil {
			return err
		}
	}
}

// publish appends the purged event. That a guard refused it, or that no answer came, is no error: the caller looks.
func (e *eraser) publish(ctx context.Context, object hubspot.Object, id string) error {
	at := e.now().UTC().Truncate(time.Millisecond)
	event := newEnding(e.portal, object, ending{ID: id, Op: schemas.OpPurged, At: at}, lastEvent{}, schemas.OriginWebhook)
	msg := newMsg(event.Encode())
	if err := event.Validate(); err != nil {
		return err
	}
	guard(msg, 0)
	_, err := publishBatch(ctx, e.js, publishTimeout, []*nats.Msg{msg})
	if err != nil && outcomeOf(err) == failed {
		return fmt.Errorf("append the purged event: %w", err)
	}
	return e.step("event appended")
}

// scrubBeside erases what the log and the queue of hints have about a record beside its events.
func (e *eraser) scrubBeside(ctx context.Context, object hubspot.Object, id string) error {
	dead := schemas.Subject{Kind: schemas.KindDeadLetter, Portal: e.portal, Object: object.Name, ID: id}
	links := schemas.Subject{Kind: schemas.KindLinks, Portal: e.portal, Object: object.Name, ID: id}
	for _, subject := range []string{dead.String(), anyLast(links.String())} {
		if err := e.scrub(ctx, e.stream, subject, 0); err != nil {
			return err
		}
	}
	if err := e.scrubUnknown(ctx, object, id); err != nil {
		return err
	}
	for _, hint := range []schemas.Hint{
		{Kind: schemas.HintRecord, Portal: e.portal, Object: object.Name, ID: id},
		{Kind: schemas.HintLinks, Portal: e.portal, Object: object.Name, ID: id},
	} {
		subject := hint.Subject()
		if hint.Kind == schemas.HintLinks {
			subject = anyLast(subject)
		}
		if err := e.scrub(ctx, e.hints, subject, 0); err != nil {
			return err
		}
	}
	return e.step("neighbours erased")
}

// scrubUnknown erases the dead letters whose record has no readable id, as far as they quote this one.
func (e *eraser) scrubUnknown(ctx context.Context, object hubspot.Object, id string) error {
	all := anyLast(schemas.Subject{Kind: schemas.KindDeadLetter, Portal: e.portal, Object: object.Name, ID: id}.String())
	quotes, err := regexp.Compile(`(^|[^0-9])` + regexp.QuoteMeta(id) + `([^0-9]|$)`)
	if err != nil {
		return err
	}
	for seq := uint64(1); ; {
		m, err := e.next(ctx, e.stream, all, seq)
		if err != nil || m == nil {
			return err
		}
		seq = m.Sequence + 1
		subject, err := schemas.ParseSubject(m.Subject)
		if err == nil && strings.HasPrefix(subject.ID, "unknown") && quotes.Match(m.Data) {
			if err := e.scrub(ctx, e.stream, m.Subject, 0); err != nil {
				return err
			}
		}
	}
}

// anyLast returns a subject with a wildcard for its last token.
func anyLast(subject string) string { return subject[:strings.LastIndexByte(subject, '.')+1] + "*" }

// scrub erases all messages of a subject, or only those before a sequence if it is not 0. They are overwritten where they
// are, not only forgotten; where a stream forbids that, they are purged only.
func (e *eraser) scrub(ctx context.Context, stream, subject string, before uint64) error {
	for seq := uint64(1); ; {
		m, err := e.next(ctx, stream, subject, seq)
		if err != nil {
			return err
		}
		if m == nil || before > 0 && m.Sequence >= before {
			break
		}
		seq = m.Sequence + 1
		if err := e.overwrite(ctx, stream, m.Sequence); err != nil {
			return err
		}
	}
	err := e.retry(ctx, "purge "+subject, func(ctx context.Context) error {
		s, err := e.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		options := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(subject)}
		if before > 0 {
			options = append(options, jetstream.WithPurgeSequence(before))
		}
		return permanentUnlessBusy(s.Purge(ctx, options...))
	})
	if err != nil {
		return err
	}
	return e.step("purged " + subject)
}

// overwrite makes the server write random bytes over a message.
func (e *eraser) overwrite(ctx context.Context, stream string, seq uint64) error {
	err := e.retry(ctx, "overwrite a message", func(ctx context.Context) error {
		s, err := e.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		if err = s.SecureDeleteMsg(ctx, seq); errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return nil // gone already, or not permitted: the purge will tell
		}
		return err
	})
	if err != nil {
		return err
	}
	return e.step("message overwritten")
}

// next returns the first message of a subject, which may have wildcards, from a sequence on; nil if there is none. It asks
// the stream's leader: a replica may lag.
func (e *eraser) next(ctx context.Context, stream, subject string, seq uint64) (m *jetstream.RawStreamMsg, err error) {
	err = e.retry(ctx, "read "+subject, func(ctx context.Context) error {
		m, err = leaderGet(ctx, e.js, stream, map[string]any{"seq": seq, "next_by_subj": subject})
		return err
	})
	return m, err
}

func (e *eraser) last(ctx context.Context, subject string) (last lastEvent, err error) {
	err = e.retry(ctx, "read "+subject, func(ctx context.Context) error {
		m, err := leaderLast(ctx, e.js, e.stream, subject)
		if err == nil && m != nil {
			last = newLastEvent(m.Sequence, schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
		}
		return err
	})
	return last, err
}

// retry waits while NATS is away.
func (e *eraser) retry(ctx context.Context, what string, do func(context.Context) error) error {
	l := objectLog{logger: e.logger}
	return l.persist(ctx, what, do)
}

// permanentUnlessBusy marks an answer of the server that waiting does not change.
func permanentUnlessBusy(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code != 503 {
		return permanent{err}
	}
	return err
}

func (e *eraser) step(name string) error {
	if e.reached == nil {
		return nil
	}
	return e.reached(name)
}
