package proof_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/internal/proof"
)

var (
	created  = time.Date(2024, 3, 1, 12, 30, 0, 250e6, time.UTC)
	modified = created.Add(36 * time.Hour)
)

func record(id string, values map[string]string) proof.Record {
	return proof.Record{ID: id, Properties: values, CreatedAt: created, UpdatedAt: modified}
}

// odd is text that Postgres cannot hold: a NUL, and half an emoji in the form that the codec gives it.
const odd = "nul \x00 half \xed\xa0\xbd end"

// records are a record of every state, with a value of every type, in columns and in _extra.
func records() []proof.Record {
	archived, merged := record("30", map[string]string{"name": "gone"}), record("40", map[string]string{"name": "loser"})
	archived.Archived = true
	merged.MergedInto = "10"
	return []proof.Record{
		record("10", map[string]string{
			"name": "Zoë 🙂 \"x\"", "amount": "1234.50", "vip": "true", "since": "2024-02-29", "seen": "2024-03-02T10:00:00.123Z",
			"stage": "won", "later": "no column yet",
		}),
		record("20", map[string]string{
			"name": odd, "amount": "1,234", "vip": "perhaps", "since": "2024-02-30", "seen": "yesterday", "stage": "\xed\xb0\x80",
		}),
		record("25", map[string]string{"amount": "1.5E+3", "since": "1709164800000", "seen": "1709373600123"}),
		archived,
		merged,
		{ID: "50", CreatedAt: created, UpdatedAt: modified, Purged: true},
		record("60", nil),
	}
}

func newContacts(t *testing.T) *tables {
	tb := newTables(t)
	tb.define("contacts", "name", "string", "amount", "number", "vip", "bool", "since", "date", "seen", "datetime", "stage", "enumeration")
	for _, r := range records() {
		tb.put("contacts", r)
	}
	return tb
}

func TestEqualTablesAreEqual(t *testing.T) {
	t.Parallel()
	r := newContacts(t).compare("contacts", all(records()))
	if !r.Equal() || r.Source != 7 || r.Rows != 7 || r.Values != 17 || len(r.Examples) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestEveryDifferenceIsFoundAndNamed changes real tables in one place at a time.
func TestEveryDifferenceIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	tb := newContacts(t)
	tests := map[string]struct {
		change string
		want   outcome
		named  string
	}{
		"missing row":              {"delete from hubspot.contacts where id = 25", outcome{missing: 1}, "25"},
		"first row missing":        {"delete from hubspot.contacts where id = 10", outcome{missing: 1}, "10"},
		"last row missing":         {"delete from hubspot.contacts where id = 60", outcome{missing: 1}, "60"},
		"all rows missing":         {"truncate hubspot.contacts", outcome{missing: 5}, "60"}, // the purged and the merged one may never have been read
		"superfluous row":          {"insert into hubspot.contacts (id, _seq) values (15, 1)", outcome{extra: 1}, "15"},
		"superfluous row first":    {"insert into hubspot.contacts (id, _seq) values (-1, 1)", outcome{extra: 1}, "-1"},
		"superfluous row last":     {"insert into hubspot.contacts (id, _seq) values (99, 1)", outcome{extra: 1}, "99"},
		"wrong id":                 {"update hubspot.contacts set id = 26 where id = 25", outcome{missing: 1, extra: 1}, "26"},
		"wrong text":               {"update hubspot.contacts set name = 'Zoe' where id = 10", outcome{different: 1}, "name"},
		"text with a space more":   {"update hubspot.contacts set name = name || ' ' where id = 10", outcome{different: 1}, "name"},
		"wrong enumeration":        {"update hubspot.contacts set stage = 'lost' where id = 10", outcome{different: 1}, "stage"},
		"wrong number":             {"update hubspot.contacts set amount = 1234.51 where id = 10", outcome{different: 1}, "amount"},
		"number not a number":      {"update hubspot.contacts set amount = 'NaN' where id = 10", outcome{different: 1}, "amount"},
		"wrong bool":               {"update hubspot.contacts set vip = false where id = 10", outcome{different: 1}, "vip"},
		"wrong date":               {"update hubspot.contacts set since = '2024-02-28' where id = 10", outcome{different: 1}, "since"},
		"date off by an era":       {"update hubspot.contacts set since = '2024-02-28 BC' where id = 10", outcome{different: 1}, "since"},
		"wrong datetime":           {"update hubspot.contacts set seen = seen + interval '1 ms' where id = 10", outcome{different: 1}, "seen"},
		"datetime in another zone": {"update hubspot.contacts set seen = seen + interval '1 hour' where id = 10", outcome{different: 1}, "seen"},
		"datetime infinity":        {"update hubspot.contacts set seen = 'infinity' where id = 10", outcome{different: 1}, "seen"},
		"lost value":               {"update hubspot.contacts set stage = null where id = 10", outcome{different: 1}, "stage"},
		"empty instead of text":    {"update hubspot.contacts set name = '' where id = 10", outcome{different: 1}, "name"},
		"lost value of _extra":     {"update hubspot.contacts set _extra = _extra - 'amount' where id = 20", outcome{different: 1}, "amount"},
		"lost _extra":              {"update hubspot.contacts set _extra = null where id = 10", outcome{different: 1}, "later"},
		"wrong _extra":             {`update hubspot.contacts set _extra = _extra || '{"amount": "1.234"}' where id = 20`, outcome{different: 1}, "amount"},
		"_extra of another type":   {`update hubspot.contacts set _extra = _extra || '{"amount": 1234}' where id = 20`, outcome{different: 1}, "amount"},
		"_extra null":              {`update hubspot.contacts set _extra = 'null' where id = 60`, outcome{different: 1}, "_extra"},
		"_extra a list":            {`update hubspot.contacts set _extra = '[]' where id = 60`, outcome{different: 1}, "_extra"},
		"value in both places":     {`update hubspot.contacts set _extra = '{"later": "no column yet", "amount": "1234.50"}' where id = 10`, outcome{different: 1}, "amount"},
		"superfluous value":        {"update hubspot.contacts set stage = 'won' where id = 60", outcome{different: 1}, "60"},
		"superfluous empty value":  {"update hubspot.contacts set stage = '' where id = 60", outcome{different: 1}, "60"},
		"superfluous in _extra":    {`update hubspot.contacts set _extra = '{"x": "y"}' where id = 60`, outcome{different: 1}, "60"},
		"NUL lost":                 {`update hubspot.contacts set _extra = _extra || '{"name": "nul  half  end"}' where id = 20`, outcome{different: 1}, "name"},
		"lone surrogate replaced":  {`update hubspot.contacts set _extra = jsonb_set(_extra, '{stage}', '"�"') where id = 20`, outcome{different: 1}, "stage"},
		"archived, says the table": {"update hubspot.contacts set _archived = true where id = 10", outcome{different: 1}, "_archived"},
		"live, says the table":     {"update hubspot.contacts set _archived = false where id = 30", outcome{different: 1}, "_archived"},
		"merged one shown live":    {"update hubspot.contacts set _archived = false where id = 40", outcome{different: 1}, "_archived"},
		"merge not noticed":        {"update hubspot.contacts set _merged_into = null where id = 40", outcome{different: 1}, "_merged_into"},
		"merged into another":      {"update hubspot.contacts set _merged_into = 20 where id = 40", outcome{different: 1}, "_merged_into"},
		"merge that was none":      {"update hubspot.contacts set _merged_into = 20 where id = 10", outcome{different: 1}, "_merged_into"},
		"value of a purged record": {"update hubspot.contacts set name = 'secret' where id = 50", outcome{different: 1}, "purged"},
		"purge not carried out":    {"update hubspot.contacts set _purged = false where id = 50", outcome{different: 1}, "_purged"},
		"purge that was none":      {"update hubspot.contacts set _purged = true where id = 10", outcome{different: 1}, "_purged"},
		"older _updated_at":        {"update hubspot.contacts set _updated_at = _updated_at - interval '1 ms' where id = 10", outcome{different: 1}, "_updated_at"},
		"no _updated_at":           {"update hubspot.contacts set _updated_at = null where id = 10", outcome{different: 1}, "_updated_at"},
		"wrong _created_at":        {"update hubspot.contacts set _created_at = _created_at + interval '1 s' where id = 10", outcome{different: 1}, "_created_at"},
		"two rows":                 {"update hubspot.contacts set vip = null where id in (10, 20); delete from hubspot.contacts where id = 30", outcome{different: 1, missing: 1}, "vip"},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		test := tests[name]
		r := tb.changed("contacts", test.change, func() proof.Result { return tb.compare("contacts", all(records())) })
		if outcomeOf(r) != test.want || r.Equal() {
			t.Errorf("%s: found %+v, want %+v\n%s", name, outcomeOf(r), test.want, strings.Join(r.Examples, "\n"))
		}
		if !strings.Contains(strings.Join(r.Examples, "\n"), test.named) {
			t.Errorf("%s: no example names %q: %q", name, test.named, r.Examples)
		}
	}
	if r := tb.compare("contacts", all(records())); !r.Equal() {
		t.Errorf("undone changes leave %+v", r)
	}
}

// TestLossyColumnsAreDifferent has tables whose columns hold less than HubSpot's text says.
func TestLossyColumnsAreDifferent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ property, raw, column string }{
		"time of day lost":         {"since", "2024-02-29T10:00:00Z", "'2024-02-29'"},
		"epoch with a time of day": {"since", "1709200000000", "'2024-02-29'"},
		"nanoseconds lost":         {"seen", "2024-03-02T10:00:00.123456789Z", "'2024-03-02 10:00:00.123456+00'"},
		"zone lost":                {"seen", "2024-03-02T10:00:00+05:00", "'2024-03-02 10:00:00+00'"},
		"number cut off":           {"amount", "0.10000000000000000001", "0.1"},
		"big number rounded":       {"amount", "9007199254740993", "9007199254740992"},
		"separators read as words": {"amount", "1_000", "1000"},
		"fraction":                 {"amount", "1/2", "0.5"},
		"other base":               {"amount", "0x10", "16"},
		"bool from a word":         {"vip", "yes", "true"},
		"bool in capitals":         {"vip", "TRUE", "true"},
	}
	tb := newContacts(t)
	for name, test := range tests {
		change := "update hubspot.contacts set " + test.property + " = " + test.column + " where id = 60"
		truth := records()
		truth[len(truth)-1].Properties = map[string]string{test.property: test.raw}
		r := tb.changed("contacts", change, func() proof.Result { return tb.compare("contacts", all(truth)) })
		if outcomeOf(r) != (outcome{different: 1}) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestOneMeaningInOtherTextIsEqual(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ property, raw, column string }{
		"exponent":               {"amount", "1.5E+3", "1500"},
		"zeros at the end":       {"amount", "1.10", "1.1000"},
		"date as epoch":          {"since", "1709164800000", "'2024-02-29'"},
		"datetime as epoch":      {"seen", "1709373600123", "'2024-03-02 10:00:00.123+00'"},
		"datetime, epoch, point": {"seen", "1709373600123.0", "'2024-03-02 10:00:00.123+00'"},
		"datetime in a zone":     {"seen", "2024-03-02T12:00:00+0200", "'2024-03-02 10:00:00+00'"},
		"value kept as text":     {"amount", "1500", `null, _extra = '{"amount": "1500"}'`},
	}
	tb := newContacts(t)
	// Whatever the server's own settings are.
	tb.exec("set timezone = 'America/Caracas'; set datestyle = 'SQL, DMY'; set extra_float_digits = 0")
	for name, test := range tests {
		change := "update hubspot.contacts set " + test.property + " = " + test.column + " where id = 60"
		truth := records()
		truth[len(truth)-1].Properties = map[string]string{test.property: test.raw}
		r := tb.changed("contacts", change, func() proof.Result { return tb.compare("contacts", all(truth)) })
		if !r.Equal() {
			t.Errorf("%s: %v", name, r.Examples)
		}
	}
}

func TestColumnsMayHaveOtherNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long_", 20)
	values := map[string]string{"_archived": "a value", "id": "7", "_extra": "b", long + "a": "1", long + "b": "2", "Name": "c", "name": "d"}
	truth := []proof.Record{record("1", values)}
	tb := newTables(t)
	tb.define("deals", "_archived", "string", "id", "number", "_extra", "string", long+"a", "string", long+"b", "string", "Name", "string", "name", "string")
	tb.put("deals", truth[0])
	if r := tb.compare("deals", all(truth)); !r.Equal() || r.Values != len(values) {
		t.Errorf("%+v", r)
	}
	truth[0].Properties = maps.Clone(values)
	truth[0].Properties[long+"a"], truth[0].Properties[long+"b"] = "2", "1"
	if r := tb.compare("deals", all(truth)); r.Equal() {
		t.Error("values in each other's columns count as equal")
	}
}

func TestAnUnreadableSourceOrNoTableIsAnErrorNotAVerdict(t *testing.T) {
	t.Parallel()
	tb := newContacts(t)
	broken := errors.New("connection lost")
	_, err := proof.Compare(t.Context(), tb.conn, schema, "contacts", func(yield func(proof.Record, error) bool) {
		if yield(records()[0], nil) {
			yield(proof.Record{}, broken)
		}
	})
	if !errors.Is(err, broken) {
		t.Errorf("source breaks off: %v", err)
	}
	for object, truth := range map[string][]proof.Record{"deals": nil, "contacts": {{ID: "x"}}} {
		if r, err := proof.Compare(t.Context(), tb.conn, schema, object, all(truth)); err == nil {
			t.Errorf("%s %v: %+v and no error", object, truth, r)
		}
	}
	if r := tb.compare("contacts", all(records())); !r.Equal() {
		t.Errorf("the connection is not usable afterwards: %+v", r)
	}
}

func TestExamplesAreBounded(t *testing.T) {
	t.Parallel()
	tb := newContacts(t)
	tb.exec("insert into hubspot.contacts (id, _seq) select 1000 + n, 1 from generate_series(1, 5000) n")
	if r := tb.compare("contacts", all(records())); r.Extra != 5000 || len(r.Examples) > 20 {
		t.Errorf("%d superfluous, %d examples", r.Extra, len(r.Examples))
	}
}
