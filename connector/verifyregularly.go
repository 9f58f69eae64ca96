package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// DefaultVerifyInterval is how often a source compares an object type with HubSpot.
const DefaultVerifyInterval = 7 * 24 * time.Hour

// keepVerified verifies and repairs every object type when it is due, one after the other and at the lowest priority,
// until ctx ends: the first time when its first full read is done and the watermark has passed it, for a record that was
// restored just before has no new modification time, so that no search shows it. One that is interrupted starts over.
func (s *Source) keepVerified(ctx context.Context) error {
	if s.cfg.VerifyInterval < 0 {
		return nil
	}
	failed := make(map[*follower]time.Time)
	for {
		var equal []string
		for _, f := range s.followers {
			// While the object type cannot be read, a verification that went well would hide the run that failed.
			if f.status.get().Phase != PhaseLive || time.Since(failed[f]) < s.cfg.VerifyInterval/100 || !f.verifyDue(s.cfg.VerifyInterval) {
				continue
			}
			switch differences, err := f.verifyNow(ctx); {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				f.logger.Warn("not verified, trying again later", "after", s.cfg.VerifyInterval/100, "err", err)
				failed[f] = time.Now()
			case differences == 0:
				equal = append(equal, f.object.Name)
			}
		}
		if len(equal) > 0 {
			s.cfg.Logger.Info("verified: HubSpot and the log are equal", "component", "source", "objects", strings.Join(equal, ","))
		}
		if pause(ctx, 2*s.cfg.PollInterval, 3*s.cfg.PollInterval) != nil {
			return nil
		}
	}
}

// verifyDue reports whether the object type is to be verified now.
func (f *follower) verifyDue(interval time.Duration) bool {
	c := f.log.Cursor()
	if c.BackfilledAt.IsZero() || c.Backfill != nil || f.loading.Load() || c.CompleteThrough.Before(c.BackfilledAt) {
		return false
	}
	return c.Verified == nil || f.client.Now().Sub(c.Verified.At) >= interval
}

// verifyNow verifies and repairs the object type and returns how many differences there were. It says so in the cursor and
// as a run, and names differences in the program's log.
func (f *follower) verifyNow(ctx context.Context) (differences int64, err error) {
	// What is under way is in the log after the next poll.
	v := newVerifier(f, VerifyOptions{Repair: true, Patience: f.every(1)}.withDefaults())
	// The leader repairs under the guard of its cursor, as it does everything: one that was paused and wakes up is refused.
	v.put = func(ctx context.Context, p page) (schemas.Counts, error) { return f.log.Append(ctx, p, nil) }
	report, err := v.run(ctx)
	if err != nil {
		return 0, err
	}
	if report.Note != "" {
		return 0, errors.New(report.Note)
	}
	if differences = report.Differences(); differences > 0 {
		f.logger.Warn("HubSpot and the log differed", "records", report.Compared, "differences", differences, "repaired", report.Repaired)
	}
	for _, d := range report.Examples {
		f.logger.Warn("difference", "kind", d.Kind, "id", d.ID, "reason", d.Reason)
	}
	verified := schemas.Verified{At: report.StartedAt, Differences: differences, Repaired: report.Repaired}
	_, err = f.log.Append(ctx, page{
		Origin: schemas.OriginVerify, Tell: true, Controls: []schemas.Control{VerifyRun(f.log.portal, report)},
	}, func(c *schemas.Cursor) {
		v := verified
		c.Verified = &v
	})
	return differences, err
}

// VerifyRun returns the record of a comparison of one object type, of one hop or of both: what was read from HubSpot counts
// as fetched, a difference as updated, and one that is not repaired as failed.
func VerifyRun(portal string, reports ...*difference.Report) *schemas.Run {
	first := reports[0]
	run := &schemas.Run{
		RunID: newRunID(first.Object, first.StartedAt), Portal: portal, Object: first.Object, SyncType: "verify", Status: "success",
		StartedAt: first.StartedAt, CompletedAt: first.CompletedAt,
	}
	var found []string
	compared := int64(0) // records, or rows, which are the same ones
	for _, r := range reports {
		if compared = max(compared, r.Compared); r.Hop == difference.HubSpotToLog {
			run.Fetched += r.Compared
		}
		run.Updated += r.Differences()
		run.Failed += r.Remaining()
		run.APICalls += r.APICalls
		run.StartedAt, run.CompletedAt = earlier(run.StartedAt, r.StartedAt), later(run.CompletedAt, r.CompletedAt)
		for _, kind := range r.Found() {
			found = append(found, fmt.Sprintf("%s: %d %s", r.Hop, r.Kinds[kind], kind))
		}
	}
	run.Unchanged = max(0, compared-run.Updated)
	if run.Failed > 0 {
		slices.Sort(found)
		run.Status = "partial"
		run.Error = fmt.Sprintf("%d differences remain (%s)", run.Failed, strings.Join(found, ", "))
	}
	return run
}

// PublishRun puts the record of a run into the log, without a source: the sink makes a row of sync_logs of it.
func PublishRun(ctx context.Context, js jetstream.JetStream, stream string, run *schemas.Run) error {
	msgs, err := encodeControls(run)
	if err != nil {
		return err
	}
	msgs[0].Header.Set(jetstream.ExpectedStreamHeader, stream)
	if _, err := publishBatch(ctx, js, publishTimeout, []*nats.Msg{msgs[0]}); err != nil {
		return fmt.Errorf("record run %s: %w", run.RunID, err)
	}
	return nil
}
