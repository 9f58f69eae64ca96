package sink_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// private is in every value of the record that is deleted for privacy.
const private = "mustermann-4711"

// privateMessages are all kinds of messages that can have values of contact 7, or name it, and its end.
func privateMessages(t testing.TB) []sink.Message {
	link := func(id, label string) []schemas.Link {
		return []schemas.Link{{ID: id, Category: "USER_DEFINED", TypeID: 1, Label: label}}
	}
	broken := event("contacts", 7, 5, props{"email": private + "@broken.example"})
	broken.Data = append([]byte("{"), broken.Data...)
	return []sink.Message{
		event("contacts", 7, 2, props{"email": private + "@a.example", "unknown": private}),
		event("contacts", 7, 3, props{"email": private + "@b.example"}, func(e *schemas.Event) {
			e.Changed, e.Previous = []string{"email"}, schemas.MakeProperties(props{"email": private + "@a.example"})
		}),
		control(t, 4, &schemas.Links{Portal: portal, From: "contacts", ID: "7", To: "companies", Links: link("5", private)}),
		broken,
		control(t, 6, &schemas.Links{Portal: portal, From: "companies", ID: "5", To: "contacts", Links: append(link("7", private), link("8", "")...)}),
		control(t, 7, &schemas.DeadLetter{Portal: portal, Object: "contacts", ID: "7", Reason: "cut", Record: `{"id":"7","email":"` + private + `"}`}),
		control(t, 8, &schemas.DeadLetter{Portal: portal, Object: "contacts", ID: "unknown-1", Reason: "no id", Record: `{"hs_object_id":"7","email":"` + private + `"}`}),
		event("contacts", 8, 9, props{"email": "someone@else.example"}),
		event("contacts", 7, 10, nil, op(schemas.OpPurged)),
	}
}

// dump returns every row of every table as text.
func (b *bundle) dump() string {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `select table_name from information_schema.tables where table_schema = $1 and table_type = 'BASE TABLE'`, schema)
	if err != nil {
		b.t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		all.WriteString(b.value(`select string_agg(t::text, E'\n') from ` + pgx.Identifier{schema, name}.Sanitize() + ` t`))
		if name == "dead_letters" { // a bytea's text is hexadecimal
			all.WriteString(b.value(`select string_agg(encode(payload, 'escape') || headers::text, E'\n') from hubspot.dead_letters`))
		}
	}
	return all.String()
}

func TestADeletionForPrivacyLeavesNoValueInAnyTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string"))
	messages := privateMessages(t)
	for _, m := range messages[:8] {
		b.apply(m)
	}
	if n := strings.Count(b.dump(), private); n != 6 { // in the row, two links, three dead letters
		t.Fatalf("%d values before", n)
	}
	b.apply(messages[8])
	b.noneOf(private)
	b.want("7 true true", `select concat_ws(' ', id, case when _purged then 'true' end, case when _archived then 'true' end) from hubspot.contacts where id = 7`)
	b.want("companies 5 contacts 8", `select concat_ws(' ', from_object, from_id, to_object, to_id) from hubspot.links`)
	b.want("someone@else.example", `select email from hubspot.contacts where id = 8`)
	b.want("contacts 7 10", `select concat_ws(' ', object, record_id, _seq) from hubspot.erased`)

	// A replay brings nothing back, nor does what comes later: a set of links that another record still has, a dead letter.
	b.apply(messages...)
	b.apply(
		control(t, 11, &schemas.Links{Portal: portal, From: "companies", ID: "6", To: "contacts", Links: []schemas.Link{{ID: "7", Category: "USER_DEFINED", TypeID: 1, Label: private}}}),
		control(t, 12, &schemas.DeadLetter{Portal: portal, Object: "contacts", ID: "7", Reason: "cut", Record: private}),
		event("contacts", 7, 13, props{"email": private + "@late.example"}),
	)
	b.noneOf(private)
	b.want("0", `select count(*) from hubspot.links where to_id = 7 or from_id = 7 and from_object = 'contacts'`)
	b.want("10", `select _seq from hubspot.contacts where id = 7`)
}

func (b *bundle) noneOf(text string) {
	b.t.Helper()
	for line := range strings.Lines(b.dump()) {
		if strings.Contains(line, text) {
			b.t.Errorf("still there: %.200s", line)
		}
	}
}

// TestADeletionForPrivacyAmongManyNewRecords has rows go in by COPY, of a batch whose other rows have values.
func TestADeletionForPrivacyAmongManyNewRecords(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var messages []sink.Message
	for id := int64(1); id <= 300; id++ {
		if id%3 == 0 {
			messages = append(messages, event("contacts", id, uint64(id), nil, op(schemas.OpPurged)))
		} else {
			messages = append(messages, event("contacts", id, uint64(id), props{"email": "a@b.example", "unknown": "u"}))
		}
	}
	b.apply(messages...)
	b.want("100 0", `select concat_ws(' ', count(*), count(_extra)) from hubspot.contacts where _purged`)
	b.want("200 200", `select concat_ws(' ', count(*), count(_extra)) from hubspot.contacts where not _purged`)
	b.want("100", `select count(*) from hubspot.erased`)
}

// TestADeletionForPrivacyWinsInAnyOrder applies the messages shuffled, repeated, in batches of any size, to tables that are
// new or not.
func TestADeletionForPrivacyWinsInAnyOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rng := rand.New(rand.NewPCG(11, 4))
	for round := range 12 {
		b.exec(`drop table if exists hubspot.contacts; delete from hubspot.objects; delete from hubspot.properties;
delete from hubspot.links; delete from hubspot.link_sets; delete from hubspot.dead_letters; delete from hubspot.erased; delete from hubspot.positions`)
		b.applier = b.newApplier()
		b.apply(definitions(t, "contacts", 1, "email", "string"))
		messages := append(privateMessages(t), event("contacts", 7, 13, props{"email": private + "@late.example"}))
		messages = append(messages, messages...)
		rng.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
		for rest := messages; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(8))
			b.apply(slices.Clone(rest[:n])...)
			rest = rest[n:]
		}
		b.noneOf(private)
		b.want("companies 5 contacts 8", `select string_agg(concat_ws(' ', from_object, from_id, to_object, to_id), ', ') from hubspot.links`)
		if t.Failed() {
			var order []string
			for _, m := range messages {
				order = append(order, fmt.Sprint(m.Seq))
			}
			t.Fatalf("round %d, in the order %v", round, order)
		}
	}
}
