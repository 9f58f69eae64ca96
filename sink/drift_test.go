package sink_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/schemas"
)

func TestATypeChangeLosesNothing(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := setupOn(t, url)
		b.apply(definitions(t, "contacts", 1, "a", "string", "b", "number", "c", "datetime", "d", "bool", "e", "date"),
			event("contacts", 1, 2, props{"a": "12.50", "b": "7", "c": "2026-02-25T16:23:49.023Z", "d": "true", "e": "2024-02-29"}),
			event("contacts", 2, 3, props{"a": "twelve", "b": "1,5", "x": "y"}),
			event("contacts", 3, 4, props{"b": "3"}))
		b.apply(definitions(t, "contacts", 5, "a", "number", "b", "string", "c", "string", "d", "string", "e", "string"))
		b.want("numeric text text text text", `select string_agg(format_type(atttypid, atttypmod), ' ' order by attname) from pg_attribute
			where attrelid = 'hubspot.contacts'::regclass and attname in ('a', 'b', 'c', 'd', 'e')`)
		b.want("12.50 7 2026-02-25T16:23:49.023Z true 2024-02-29", `select concat_ws(' ', a, b, c, d, e) from hubspot.contacts where id = 1`)
		b.want(`1,5 {"a": "twelve", "x": "y"}`, `select concat_ws(' ', a, b, _extra) from hubspot.contacts where id = 2`)
		b.want("3", `select concat(a, b, c, _extra) from hubspot.contacts where id = 3`)
		b.want("text", `select column_type from hubspot.properties where name = 'b'`)
		b.want("2 3 4", `select string_agg(_seq::text, ' ' order by id) from hubspot.contacts`)
	})
}

func TestANewPropertyGetsAColumnAndItsEarlierValues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string"),
		event("contacts", 1, 2, props{"email": "a@x", "score": "5", "tier": "gold"}), event("contacts", 2, 3, props{"email": "b@x", "score": "high"}))
	b.apply(definitions(t, "contacts", 4, "email", "string", "score", "number"), event("contacts", 3, 5, props{"email": "c@x", "score": "6"}))
	b.want("5 6", `select string_agg(score::text, ' ' order by id) from hubspot.contacts`)
	b.want(`{"tier": "gold"} {"score": "high"}`, `select string_agg(_extra::text, ' ' order by id) from hubspot.contacts`)
}

func TestAnArchivedPropertyKeepsItsColumn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string", "old", "string"), event("contacts", 1, 2, props{"email": "a@x", "old": "o"}))
	b.apply(definitions(t, "contacts", 3, "email", "string"))
	b.want("o", `select old from hubspot.contacts`)
	b.want("email f, old t", `select string_agg(concat(name, ' ', archived), ', ' order by name) from hubspot.properties`)
	b.apply(definitions(t, "contacts", 4, "email", "string", "old", "string"))
	b.want("email f, old f", `select string_agg(concat(name, ' ', archived), ', ' order by name) from hubspot.properties`)
}

func TestAChangedLabelChangesTheComment(t *testing.T) {
	t.Parallel()
	b := setup(t)
	comment := `select col_description('hubspot.contacts'::regclass, attnum) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'email'`
	change := func(seq uint64, label string) {
		b.apply(control(t, seq, &schemas.PropertyDefinitions{Portal: portal, Object: "contacts",
			Properties: []schemas.Property{{Name: "email", Type: "string", Label: label, Options: []schemas.Option{{Value: "a\x00", Label: "A"}}}}}))
		b.want(strings.ReplaceAll(label, "\x00", "\uFFFD"), comment)
	}
	change(1, "E-mail")
	change(2, `It's "the" \ e-mail; drop table x; --`)
	change(3, "a\x00b")
	b.apply(control(t, 2, &schemas.PropertyDefinitions{Portal: portal, Object: "contacts", Properties: []schemas.Property{{Name: "email", Type: "number", Label: "older"}}}))
	b.want("a\uFFFDb", comment)
}

func TestNamesThatCollideGetAColumnEach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := strings.Repeat("very_long_name_", 5)
	names := []string{"id", "xmin", "_seq", "_extra", "select", `quo"te`, "Amount", "amount", long + "one", long + "two", "; drop table x; --", "with space", "ü"}
	var pairs []string
	values := props{}
	for _, n := range names {
		pairs = append(pairs, n, "string")
		values[n] = "value of " + n
	}
	b.apply(definitions(t, "contacts", 1, pairs...), event("contacts", 7, 2, values))
	for _, n := range names {
		column := b.value(`select column_name from hubspot.properties where name = $1`, n)
		b.want(values[n], `select `+pgx.Identifier{column}.Sanitize()+` from hubspot.contacts where id = 7`)
	}
	b.want("null", `select _extra from hubspot.contacts`)
	b.apply(event("links", 1, 3, props{"x": "y"}))
	table := b.value(`select table_name from hubspot.objects where object = 'links'`)
	b.want("1", `select count(*) from hubspot.`+pgx.Identifier{table}.Sanitize())
	b.want("0", `select count(*) from hubspot.links`)
}

func TestTheOwnersThingsSurviveDrift(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string", "amount", "string", "seen", "string"), event("contacts", 1, 2, props{"email": "a@x", "amount": "5"}))
	b.exec(`create index mine on hubspot.contacts (email)`)
	b.exec(`create view public.report as select email, amount from hubspot.contacts`)
	b.exec(`alter table hubspot.contacts add column note text default 'hello'`)
	b.exec(`alter table hubspot.contacts drop column seen`)
	b.apply(event("contacts", 1, 3, props{"email": "b@x", "amount": "6", "seen": "yes"}))
	b.want("b@x 6 hello", `select concat_ws(' ', email, amount, note) from hubspot.contacts`)
	b.want(`{"seen": "yes"}`, `select _extra from hubspot.contacts`)
	// A view holds the type of amount: it stays text. The dropped column comes back.
	b.apply(definitions(t, "contacts", 4, "email", "string", "amount", "number", "seen", "string", "new", "string"),
		event("contacts", 2, 5, props{"email": "c@x", "amount": "many", "new": "n"}))
	b.want("b@x 6", `select concat_ws(' ', email, amount) from public.report limit 1`)
	b.want("many n", `select concat_ws(' ', amount, new) from hubspot.contacts where id = 2`)
	b.want("yes", `select seen from hubspot.contacts where id = 1`)
	b.want("1", `select count(*) from pg_indexes where indexname = 'mine'`)
	b.want("text", `select column_type from hubspot.properties where name = 'amount'`)
}

func TestAnotherSinksChangeOfColumnsIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string"), event("contacts", 1, 2, props{"email": "a@x", "age": "5"}))
	other := b.newApplier()
	if err := other.Apply(t.Context(), []sinkMessage{definitions(t, "contacts", 3, "email", "string", "age", "number")}, 3); err != nil {
		t.Fatal(err)
	}
	b.apply(event("contacts", 1, 4, props{"email": "a@x", "age": "6"}))
	b.want("6", `select age from hubspot.contacts`)
	b.want("null", `select _extra from hubspot.contacts`)
}

func TestNothingIsReadableForSupabasesPublicRoles(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := setupOn(t, url)
		b.apply(definitions(t, "contacts", 1, "email", "string"), event("contacts", 1, 2, props{"email": "a@x"}), event("p_cars", 1, 3, nil),
			definitions(t, "owners", 4, "email", "string"))
		b.want("", `select coalesce(string_agg(relname, ' '), '') from pg_class
			where relnamespace = 'hubspot'::regnamespace and relkind in ('r', 'p') and not relrowsecurity`)
		b.want("0", `select count(*) from pg_policy`)
		b.want("true", `select count(*) >= 16 from pg_class where relnamespace = 'hubspot'::regnamespace and relkind = 'r'`)
		for _, role := range []string{"anon", "authenticated"} {
			tables := strings.Fields(b.value(`select string_agg(quote_ident(relname), ' ') from pg_class where relnamespace = 'hubspot'::regnamespace and relkind = 'r'`))
			for _, table := range tables {
				for _, how := range []string{"no rights", "with usage and select"} {
					err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
						if how != "no rights" { // what an owner may do by mistake
							if _, err := tx.Exec(t.Context(), `grant usage on schema hubspot to `+role+`; grant select on all tables in schema hubspot to `+role, pgx.QueryExecModeSimpleProtocol); err != nil {
								return err
							}
						}
						if _, err := tx.Exec(t.Context(), `set local role `+role); err != nil {
							return err
						}
						var n int
						if err := tx.QueryRow(t.Context(), `select count(*) from hubspot.`+table).Scan(&n); err == nil && (n > 0 || how == "no rights") {
							t.Errorf("%s reads %d rows of %s %s", role, n, table, how)
						}
						return pgx.ErrTxClosed // undo the grant
					})
					if err == nil {
						t.Error("the grant stayed")
					}
				}
			}
		}
	})
}

func TestDefinitionsThatNameAPropertyTwiceDoNoHarm(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string", "email", "number", "a\x00", "string", "a\uFFFD", "string"),
		event("contacts", 1, 2, props{"email": "a@x"}), event("bad\x00type", 1, 3, nil))
	b.want("a@x", `select email from hubspot.contacts`)
	b.want("3", `select seq from hubspot.dead_letters`)
}

func TestWhatTheOwnerBuiltOnAColumnKeepsItsType(t *testing.T) {
	t.Parallel()
	for name, ddl := range map[string]string{
		"index on an expression": `create index on hubspot.contacts (lower(email))`,
		"partial index":          `create index on hubspot.contacts (id) where email like 'a%'`,
		"check":                  `alter table hubspot.contacts add check (length(email) < 1000)`,
		"default":                `alter table hubspot.contacts alter column email set default 'nobody'`,
		"not null":               `alter table hubspot.contacts alter column email set not null`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.apply(definitions(t, "contacts", 1, "email", "string"), event("contacts", 1, 2, props{"email": "a@example.com"}))
			b.exec(ddl)
			b.apply(definitions(t, "contacts", 3, "email", "number", "fresh", "string"),
				event("contacts", 9, 4, props{"email": "5", "fresh": "f"}))
			b.want("5 f", `select concat_ws(' ', email, fresh) from hubspot.contacts where id = 9`)
			b.want("a@example.com", `select coalesce(email, _extra->>'email') from hubspot.contacts where id = 1`)
			b.want("0", `select count(*) from hubspot.dead_letters`)
		})
	}
}
