package sink_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// outcomes redrives what is selected and returns what became of it, by sequence.
func (r *rig) outcomes(s *running, selected sink.DeadLetters) string {
	r.t.Helper()
	done, err := s.Redrive(r.t.Context(), selected)
	if err != nil {
		r.t.Fatal(err)
	}
	text := make([]string, len(done))
	for i, d := range done {
		text[i] = fmt.Sprint(d.Seq, " ", d.Outcome)
	}
	return strings.Join(text, ", ")
}

func (r *rig) wantOutcomes(s *running, want string, selected sink.DeadLetters) {
	r.t.Helper()
	if got := r.outcomes(s, selected); got != want {
		r.t.Errorf("redriven: %q, want %q", got, want)
	}
}

func TestARedrivenDeadLetterIsAppliedUnderItsOwnSequence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.applied(r.publish(definitions(t, "contacts", 0, "email", "string")))
	r.exec(`alter table hubspot.contacts add constraint short check (length(email) < 10)`)
	large := strings.Repeat("x", 1<<21) // the letter has its beginning only
	last := r.publish(
		event("contacts", 1, 0, props{"email": "much too long"}),
		event("contacts", 2, 0, props{"email": "too long as well"}),
		event("contacts", 3, 0, props{"email": large}),
		event("deals", 1, 0, props{"name": "d"}))
	r.applied(last)
	r.want("2 3 4", `select string_agg(seq::text, ' ' order by seq) from hubspot.dead_letters where sqlstate = '23514'`)
	last = r.publish(event("contacts", 2, 0, props{"email": "short"}))
	r.applied(last)

	// As long as the cause is there it fails again, and says so; what is newer is no failure.
	r.wantOutcomes(s, "2 failed, 3 applied, 4 failed", sink.DeadLetters{})
	r.want("2 2, 4 2", `select string_agg(concat(seq, ' ', tries), ', ' order by seq) from hubspot.dead_letters`)
	r.want("true", `select bool_and(last_at > first_at) from hubspot.dead_letters`)
	r.exec(`alter table hubspot.contacts drop constraint short`)
	r.wantOutcomes(s, "", sink.DeadLetters{Object: "deals"})
	r.wantOutcomes(s, "2 applied", sink.DeadLetters{Seqs: []int64{2}})
	r.wantOutcomes(s, "4 applied", sink.DeadLetters{Object: "contacts"})
	r.want("1 2 13, 2 6 5, 3 4 2097152", `select string_agg(concat(id, ' ', _seq, ' ', length(email)), ', ' order by id) from hubspot.contacts`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
	r.equalToTheLog(s)
}

func TestADeadLetterOfAnErasedRecordNeverComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.applied(r.publish(definitions(t, "contacts", 0, "email", "string"),
		event("contacts", 1, 0, nil, op(schemas.OpPurged), func(e *schemas.Event) { e.Archived = true })))
	secret := event("contacts", 1, 0, props{"email": "secret@x"})
	for i, id := range []string{"1", "unknown-00ff"} { // as a race may leave them
		r.exec(`insert into hubspot.dead_letters (stream, seq, origin, subject, object, record_id, reason, payload, headers)
			values ('HUBSPOT', $1, 'sink', $2, 'contacts', $3, 'x', $4, '{}')`, i+1, secret.Subject, id, secret.Data)
	}
	r.wantOutcomes(s, "", sink.DeadLetters{})
	r.want("0", `select count(*) from hubspot.dead_letters`)
	r.want("t null", `select concat(_purged, ' ', coalesce(email, 'null')) from hubspot.contacts`)
}

func TestADeadLetterOfTheSourceGoesOnceTheRecordWasRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	letter := func(id string) sink.Message {
		return control(t, 0, &schemas.DeadLetter{Portal: portal, Object: "contacts", ID: id, At: time.UnixMilli(1_700_000_000_000), Reason: "no record", Record: "{"})
	}
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "before"}), letter("1"), letter("unknown-00ff")))
	r.wantOutcomes(s, "2 ask, 3 ask", sink.DeadLetters{})
	r.want("2 2", `select string_agg(tries::text, ' ') from hubspot.dead_letters`)
	readSince := func(want string) {
		t.Helper()
		read, err := s.ReadSince(t.Context(), sink.DeadLetters{})
		if err != nil || fmt.Sprint(read) != want {
			t.Errorf("read since: %v, %v, want %s", read, err, want)
		}
	}
	readSince("[]")
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "after"})))
	readSince("[2]")
	r.wantOutcomes(s, "3 ask", sink.DeadLetters{})
	n, err := sink.DropDeadLetters(t.Context(), r.pool, schema, sink.DeadLetters{Seqs: []int64{3}})
	if err != nil || n != 1 {
		t.Errorf("%d dropped, %v", n, err)
	}
}
