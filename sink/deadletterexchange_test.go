package sink_test

import (
	"fmt"
	"testing"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

const allLetters = `select coalesce(string_agg(concat_ws(' ', seq, origin, object, record_id), ', ' order by seq), '') from hubspot.dead_letters`

// sourceLetter is what the source says of a record that it cannot read.
func sourceLetter(t *testing.T, id string) sink.Message {
	return control(t, 0, &schemas.DeadLetter{Portal: portal, Object: "contacts", ID: id, Reason: "no record", Record: "{"})
}

// unreadable is an event that no sink can apply.
func unreadable(object string, id int64) sink.Message {
	m := event(object, id, 1, props{"email": fmt.Sprint(id, "@x")})
	m.Data = append([]byte("{"), m.Data...)
	return m
}

// TestDeadLettersAfterARebuildAreThoseThatStand resolves dead letters of each kind in each way before tables are rebuilt, and
// leaves one of each kind.
func TestDeadLettersAfterARebuildAreThoseThatStand(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 1, props{"email": "a"}),
		sourceLetter(t, "11"), sourceLetter(t, "12"), sourceLetter(t, "13"), sourceLetter(t, "14"), // 3 to 6
		unreadable("contacts", 21), unreadable("contacts", 22)) // 7, 8
	badLinks := linkSet(t, 1, 5) // 9
	badLinks.Data = append([]byte("{"), badLinks.Data...)
	s := r.newTables()
	r.applied0(r.publish(badLinks))
	r.want("3 source contacts 11, 4 source contacts 12, 5 source contacts 13, 6 source contacts 14, 7 sink contacts 21, 8 sink contacts 22, 9 sink contacts 1", allLetters)
	if n, err := sink.DropDeadLetters(t.Context(), r.pool, schema, sink.DeadLetters{Seqs: []int64{3}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r.publish(event("contacts", 12, 1, props{"email": "read"})) // 10
	r.applied0(r.publish(event("contacts", 22, 1, props{"email": "good"})))
	if read, err := s.ReadSince(t.Context(), sink.DeadLetters{}); fmt.Sprint(read) != "[4]" || err != nil {
		t.Fatal(read, err)
	}
	// What the live tables have not got to comes with the new ones, unless it was resolved by then.
	r.publish(event("contacts", 13, 1, props{"email": "read"}), sourceLetter(t, "15"), sourceLetter(t, "16"), // 12 to 14
		event("contacts", 16, 1, props{"email": "read"}), unreadable("contacts", 23)) // 15, 16
	r.rebuild(s, sink.RebuildOptions{})
	const standing = "6 source contacts 14, 7 sink contacts 21, 9 sink contacts 1, 13 source contacts 15, 16 sink contacts 23"
	r.want(standing, allLetters)
	r.wantAsLog(s)
	// Of some object types, links that could not be applied are lacking still.
	r.rebuild(s, sink.RebuildOptions{Objects: []string{"contacts"}})
	r.want(standing, allLetters)
	if n, err := sink.DropDeadLetters(t.Context(), r.pool, schema, sink.DeadLetters{Seqs: []int64{6, 13}}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	const left = "7 sink contacts 21, 9 sink contacts 1, 16 sink contacts 23"
	r.rebuild(s, sink.RebuildOptions{})
	r.want(left, allLetters)
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want(left, allLetters)
}

// TestDeadLettersOfARecreatedStreamGoWithItsTables has letters of equal sequences in both streams.
func TestDeadLettersOfARecreatedStreamGoWithItsTables(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"), unreadable("contacts", 100), sourceLetter(t, "101"), unreadable("contacts", 102))
	r.applied0(r.publish(event("contacts", 1, 1, props{"email": "x"})))
	r.recreateStream()
	r.publish(definitions(t, "contacts", 0, "email", "string"), unreadable("contacts", 200), sourceLetter(t, "201"), sourceLetter(t, "202"),
		event("contacts", 1, 1, props{"email": "x"}), event("contacts", 100, 2, props{"email": "good now"}), event("contacts", 202, 2, props{"email": "read"}))
	s := r.newTables()
	r.rebuild(s, sink.RebuildOptions{})
	const payloads = `select string_agg(convert_from(payload, 'UTF8')::text, ' ' order by seq) like '%200%201%' from hubspot.dead_letters`
	for range 2 {
		r.want("2 sink contacts 200, 3 source contacts 201", allLetters)
		r.want("true", payloads)
		r.wantAsLog(s)
		if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		r.want("2 sink contacts 100, 3 source contacts 101, 4 sink contacts 102", allLetters)
		r.rebuild(s, sink.RebuildOptions{})
	}
}
