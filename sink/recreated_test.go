package sink_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// recreateStream makes the stream anew, as after the loss of the log.
func (r *rig) recreateStream() {
	r.t.Helper()
	if err := r.js.DeleteStream(r.t.Context(), "HUBSPOT"); err != nil {
		r.t.Fatal(err)
	}
	r.createStream()
}

// TestWhatWasErasedBeforeTheStreamWasRecreatedStaysErased gives the new log values of a record that was erased in the old
// one, and a deletion of another one.
func TestWhatWasErasedBeforeTheStreamWasRecreatedStaysErased(t *testing.T) {
	t.Parallel()
	for name, again := range map[string][]string{"whole": nil, "contacts": {"contacts"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.logOfAll(20) // contact 3 is erased
			r.applied0(r.publish(event("contacts", 5, 9, nil, op(schemas.OpPurged))))
			r.recreateStream()
			r.publish(definitions(t, "contacts", 0, "email", "string", "age", "number"), event("contacts", 1, 1, props{"email": "again"}),
				event("contacts", 3, 1, props{"email": private}), linkSet(t, 3, 7), event("contacts", 5, 9, nil, op(schemas.OpPurged)))
			s := r.newTables()
			check := func() {
				t.Helper()
				r.want("1 false again;3 true ;5 true ", `select string_agg(concat_ws(' ', id, _purged::text, coalesce(email, '')), ';' order by id) from hubspot.contacts where id in (1, 3, 5)`)
				r.want("3 5", `select string_agg(record_id::text, ' ' order by record_id) from hubspot.erased where object = 'contacts'`)
				r.want("0", `select count(*) from hubspot.links where from_object = 'contacts' and from_id = 3`)
			}
			r.rebuild(s, sink.RebuildOptions{Force: true})
			check()
			r.rebuild(s, sink.RebuildOptions{Objects: again, Force: true})
			check()
			for range 2 {
				if _, err := s.Verify(t.Context(), sink.VerifyOptions{Repair: true, Patience: -1}); err != nil {
					t.Fatal(err)
				}
				check()
			}
		})
	}
}

// TestALogThatForgotDoesNotEmptyTheTables rebuilds from logs that lack most of the records.
func TestALogThatForgotDoesNotEmptyTheTables(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(r *rig) error{
		"purged": func(r *rig) error { return r.stream.Purge(r.t.Context()) },
		"an object type purged": func(r *rig) error {
			return r.stream.Purge(r.t.Context(), jetstream.WithPurgeSubject(schemas.Root+"."+schemas.EncodeToken(portal)+".contacts.*"))
		},
		"records purged that have letters of the source and of links": func(r *rig) error {
			r.applied0(r.publish(control(r.t, 0, &schemas.DeadLetter{Portal: portal, Object: "contacts", ID: "2", Reason: "no record", Record: "{"}),
				control(r.t, 0, &schemas.Links{Portal: portal, From: "contacts", ID: "4", To: "companies", Links: []schemas.Link{{ID: "y"}}})))
			r.want("true", `select count(distinct origin) = 2 from hubspot.dead_letters where object = 'contacts' and record_id in ('2', '4')`)
			for _, id := range []string{"2", "4"} {
				if err := r.stream.Purge(r.t.Context(), jetstream.WithPurgeSubject(schemas.RecordSubject(portal, "contacts", id))); err != nil {
					return err
				}
			}
			return nil
		},
		"recreated": func(r *rig) error {
			r.recreateStream()
			r.publish(definitions(r.t, "contacts", 0, "email", "string"), event("contacts", 1, 1, props{"email": "a"}))
			return nil
		},
		"of an age": func(r *rig) error {
			info, err := r.stream.Info(r.t.Context())
			if err != nil {
				return err
			}
			info.Config.MaxAge = 24 * time.Hour
			if _, err := r.js.UpdateStream(r.t.Context(), info.Config); err != nil {
				return err
			}
			return r.stream.Purge(r.t.Context(), jetstream.WithPurgeSequence(20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.applied0(r.logOfAll(20))
			if err := forget(r); err != nil {
				t.Fatal(err)
			}
			before, s := r.state(), r.newTables()
			plan, err := s.PlanRebuild(t.Context(), sink.RebuildOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Rebuild(t.Context(), sink.RebuildOptions{})
			if !errors.Is(err, sink.ErrForgotten) || !strings.Contains(err.Error(), " of contacts") || !strings.Contains(err.Error(), "--force") {
				t.Errorf("the rebuild is not refused, or does not say what to do: %v", err)
			}
			if said := strings.Join(plan.Forgotten, ", "); said == "" || !strings.Contains(err.Error(), said+",") {
				t.Errorf("the plan said %q, and then %v", said, err)
			}
			if r.state() != before {
				t.Error("the tables are not as they were")
			}
			r.rebuild(s, sink.RebuildOptions{Force: true})
			if plan, err := s.PlanRebuild(t.Context(), sink.RebuildOptions{}); err != nil || len(plan.Forgotten) > 0 {
				t.Errorf("of tables as the log is: %+v %v", plan, err)
			}
		})
	}
}

// TestALogBegunAnewAndReadWholeIsRebuiltWithoutForce: what HubSpot no longer has goes.
func TestALogBegunAnewAndReadWholeIsRebuiltWithoutForce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 1, props{"email": "a"}), event("contacts", 2, 1, props{"email": "b"})))
	r.recreateStream()
	r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 1, props{"email": "a"}),
		control(t, 0, &schemas.Cursor{Portal: portal, Object: "contacts", BackfilledAt: streamCreated}))
	if plan, err := r.newTables().PlanRebuild(t.Context(), sink.RebuildOptions{}); err != nil || len(plan.Forgotten) > 0 {
		t.Errorf("%+v %v", plan, err)
	}
	r.rebuild(r.newTables(), sink.RebuildOptions{})
	r.want("1", `select string_agg(id::text, ' ') from hubspot.contacts`)
}

// TestARollbackErasesFirst has somebody's lock keep a deletion for privacy from the old tables, those of another stream.
func TestARollbackErasesFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fill := func() uint64 {
		r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 5, 1, props{"email": private}))
		return r.publish(event("contacts", 6, 1, props{"email": private}))
	}
	r.applied0(fill())
	r.recreateStream()
	fill()
	s := r.newTables()
	r.rebuild(s, sink.RebuildOptions{})
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `lock table hubspot_rebuild.contacts in share mode`); err != nil {
		t.Fatal(err)
	}
	run := r.start()
	r.applied(r.publish(event("contacts", 5, 999, nil, op(schemas.OpPurged))))
	if err := run.stop(); err != nil {
		t.Error(err)
	}
	r.want("1", `select count(*) from hubspot.copy_erasures`)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What an earlier version left of an erased record in the old tables goes as well.
	r.exec(`insert into hubspot.erased (object, record_id, _seq) values ('contacts', 6, 1)`)
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("5 true ;6 true ", `select string_agg(concat_ws(' ', id, _purged::text, coalesce(email, '')), ';' order by id) from hubspot.contacts`)
	r.want("0", `select count(*) from hubspot.copy_erasures`)
}

// TestNothingOfTheOldStreamWaitsForTheNewOne leaves a watermark withheld, as a sink that was killed beside another one does.
func TestNothingOfTheOldStreamWaitsForTheNewOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	seq := r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 1, props{"email": "a"}))
	r.applied0(seq)
	r.exec(`insert into hubspot.withheld (stream, consumer, seq, kind, content) values ('HUBSPOT', 'hubtail-sink', $1, 'cursor',
		'{"object":"deals","complete_through":"2026-11-20T00:00:00Z"}')`, int64(seq+2))
	r.exec(`update hubspot.positions set withheld = $1`, int64(seq+2))
	r.recreateStream()
	r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 1, props{"email": "a"}))
	r.rebuild(r.newTables(), sink.RebuildOptions{})
	r.want("0", `select count(*) from hubspot.withheld`)
}

func TestTablesOfARecreatedStreamAreRebuilt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(20))
	if err := r.js.DeleteStream(t.Context(), "HUBSPOT"); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	r.publish(definitions(t, "contacts", 0, "email", "string", "age", "number"), event("contacts", 1, 1, props{"email": "again"}),
		event("contacts", 3, 1, props{"email": private}), event("contacts", 30, 1, props{"email": "new"}))
	err := r.start().wait()
	if !errors.Is(err, sink.ErrOtherStream) || !strings.Contains(err.Error(), "`hubtail rebuild`") {
		t.Fatalf("the sink does not say what to run: %v", err)
	}
	s := r.newTables()
	result := r.rebuild(s, sink.RebuildOptions{Force: true})
	t.Logf("%+v", result.Objects)
	r.want("1 again;3 ;30 new", `select string_agg(concat(id, ' ', email), ';' order by id) from hubspot.contacts`)
	r.want("true", `select _purged from hubspot.contacts where id = 3`) // what was erased stays erased
	r.want("run-1", `select run_id from hubspot.sync_logs`)
	run := r.start()
	r.applied(r.publish(event("contacts", 1, 2, props{"email": "on"})))
	r.want("on", `select email from hubspot.contacts where id = 1`)
	if err := run.stop(); err != nil {
		t.Error(err)
	}
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("20", `select count(*) from hubspot.contacts`)
	if err := r.start().wait(); !errors.Is(err, sink.ErrOtherStream) {
		t.Errorf("the sink applies another log to the old tables: %v", err)
	}
}
