package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// worker keeps something going for one object type: whatever fails is tried again, and nothing else is stopped by it.
type worker struct {
	source *Source
	log    *objectLog
	logger *slog.Logger
	status *objectStatus

	optional bool   // comes with "all": left out if it cannot be read
	failure  string // why the last failed run failed, "" since it went well again; for the goroutine that works
}

func newWorker(s *Source, log *objectLog) worker {
	return worker{source: s, log: log, logger: log.logger, status: newObjectStatus(log)}
}

// How long to wait before an object type that failed is tried again.
const (
	retryFirst     = time.Second
	retryMost      = time.Minute
	retryForbidden = 10 * time.Minute
)

// pauseForbidden waits before an object type is tried again that the token may not read: as long as definitions are
// believed, but not for long.
func (w *worker) pauseForbidden(ctx context.Context) {
	wait := min(w.source.cfg.DefinitionsInterval, retryForbidden)
	_ = pause(ctx, wait, wait+wait/4) // keep looks at ctx itself
}

// keep calls work until ctx ends. It returns an error only if no object type can go on.
func (w *worker) keep(ctx context.Context, work func(context.Context) error) error {
	wait := retryFirst
	if _, err := w.log.Reload(ctx); err != nil && ctx.Err() == nil {
		w.failed(ctx, PhaseFailed, err)
	}
	for {
		began := time.Now()
		err := work(ctx)
		if time.Since(began) > retryMost {
			wait = retryFirst
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, hubspot.ErrUnauthorized):
			w.failed(ctx, PhaseFailed, err)
			return fmt.Errorf("%s: HubSpot refuses the token (rotated or revoked? set the new one and start again): %w", w.log.object.Name, err)
		case errors.Is(err, ErrStandby), errors.Is(err, errInterrupted):
			// Who led before us was still writing, or leads. If the lease says us, our cursor is where theirs is now.
			w.source.lease.Doubt()
			_ = pause(ctx, wait/4, wait/2)
			wait = min(2*wait, retryMost)
			if _, err := w.log.Reload(ctx); err != nil && ctx.Err() == nil {
				w.failed(ctx, PhaseFailed, err)
			}
		case w.leaveOut(ctx, err):
			w.pauseForbidden(ctx)
		case errors.Is(err, hubspot.ErrForbidden):
			w.failed(ctx, PhaseForbidden, err)
			w.pauseForbidden(ctx)
		default:
			w.failed(ctx, PhaseFailed, err)
			_ = pause(ctx, wait/2, wait)
			wait = min(2*wait, retryMost)
		}
	}
}

// failed reports an error once, not at every try: in the status, the program's log, and as a failed run.
func (w *worker) failed(ctx context.Context, phase Phase, err error) {
	w.status.fail(phase, err)
	if cause := causeOf(err); w.failure != cause {
		w.failure = cause
		w.logger.Error("object type cannot be read, the others go on", "err", err)
		w.endRun(ctx, "incremental", w.log.now(), schemas.Counts{}, err)
	}
}

// causeOf tells failures apart; every answer of HubSpot has an id of its own in its text.
func causeOf(err error) string {
	if answer := (*hubspot.Error)(nil); errors.As(err, &answer) {
		return fmt.Sprint(answer.Status, answer.Category, answer.SubCategory, answer.Scopes)
	}
	return err.Error()
}

// recovered ends a time of failures: in the program's log, and as a run, so that the newest run is not a failed one.
func (w *worker) recovered(ctx context.Context, from time.Time, counts schemas.Counts) {
	w.failure = ""
	w.logger.Info("object type can be read again")
	w.endRun(ctx, "incremental", from, counts, nil)
}

// endRun puts the record of a sync run into the log. That it could not is no reason to stop.
func (w *worker) endRun(ctx context.Context, kind string, from time.Time, counts schemas.Counts, err error) {
	now := w.log.now()
	run := w.source.runOf(w.log.object.Name, newRunID(w.log.object.Name, now), kind, from, now, counts, err)
	run.CompleteThrough = w.log.Cursor().CompleteThrough
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := w.log.Append(ctx, page{Origin: schemas.OriginPoll, Controls: []schemas.Control{run}}, nil); err != nil {
		w.logger.Debug("run not recorded", "err", err)
	}
}

// jitter returns d, up to a twelfth longer or shorter, so that object types do not work in step.
func jitter(d time.Duration) time.Duration {
	return d - d/12 + rand.N(d/6+1)
}
