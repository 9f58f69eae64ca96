package sink_test

import (
	"fmt"
	"testing"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// logOfAll publishes something of everything that a log has: two object types, links, a pipeline, a cursor, a run, a bad
// event, a privacy deletion.
func (r *rig) logOfAll(records int) uint64 {
	r.t.Helper()
	r.publish(definitions(r.t, "contacts", 0, "email", "string", "age", "number"), definitions(r.t, "deals", 0, "name", "string"))
	for id := int64(1); id <= int64(records); id++ {
		r.publish(event("contacts", id, uint64(id), props{"email": fmt.Sprintf("%d@a.example", id), "age": "30", "unknown": "u"}))
		r.publish(event("deals", id, uint64(id), props{"name": "deal"}))
	}
	bad := event("contacts", 9001, 9001, props{"email": "bad"})
	bad.Data = append([]byte("{"), bad.Data...)
	return r.publish(bad,
		event("contacts", 1, 9002, props{"email": "1@b.example", "age": "about 31"}),
		control(r.t, 0, &schemas.Links{Portal: portal, From: "contacts", ID: "1", To: "deals", Links: []schemas.Link{{ID: "2", Category: "HUBSPOT_DEFINED", TypeID: 4}}}),
		control(r.t, 0, &schemas.Pipelines{Portal: portal, Object: "deals", Pipelines: []schemas.Pipeline{{ID: "p", Label: "P", Stages: []schemas.Stage{{ID: "s", Label: "S"}}}}}),
		control(r.t, 0, &schemas.Cursor{Portal: portal, Object: "contacts"}),
		control(r.t, 0, &schemas.Run{Portal: portal, Object: "contacts", RunID: "run-1", SyncType: "full", Status: "success", StartedAt: streamCreated, CompletedAt: streamCreated}),
		control(r.t, 0, &schemas.DeadLetter{Portal: portal, Object: "deals", ID: "77", Reason: "cut", Record: `{}`}),
		event("contacts", 3, 9003, nil, op(schemas.OpPurged)),
	)
}

// state returns what readers see, without what says when it was written.
func (r *rig) state() string {
	r.t.Helper()
	return r.value(`select string_agg(x, E'\n' order by x) from (
		select concat_ws(' ', 'contact', id, _seq, _archived, _purged, email, age, _extra, _merged_into) as x from hubspot.contacts
		union all select concat_ws(' ', 'deal', id, _seq, name) from hubspot.deals
		union all select concat_ws(' ', 'link', from_object, from_id, to_object, to_id) from hubspot.links
		union all select concat_ws(' ', 'set', from_object, from_id, to_object, _seq) from hubspot.link_sets
		union all select concat_ws(' ', 'pipeline', p.id, s.id) from hubspot.pipelines p, hubspot.pipeline_stages s
		union all select concat_ws(' ', 'cursor', object, _seq) from hubspot.cursors
		union all select concat_ws(' ', 'run', run_id, _seq) from hubspot.sync_logs
		union all select concat_ws(' ', 'dead', stream, seq, origin, object, record_id, tries, first_at) from hubspot.dead_letters
		union all select concat_ws(' ', 'erased', object, record_id, _seq, erased_at) from hubspot.erased
		union all select concat_ws(' ', 'property', object, name, column_name, column_type, label, _seq) from hubspot.properties) t`)
}

func (r *rig) rebuild(s *sink.Sink, o sink.RebuildOptions) *sink.Rebuilt {
	r.t.Helper()
	result, err := s.Rebuild(r.t.Context(), o)
	r.t.Logf("phases %v, tries %d, locked %s", result.Phases, result.Tries, result.Locked)
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

func TestARebuildEndsInTheSameTables(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	last := r.logOfAll(150)
	run := r.start()
	r.applied(last)
	before, oid := r.state(), r.value(`select 'hubspot.contacts'::regclass::oid`)
	result := r.rebuild(run.Sink, sink.RebuildOptions{})
	if after := r.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if oid == r.value(`select 'hubspot.contacts'::regclass::oid`) {
		t.Error("the table is the old one")
	}
	for _, o := range result.Objects {
		if o.OnlyLive+o.OnlyNew+o.Newer+o.Values != 0 || o.Rows != 150 {
			t.Errorf("%+v", o)
		}
	}
	t.Logf("%+v", result)

	// The sink, which was not told, goes on; so do its position and its consumer.
	last = r.publish(event("contacts", 1, 1, props{"email": "1@c.example"}), event("companies", 5, 1, props{"name": "new"}))
	r.applied(last)
	r.want("1@c.example", `select email from hubspot.contacts where id = 1`)
	r.want("5", `select id from hubspot.companies`)
	r.want("hubspot_rebuild old", `select concat_ws(' ', schema_name, kind, nullif(phase, '')) from hubspot.copies`)
	r.want("1@b.example", `select email from hubspot_rebuild.contacts where id = 1`)
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
}
