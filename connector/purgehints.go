package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// eraser returns what erases records of this source's log.
func (s *Source) eraser() *eraser {
	return &eraser{
		js: s.cfg.JetStream, stream: s.cfg.Stream, hints: s.hints.stream, portal: s.portal, now: s.cfg.Client.Now,
		logger: s.cfg.Logger.With("component", "source"), read: s.readAbsorbed,
	}
}

// readAbsorbed reads what a record has absorbed.
func (s *Source) readAbsorbed(ctx context.Context, object hubspot.Object, id string) (hubspot.Batch, error) {
	return s.cfg.Client.At(hubspot.PriorityWebhook).BatchRead(ctx, hubspot.BatchReadRequest{
		Object: object, IDs: []string{id}, Properties: []string{mergedProperty},
	})
}

// erase erases the records that hints say were deleted for privacy, until ctx ends. A hint stays in its queue until
// everything is done, so that a crash at any step is made up for.
func (f *follower) erase(ctx context.Context) error {
	var told undone
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := f.source.hints.consume(ctx, hintWork{kind: schemas.HintPurge, object: f.object.Name, do: f.eraseHinted})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		told.tell(f.logger, err)
		if err := pause(ctx, wait/2, wait); err != nil {
			return err
		}
	}
}

// undone tells that privacy deletions are not done: an error, unless NATS or HubSpot does not answer, which all loops wait
// for and warn of now and then.
type undone struct{ warned time.Time }

func (u *undone) tell(logger *slog.Logger, err error) {
	switch {
	case !jetlog.Away(err) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, hubspot.ErrUnavailable):
		logger.Error("privacy deletions are not done, trying on", "err", err)
	case time.Since(u.warned) >= warnEvery:
		logger.Warn("privacy deletions wait for an answer, trying on", "err", err)
		u.warned = time.Now()
	}
}

// eraseOnce erases the records that hints speak of now.
func (f *follower) eraseOnce(ctx context.Context) error {
	hints := f.source.hints
	for {
		queue, err := hints.queue(ctx, schemas.HintPurge, f.object.Name)
		if err != nil {
			return err
		}
		batch, err := hints.fetch(ctx, queue, maxBatch, true)
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := batch.work(ctx, hints.ackWait/3, f.eraseHinted); err != nil {
			return err
		}
	}
}

func (f *follower) eraseHinted(ctx context.Context, hints []*schemas.Hint) error {
	eraser := f.source.eraser()
	for _, hint := range hints {
		if err := eraser.erase(ctx, f.object, hint.ID, f.log.forget); err != nil {
			return err
		}
	}
	return nil
}

// forget makes the log drop what was read of a record before it was erased and is not itself an event.
func (l *objectLog) forget(id string) { l.erased.Store(id, true) }

// EraseConfig says where Erase erases. JetStream and Portal are needed; the zero value of everything else is fine.
type EraseConfig struct {
	JetStream jetstream.JetStream
	Stream    string        // "" means jetlog.DefaultStream
	Replicas  int           // of the queue of hints, if it is created; 0 means 1
	Portal    string        // as in the log
	Patience  time.Duration // how long a running source is given to do it; 0 means 5 s
	Logger    *slog.Logger  // nil means discard
	// Unseen is called for every id that the log never had, perhaps mistyped: nothing of it is there to be erased, and a mark
	// keeps it out from now on. Nil means that the logger is told.
	Unseen func(id string)
}

// ErrNotInLog is in the error of Erase for an object type that the log of the portal does not have.
var ErrNotInLog = errors.New("the log has no such object type")

// Erase erases records from the log for good, as a privacy deletion in HubSpot does: a contact's history, links, dead
// letters and those of all contacts merged into it. The tables follow when a sink meets the purged events. It does not
// delete them in HubSpot.
//
// The intent is stored first: if Erase does not come to its end, a source that runs, or the next Erase, finishes what it
// began. With a running source Erase leaves the work to it.
func Erase(ctx context.Context, cfg EraseConfig, object string, ids ...string) error {
	if cfg.Stream == "" {
		cfg.Stream = jetlog.DefaultStream
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	known, err := loggedObject(ctx, cfg, object)
	if err != nil {
		return err
	}
	queue, err := openHints(ctx, cfg.JetStream, cfg.Stream, cfg.Replicas, cfg.Portal, cfg.Logger)
	if err != nil {
		return err
	}
	eraser := &eraser{
		js: cfg.JetStream, stream: cfg.Stream, hints: queue.stream, portal: cfg.Portal, now: time.Now,
		logger: cfg.Logger.With("component", "erase"),
	}
	all := make([]*schemas.Hint, len(ids))
	for i, id := range ids {
		if err := eraser.tell(ctx, known, id, cfg.Unseen); err != nil {
			return err
		}
		all[i] = &schemas.Hint{
			Kind: schemas.HintPurge, Portal: cfg.Portal, Object: known.Name, ID: id, OccurredAt: time.Now(), Cause: "hubtail.erase",
		}
	}
	if err := queue.publish(ctx, all...); err != nil {
		return err
	}
	return eraser.finish(ctx, known, all, cfg.Patience)
}

// tell warns of what somebody who erases by hand may not expect: an id that the log never had, perhaps mistyped, and one
// whose values live on in the record it was merged into.
func (e *eraser) tell(ctx context.Context, object hubspot.Object, id string, unseen func(string)) error {
	last, err := e.last(ctx, e.subject(object, id))
	if err != nil {
		return err
	}
	switch event := last.event(); {
	case event == nil && unseen != nil:
		unseen(id)
	case event == nil:
		e.logger.Warn("the log never had this record; a mark keeps it out from now on", "object", object.Name, "id", id)
	case event.Op == schemas.OpMerged:
		e.logger.Warn("this record was merged into another one, which keeps its values: erase that one, too, if it is the same person",
			"object", object.Name, "id", id, "merged_into", event.MergedInto)
	}
	return nil
}

// finish waits until a running source has erased what the hints say, and after a while does what is left, of earlier
// deletions of the object type too.
func (e *eraser) finish(ctx context.Context, object hubspot.Object, hints []*schemas.Hint, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		m, err := e.next(ctx, e.hints, schemas.HintFilter(schemas.HintPurge, e.portal, object.Name), 1)
		if err != nil {
			return err
		}
		if m == nil {
			break
		}
		if time.Now().Before(deadline) {
			if err := pause(ctx, 20*time.Millisecond, 50*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		hint, err := schemas.DecodeHint(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
		if err != nil {
			return err
		}
		if err := e.erase(ctx, object, hint.ID, nil); err != nil {
			return err
		}
		if err := e.scrub(ctx, e.hints, m.Subject, 0); err != nil {
			return err
		}
	}
	for _, hint := range hints {
		last, err := e.last(ctx, e.subject(object, hint.ID))
		if err != nil {
			return err
		}
		if last.op() != schemas.OpPurged {
			return fmt.Errorf("%s %s is not erased, though nothing is left to do: was the stream %s purged or restored meanwhile?", object.Name, hint.ID, e.hints)
		}
	}
	return nil
}

// loggedObject returns an object type as the log of the portal names it.
func loggedObject(ctx context.Context, cfg EraseConfig, name string) (hubspot.Object, error) {
	status, err := ReadStatus(ctx, cfg.JetStream, cfg.Stream, cfg.Portal)
	if err != nil {
		return hubspot.Object{}, err
	}
	object, standard := hubspot.ObjectByName(name)
	if !standard {
		object = hubspot.Object{Name: name}
	}
	var names []string
	for _, o := range status.Objects {
		if o.Object == object.Name {
			return object, nil
		}
		names = append(names, o.Object)
	}
	return hubspot.Object{}, fmt.Errorf("%w %q; it has %s", ErrNotInLog, name, strings.Join(names, ", "))
}
