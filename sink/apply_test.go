package sink_test

import (
	"testing"

	"github.com/hubtail/hubtail/internal/pgtest"
)

func TestEventsBecomeTypedRows(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := setupOn(t, url)
		b.apply(
			definitions(t, "contacts", 1, "email", "string", "age", "number", "optin", "bool", "birthday", "date", "seen", "datetime"),
			event("contacts", 7, 2, props{
				"email": "ann@example.com 🎉", "age": "41.50", "optin": "true", "birthday": "1984-02-29", "seen": "2026-02-25T16:23:49.023Z",
			}),
			event("contacts", 8, 3, props{"age": "1,234", "birthday": "2023-02-29", "seen": "1600000000000.0", "email": "a\x00b"}),
		)
		b.want("ann@example.com 🎉", `select email from hubspot.contacts where id = 7`)
		b.want("41.50", `select age from hubspot.contacts where id = 7`)
		b.want("true", `select optin from hubspot.contacts where id = 7`)
		b.want("1984-02-29", `select birthday from hubspot.contacts where id = 7`)
		b.want("2026-02-25 16:23:49.023", `select seen at time zone 'UTC' from hubspot.contacts where id = 7`)
		b.want("null", `select _extra from hubspot.contacts where id = 7`)
		b.want("2", `select _seq from hubspot.contacts where id = 7`)
		b.want("2020-09-13 12:26:40", `select seen at time zone 'UTC' from hubspot.contacts where id = 8`)
		b.want(`{"age": "1,234", "email": {"json": "\"a\\u0000b\""}, "birthday": "2023-02-29"}`, `select _extra from hubspot.contacts where id = 8`)
		b.want("3", `select seq from hubspot.positions`)
		b.want("Label of email", `select col_description('hubspot.contacts'::regclass, attnum) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'email'`)
		b.want("0", `select count(*) from hubspot.dead_letters`)
	})
}
