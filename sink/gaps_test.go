package sink_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hubtail/hubtail/sink"
)

// forget takes from the tables that they know how far they are.
func (r *rig) forget() { r.exec(`truncate hubspot.positions`) }

// publishPages appends many messages.
func (r *rig) publishPages(messages []sink.Message) (last uint64) {
	for page := range slices.Chunk(messages, 1_000) {
		last = r.publishAll(page)
	}
	return last
}

const rowsDigest = `select md5(string_agg(t::text, ',' order by id)) from (select id, _seq, email, _archived from hubspot.contacts) t`

func TestOnlyWhatTheTablesLackIsReadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	random := rand.New(rand.NewPCG(5, 6))
	const records = 6_000
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	var page []sink.Message
	for id := range records {
		page = append(page, event("contacts", int64(id), 0, props{"email": "a@x"}))
	}
	for range 500 { // later versions: the row's sequence is another one
		page = append(page, event("contacts", random.Int64N(records), 0, props{"email": "b@x"}))
	}
	last := r.publishPages(page)
	s := r.start()
	r.applied(last)
	_ = s.stop()
	all := r.value(rowsDigest)

	for _, test := range []struct{ name, lose string }{
		{"nothing", `select`},
		{"a row here and there", `delete from hubspot.contacts where id % 97 = 3`},
		{"every other row of a stretch", `delete from hubspot.contacts where id between 1000 and 3500 and id % 2 = 0`},
		{"the end", `delete from hubspot.contacts where _seq > 5000`},
		{"older versions", `update hubspot.contacts set _seq = 2, email = 'old' where id % 113 = 5`},
	} {
		r.forget()
		r.exec(test.lose)
		before := r.js.Conn().Stats().InMsgs
		s := r.start()
		r.applied(last)
		if got := r.value(rowsDigest); got != all {
			t.Errorf("%s: the tables are not what they were", test.name)
		}
		_ = s.stop()
		read := r.js.Conn().Stats().InMsgs - before
		t.Logf("%s: %d messages came from the server", test.name, read)
		// What the 500 later versions made obsolete is in no table, and read.
		if test.name == "nothing" && read > records/4 {
			t.Errorf("nothing was lost, and %d messages were read", read)
		}
	}
}

func TestWhatIsGoneFromTheLogIsNotLookedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var page []sink.Message
	for id := range 5_000 {
		page = append(page, event("contacts", int64(id), 0, props{"email": "a@x"}))
	}
	last := r.publishPages(page)
	s := r.start()
	r.applied(last)
	_ = s.stop()
	// What is in the tables and no more in the log stays; what is in neither is no reason to stop.
	for seq := uint64(10); seq < last; seq += 50 {
		if err := r.stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	r.exec(`delete from hubspot.contacts where _seq % 100 = 10 or _seq % 100 = 11`)
	r.forget()
	s = r.start()
	r.applied(last)
	r.want("4950", `select count(*) from hubspot.contacts`)
	within(t, time.Minute, "the statistics", func() bool { return s.Stats().Position == last }) // the tables come first
	if stats := s.Stats(); stats.Written != 50 {
		t.Errorf("stats %+v", stats)
	}
}
