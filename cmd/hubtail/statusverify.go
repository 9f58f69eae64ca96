package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
)

// A source says in the cursor when it compared an object type with HubSpot; what `hubtail verify` found is a run in the log,
// until so many later ones that it is no longer kept there, and in sync_logs. The newest counts.

// sawVerified takes note of a comparison with HubSpot.
func (o *objectStatus) sawVerified(v *schemas.Verified) {
	if v != nil && (o.Verified == nil || v.At.After(o.Verified.At)) {
		o.Verified = v
	}
}

// verifiedBy returns what a run tells of a comparison with HubSpot, nil if it was none: one that asked HubSpot nothing
// compared log and tables only.
func verifiedBy(run *schemas.Run) *schemas.Verified {
	if run == nil || run.SyncType != "verify" || run.APICalls == 0 {
		return nil
	}
	return &schemas.Verified{At: run.StartedAt, Differences: run.Updated, Repaired: run.Updated - run.Failed}
}

// readVerified looks for the last comparison among the runs that the log keeps.
func (s *status) readVerified(ctx context.Context, js jetstream.JetStream, stream string) error {
	var log *history.Log
	for i := range s.Log.Objects {
		logged, o := s.Log.Objects[i], &s.Objects[i]
		last := verifiedBy(logged.LastRun)
		o.sawVerified(last)
		if last != nil || logged.LastRun == nil {
			continue // nothing is newer, or there is nothing
		}
		var err error
		if log == nil {
			if log, err = history.Open(ctx, js, stream, ""); err != nil {
				return err
			}
		}
		runs, err := log.Messages(ctx, schemas.ControlSubject(schemas.KindRun, logged.Portal, logged.Object))
		if err != nil {
			return err
		}
		for _, entry := range runs {
			if c, err := schemas.DecodeControl(entry.Message); err == nil {
				run, _ := c.(*schemas.Run)
				o.sawVerified(verifiedBy(run))
			}
		}
	}
	return nil
}

// readVerifiedRows looks for the last comparisons in sync_logs.
func (p *parts) readVerifiedRows(ctx context.Context, pool *pgxpool.Pool, s *status) error {
	rows, err := pool.Query(ctx, `select distinct on (object_type) object_type, sync_started_at, records_updated, records_updated - records_failed
		from `+p.table("sync_logs")+` where sync_type = 'verify' and api_calls > 0 order by object_type, sync_started_at desc`)
	if err != nil {
		return err
	}
	var object string
	var v schemas.Verified
	_, err = pgx.ForEachRow(rows, []any{&object, &v.At, &v.Differences, &v.Repaired}, func() error {
		last := v
		last.At = last.At.UTC()
		s.object(object).sawVerified(&last)
		return nil
	})
	return err
}

// verifiedText says when the object type was compared with HubSpot, and how many differences were left.
func (o *objectStatus) verifiedText(now time.Time) string {
	switch v := o.Verified; {
	case v == nil:
		return "-"
	case v.Differences > v.Repaired:
		return fmt.Sprintf("%s, %s left", ago(now, v.At), thousands(v.Differences-v.Repaired))
	default:
		return ago(now, v.At)
	}
}

// judgeVerified finds differences that were not repaired.
func (s *status) judgeVerified() {
	for i := range s.Objects {
		if o := &s.Objects[i]; o.Verified != nil && o.Verified.Differences > o.Verified.Repaired {
			s.problem("the last comparison of %s left %d differences: `hubtail verify --repair %s` repairs them, or says why not",
				o.Object, o.Verified.Differences-o.Verified.Repaired, o.Object)
		}
	}
}
