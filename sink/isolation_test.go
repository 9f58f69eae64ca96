package sink_test

import (
	"fmt"
	"math/bits"
	"strconv"
	"testing"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// TestManyBadEventsInOneBatchAreIsolatedInBoundedWork: each bad event costs its way down the halves, not a transaction per
// event of the batch, and is kept with reason, SQLSTATE, payload and times.
func TestManyBadEventsInOneBatchAreIsolatedInBoundedWork(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string"))
	b.exec(`create sequence public.tries`) // survives rollbacks
	b.exec(`create function public.refuse() returns trigger language plpgsql as $$
		begin
			perform nextval('public.tries');
			if exists (select from new where email = 'bad') then raise exception 'refused by the owner' using errcode = '23514'; end if;
			return null;
		end $$`)
	b.exec(`create trigger refuse after insert on hubspot.contacts referencing new table as new for each statement execute function public.refuse()`)
	const events, bad = 512, 5
	var batch []sink.Message
	for i := range int64(events) {
		email := "good"
		if i%(events/bad) == 7 {
			email = "bad"
		}
		batch = append(batch, event("contacts", i, uint64(2+i), props{"email": email}))
	}
	b.apply(batch...)
	dead, err := strconv.Atoi(b.value(`select count(*) from hubspot.dead_letters`))
	if err != nil || dead < bad {
		t.Fatalf("%d dead letters, %v", dead, err)
	}
	b.want(fmt.Sprint(events-dead), `select count(*) from hubspot.contacts where email = 'good'`)
	b.want("0", `select count(*) from hubspot.contacts where email = 'bad'`)
	b.want("true", `select bool_and(sqlstate = '23514' and reason = 'refused by the owner' and payload is not null and object = 'contacts'
		and record_id is not null and tries = 1 and first_at <= last_at) from hubspot.dead_letters`)
	// A segment that has a bad event is tried as a whole, by COPY or by upsert, before it is halved.
	tries, err := strconv.Atoi(b.value(`select last_value from public.tries`))
	if err != nil {
		t.Fatal(err)
	}
	if most := dead * 2 * (bits.Len(events) + 1); tries > most {
		t.Errorf("%d statements for %d bad events among %d, want at most %d", tries, dead, events, most)
	}
	// Met again, they are tried again.
	b.apply(batch...)
	b.want(fmt.Sprint(dead, " ", 2), `select concat(count(*), ' ', max(tries)) from hubspot.dead_letters`)
}

// TestABadMessageOfAnyKindIsIsolated: whatever kind of message cannot be read or stored is a dead letter, and its neighbours
// of every kind are applied.
func TestABadMessageOfAnyKindIsIsolated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pipelines := func(seq uint64, id string) sink.Message {
		return control(t, seq, &schemas.Pipelines{Portal: portal, Object: "deals", Pipelines: []schemas.Pipeline{{ID: id, Label: id}}})
	}
	cut := func(m sink.Message) sink.Message {
		m.Data = m.Data[:len(m.Data)/2]
		return m
	}
	b.apply(
		definitions(t, "contacts", 1, "email", "string"),
		cut(definitions(t, "contacts", 2, "email", "number")),
		event("contacts", 1, 3, props{"email": "a"}),
		cut(event("contacts", 2, 4, props{"email": "b"})),
		cut(pipelines(5, "bad")),
		pipelines(6, "good"),
		links(t, 7, "1", "companies", schemas.Link{ID: "2", Category: "HUBSPOT_DEFINED", TypeID: 1}),
		links(t, 8, "1", "deals", schemas.Link{ID: "no number", Category: "HUBSPOT_DEFINED", TypeID: 1}),
		cut(links(t, 9, "1", "tickets", schemas.Link{ID: "3", Category: "HUBSPOT_DEFINED", TypeID: 1})),
		cut(control(t, 10, &schemas.Cursor{Portal: portal, Object: "contacts", Instance: "i"})),
		event("contacts", 3, 11, props{"email": "c"}),
	)
	b.want("2 4 5 8 9 10", `select string_agg(seq::text, ' ' order by seq) from hubspot.dead_letters`)
	b.want("0", `select count(*) from hubspot.dead_letters where reason = '' or payload is null or subject = ''`)
	b.want("1 3", `select string_agg(id::text, ' ' order by id) from hubspot.contacts`)
	b.want("good", `select string_agg(id, ' ') from hubspot.pipelines`)
	b.want("companies", `select string_agg(to_object, ' ') from hubspot.links`)
	b.want("11", `select seq from hubspot.positions`)
}
