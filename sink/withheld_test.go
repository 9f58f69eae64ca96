package sink_test

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// TestAWatermarkThatIsReleasedWaitsForNoneThatIsWritten stops one sink of two between a cursor, or a run, that it writes and the
// end of its transaction, while the other one moves the position to where it releases another of the same.
func TestAWatermarkThatIsReleasedWaitsForNoneThatIsWritten(t *testing.T) {
	t.Parallel()
	run := func(status string) schemas.Control {
		return &schemas.Run{Portal: portal, Object: "contacts", RunID: "run-1", SyncType: "full", Status: status, StartedAt: streamCreated, CompletedAt: streamCreated}
	}
	cursor := func(through int) schemas.Control {
		return &schemas.Cursor{Portal: portal, Object: "contacts", CompleteThrough: streamCreated.Add(time.Duration(through) * time.Hour)}
	}
	for table, messages := range map[string][2]schemas.Control{
		"cursors": {cursor(1), cursor(2)}, "sync_logs": {run("success"), run("success")},
	} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			first, second := b.newApplier(), b.newApplier()
			if err := first.Apply(t.Context(), []sink.Message{definitions(t, "contacts", 1, "email", "string")}, 10); err != nil {
				t.Fatal(err)
			}
			// Beyond the position: it is withheld.
			if err := second.Apply(t.Context(), []sink.Message{control(t, 15, messages[1])}, 10); err != nil {
				t.Fatal(err)
			}
			b.want("15", `select string_agg(seq::text, ' ') from hubspot.withheld`)
			b.exec(`create function public.hold() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(77); return null; end'`)
			b.exec(`create trigger hold after insert or update on hubspot.` + table + ` for each row when (new._seq = 12) execute function public.hold()`)
			hold, err := b.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Rollback(t.Context()) //nolint:errcheck // after the test's own it is a no-op
			if _, err := hold.Exec(t.Context(), `select pg_advisory_xact_lock(77)`); err != nil {
				t.Fatal(err)
			}
			waiting := func(n string) func() bool {
				return func() bool {
					return b.value(`select count(*) from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`) == n
				}
			}
			done := make(chan error, 2)
			go func() { done <- first.Apply(t.Context(), []sink.Message{control(t, 12, messages[0])}, 12) }()
			within(t, time.Minute, "the first one is stopped", waiting("1"))
			go func() {
				done <- second.Apply(t.Context(), []sink.Message{event("contacts", 1, 20, props{"email": "e"})}, 20)
			}()
			within(t, time.Minute, "the second one waits", waiting("2"))
			if err := hold.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			b.want("20 0 1", `select concat_ws(' ', (select seq from hubspot.positions), (select count(*) from hubspot.withheld), (select count(*) from hubspot.`+table+`))`)
		})
	}
}
