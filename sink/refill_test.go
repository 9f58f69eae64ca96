package sink_test

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/sink"
)

// TestARefillThatMeetsAnotherSinkIsWhole lets a key be there already when a refill adds rows, as it is when another sink is faster.
func TestARefillThatMeetsAnotherSinkIsWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "n", "number"))
	var page []sink.Message
	for id := range int64(120) {
		page = append(page, event("contacts", id+1, 0, props{"n": "1e3"}))
	}
	r.applied(r.publishAll(page))
	_ = s.stop()
	r.exec(`delete from hubspot.contacts where id > 60`)
	r.exec(`create sequence public.added`)
	r.exec(`create function public.other() returns trigger language plpgsql as $$ begin
		if nextval('public.added') = 1 then raise unique_violation; end if; return new; end $$`)
	r.exec(`create trigger other before insert on hubspot.contacts for each row execute function public.other()`)
	last := r.publish(definitions(t, "contacts", 0, "n", "string"))
	s = r.start()
	r.applied(last)
	r.reshaped()
	r.want("120", `select count(*) from hubspot.contacts where n = '1e3'`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
	r.equalToTheLog(s)
}

// TestWhatAKilledSinkLeftIsTakenUp asks for a refill that the sink that runs has not been told of.
func TestWhatAKilledSinkLeftIsTakenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(func(c *sink.Config) { sink.SetShapeIdle(c, 50*time.Millisecond) })
	r.applied(r.publish(definitions(t, "contacts", 0, "n", "string"), event("contacts", 1, 0, props{"n": "1e3"})))
	r.reshaped()
	r.exec(`update hubspot.contacts set n = '1000'`)
	r.exec(`update hubspot.objects set refill = true`)
	r.reshaped()
	r.want("1e3", `select n from hubspot.contacts`)
	r.equalToTheLog(s)
}
