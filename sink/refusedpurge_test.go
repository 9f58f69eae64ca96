package sink_test

import (
	"strings"
	"testing"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// TestADeletionForPrivacyThatTheOwnerRefusesIsNotLost: a check of the owner's refuses rows without values. Contact 7's row goes
// instead, and nothing brings it back. Contact 8's is referred to by a table of the owner's, so that it cannot even be deleted:
// everything says so until it can.
func TestADeletionForPrivacyThatTheOwnerRefusesIsNotLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	late := event("contacts", 7, 13, props{"email": private + "@late.example"})
	last := r.publish(
		definitions(t, "contacts", 0, "email", "string"),
		event("contacts", 7, 1, props{"email": private}),
		event("contacts", 8, 1, props{"email": private}),
		linkSet(t, 7, 5), linkSet(t, 8, 5),
	)
	r.start()
	r.applied(last)
	r.exec(`alter table hubspot.contacts add constraint mine check (email is not null)`)
	r.exec(`create table public.mine as select id from hubspot.contacts where id = 8`)
	r.exec(`alter table public.mine add foreign key (id) references hubspot.contacts (id)`)
	last = r.publish(event("contacts", 7, 1, nil, op(schemas.OpPurged)), event("contacts", 8, 1, nil, op(schemas.OpPurged)))
	r.applied(last)
	r.want("0 7 8", `select concat_ws(' ', (select count(*) from hubspot.links), (select string_agg(record_id::text, ' ' order by 1) from hubspot.erased))`)
	r.want("8", `select string_agg(record_id, ' ') from hubspot.dead_letters`)
	r.want("8", `select string_agg(id::text, ' ') from hubspot.contacts`)

	s := r.newSink()
	if err := s.CheckErased(t.Context(), "contacts", 7); err != nil {
		t.Error(err)
	}
	if err := s.CheckErased(t.Context(), "contacts", 7, 8); err == nil || !strings.Contains(err.Error(), "contacts 8 (") || strings.Contains(err.Error(), "contacts 7 (") {
		t.Errorf("%v, want that 8 is still there", err)
	}
	// What was merged into it by way of another one is of the same person; 23 leads in a circle, and elsewhere.
	r.publish(event("contacts", 20, 1, props{"email": "e"}, op(schemas.OpMerged), mergedInto("7")), event("contacts", 21, 1, props{"email": "e"}, op(schemas.OpMerged), mergedInto("20")))
	r.applied(r.publish(event("contacts", 22, 1, props{"email": "e"}, op(schemas.OpMerged), mergedInto("23")), event("contacts", 23, 1, props{"email": "e"}, op(schemas.OpMerged), mergedInto("22"))))
	if err := s.CheckErased(t.Context(), "contacts", 7); err == nil || !strings.Contains(err.Error(), "contacts 20 (") ||
		!strings.Contains(err.Error(), "contacts 21 (") || strings.Contains(err.Error(), "contacts 22") {
		t.Errorf("%v, want that 20 and 21, which were merged into 7, are still there", err)
	}
	if err := s.CheckErased(t.Context(), "contacts", 22); err == nil || !strings.Contains(err.Error(), "contacts 23 (") {
		t.Errorf("%v, want that 22 and 23 are still there", err)
	}
	for _, id := range []int64{20, 21, 22, 23} {
		last = r.publish(event("contacts", id, 1, nil, op(schemas.OpPurged)))
	}
	r.applied(last)
	differences := func(o sink.VerifyOptions) (n int64) {
		reports, err := s.Verify(t.Context(), o, "contacts")
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []difference.Kind{difference.Missing, difference.Stale, difference.Value, difference.Ghost} {
			n += reports[0].Kinds[kind]
		}
		return n
	}
	if n := differences(sink.VerifyOptions{}); n != 1 {
		t.Errorf("%d differences, want contact 8", n)
	}
	r.applied(r.publish(late)) // an event that was read before
	r.want("0", `select count(*) from hubspot.contacts where id = 7`)

	redriven, err := s.Redrive(t.Context(), sink.DeadLetters{})
	if err != nil || len(redriven) != 1 || redriven[0].Outcome != sink.RedriveFailed {
		t.Errorf("%+v, %v, want that it is refused again", redriven, err)
	}
	r.exec(`alter table hubspot.contacts drop constraint mine`)
	redriven, err = s.Redrive(t.Context(), sink.DeadLetters{})
	if err != nil || len(redriven) != 1 || redriven[0].Outcome != sink.RedriveApplied {
		t.Errorf("%+v, %v, want that it is applied", redriven, err)
	}
	if err := s.CheckErased(t.Context(), "contacts", 7, 8); err != nil {
		t.Error(err)
	}
	r.noneOf(private)
}

func mergedInto(id string) func(*schemas.Event) {
	return func(e *schemas.Event) { e.MergedInto = id }
}
