package sink_test

import (
	"testing"

	"github.com/hubtail/hubtail/sink"
)

// While a table is being filled, what is there is not looked at: a row that is there all the same must do no harm.
func TestARowAmongNewOnesIsReplacedAllTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	page := func(first, seq uint64) (messages []sink.Message) {
		for i := range uint64(200) {
			messages = append(messages, event("contacts", int64(first+i), seq+i, props{"email": "a@x"}))
		}
		return messages
	}
	b.apply(definitions(t, "contacts", 1, "email", "string"))
	b.apply(page(0, 10)...)
	b.apply(page(1_000, 300)...)
	// Two that are there, one of them newer than what comes now.
	b.apply(event("contacts", 2_001, 5_000, props{"email": "newer@x"}), event("contacts", 2_002, 400, props{"email": "older@x"}))
	b.apply(page(3_000, 600)...)
	b.apply(page(4_000, 900)...)
	b.apply(page(2_000, 2_000)...)
	b.want("newer@x 5000 a@x 2002 1000", `select concat_ws(' ', (select email from hubspot.contacts where id = 2001),
		(select _seq from hubspot.contacts where id = 2001), (select email from hubspot.contacts where id = 2002),
		(select _seq from hubspot.contacts where id = 2002), (select count(*) from hubspot.contacts))`)
	b.want("0", `select count(*) from hubspot.dead_letters`)
}

func TestAnUnchangedRowWritesNoWAL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var messages []sink.Message
	for i := range uint64(1_000) {
		messages = append(messages, event("contacts", int64(i), 10+i, props{"email": "a@x"}))
	}
	b.apply(definitions(t, "contacts", 1, "email", "string"))
	b.apply(messages...)
	b.exec(`vacuum hubspot.contacts`) // hint bits are set, which may be logged
	// Other tests write WAL too: pages of this table are looked at instead, which tell when they were last written to.
	pages := `select string_agg(xmax::text || xmin::text || ctid::text, ',' order by id) from hubspot.contacts`
	before := b.value(pages)
	b.apply(messages...) // looked at before decoding
	b.applier = b.newApplier()
	b.apply(messages[:50]...) // few are not looked at
	if b.value(pages) != before {
		t.Error("rows were written or locked")
	}
}
