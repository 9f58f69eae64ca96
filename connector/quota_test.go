package connector

import (
	"context"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

func TestAnExhaustedDailyQuotaIsToldInTheLog(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 10}, Config{
		Objects: []string{"contacts"}, PollInterval: 100 * time.Millisecond,
	})
	b.sync()
	b.sim.Spend("pat-simulator", 0, 0, 10_000_000)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- b.source.Run(ctx) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var q *schemas.Quota
	for q == nil || q.ParkedUntil.IsZero() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the log does not tell")
		}
		status, err := ReadStatus(ctx, b.js, "HUBSPOT", b.source.Portal())
		must(t, err)
		q = status.Objects[0].Cursor.Quota
	}
	equal(t, "parked until after now", q.ParkedUntil.After(time.Now()), true)
	equal(t, "the reason is told", q.ParkedFor != "", true)
	stop()
	must(t, <-ended)
}
