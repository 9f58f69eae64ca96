package sink_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// smallSteps returns a sink that builds tables as of a moment over a pool, in small batches.
func (r *rig) smallSteps(pool *pgxpool.Pool) *sink.Sink {
	r.t.Helper()
	s, err := sink.New(r.t.Context(), sink.Config{Pool: pool, JetStream: r.js, Schema: schema, BatchRows: 10, Logger: testLogger(r.t)})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// TestTablesAsOfAMomentOutlastCutConnections cuts them at every moment of a build.
func TestTablesAsOfAMomentOutlastCutConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, pool := r.proxied()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	then := r.load(300, "then")
	r.applied0(r.load(10, "now"))
	done, s := make(chan error, 1), r.smallSteps(pool)
	p.Slow(time.Millisecond)
	go func() {
		_, err := s.BuildAsOf(t.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: then}})
		done <- err
	}()
	for range 8 { // between two tries it waits twice as long
		p.Cut()
		rows := `select coalesce((select done from hubspot.copies), 0) + (select count(*) from pg_class where relnamespace = to_regnamespace('past')::oid)`
		before := r.value(rows)
		eventually(t, "it goes on", func() bool { return r.value(rows) != before || len(done) > 0 })
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.want("300 ''", `select concat_ws(' ', count(*) filter (where email = 'then'), (select quote_literal(phase) from hubspot.copies)) from past.contacts`)
}

// TestTablesAsOfAMomentAreBegunAgainAfterAFailover: the replica has nothing of the schema that was being filled.
func TestTablesAsOfAMomentAreBegunAgainAfterAFailover(t *testing.T) {
	t.Parallel()
	primary, replica, server, follow := newFailover(t)
	r := &rig{bundle: primary}
	r.startNATS()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	then := r.load(60, "then")
	r.applied0(then)
	copyTables(t, primary, replica)
	over := false
	_, err := r.smallSteps(follow()).BuildAsOf(t.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: then}, Progress: func(int64, int64) {
		if !over {
			over = true
			server.Store(replica.pool.Config().ConnConfig)
			primary.exec(terminateOthers)
		}
	}})
	if err != nil || !over {
		t.Fatal(err)
	}
	replica.want("60 ''", `select concat_ws(' ', count(*) filter (where email = 'then'), (select quote_literal(phase) from hubspot.copies)) from past.contacts`)
}

// TestTablesAsOfAMomentBeforeTheFirstLoadEndedAreRefused leaves no schema, but for what may be left out.
func TestTablesAsOfAMomentBeforeTheFirstLoadEndedAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := newTeller(r)
	loaded := func(e *schemas.Event) { e.Origin = schemas.OriginBackfill }
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	contact := w.tell(1, schemas.OpSnapshot, props{"email": "a@x"}, loaded)
	deal := r.publish(event("deals", 1, 1, props{"name": "d"}, op(schemas.OpSnapshot), loaded))
	r.applied0(deal)
	s := r.newTables()
	for _, o := range []sink.AsOfOptions{
		{}, {Partial: true}, // before the log
		{At: history.Moment{Seq: contact}}, // before the deals
	} {
		o.Schema = "past"
		_, err := s.BuildAsOf(t.Context(), o)
		if gone := (*history.NotCoveredError)(nil); !errors.As(err, &gone) || gone.Seq != deal || len(gone.Unloaded) == 0 {
			t.Errorf("%+v: %v, want that it works from %d on", o, err, deal)
		}
		r.want("true", `select to_regnamespace('past') is null and not exists (select from hubspot.copies)`)
	}
	result, err := s.BuildAsOf(t.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: contact}, Partial: true})
	if err != nil || len(result.Unloaded) != 1 || result.Unloaded[0].Object != "deals" || result.Unloaded[0].Records != 1 {
		t.Errorf("%+v %v", result, err)
	}
	if _, err := s.BuildAsOf(t.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: contact}, Objects: []string{"contacts"}}); err != nil {
		t.Error(err)
	}
	r.want("a@x", `select email from past.contacts`)
}
