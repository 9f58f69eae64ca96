package sink_test

import (
	"testing"

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
