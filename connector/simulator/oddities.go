package simulator

import (
	"strconv"
	"strings"
)

// oddity is a custom property whose values or name are hard to store.
type oddity struct {
	Property
	percent float64
	make    generator
	unsafe  bool
}

// oddities returns custom definitions of every type with the values that real portals hold: numbers no parser likes,
// dates that do not exist, text that databases refuse, names that collide.
func oddities(t *table) []*property {
	if t.object.Name != "contacts" {
		return fewOddities(t)
	}
	var list []*property
	for _, o := range append(oddValues(), oddNames()...) {
		list = append(list, o.definition())
	}
	return list
}

// fewOddities gives the other object types one custom property of the important types.
func fewOddities(t *table) []*property {
	var list []*property
	for _, o := range oddValues() {
		switch o.Name {
		case "custom_text", "custom_number", "custom_datetime_epoch", "custom_multi", "custom_nul", "custom_calculated":
			o.Group = t.object.Singular + "information"
			list = append(list, o.definition())
		}
	}
	return list
}

func (o oddity) definition() *property {
	o.Group = orDefault(o.Group, "contactinformation")
	d := newProperty(o.Property)
	d.make, d.fill, d.plain = o.make, share(o.percent/100), !o.unsafe
	return d
}

func oddValues() []oddity {
	number := func(name string, percent float64, make generator) oddity {
		return oddity{Property{Name: name, Type: "number", FieldType: "number"}, percent, make, false}
	}
	text := func(name string, percent float64, make generator) oddity {
		return oddity{Property{Name: name, Type: "string", FieldType: "textarea"}, percent, make, true}
	}
	datetime := func(name string, make generator) oddity {
		return oddity{Property{Name: name, Type: "datetime", FieldType: "date"}, 5, make, false}
	}
	date := func(name string, make generator) oddity {
		return oddity{Property{Name: name, Type: "date", FieldType: "date"}, 5, make, false}
	}
	choices := []Option{{Label: "A 🅰", Value: "a"}, {Label: "B", Value: "b"}, {Label: "C; or not", Value: "c c", Hidden: true}}
	return []oddity{
		{Property{Name: "custom_text", Label: "Kundentext 🙂 \"x\""}, 10, genSentence, false},
		number("custom_number", 10, genMoney),
		number("custom_number_scientific", 5, oneOf("1.5E7", "2e-05", "-4.2E+3", "1E400", "6.02214076e23")),
		number("custom_number_thousands", 3, oneOf("1,234,567", "12,000.50")),
		number("custom_number_joined", 3, oneOf("3092727991;3881228353", "1;2;3")),
		number("custom_number_exact", 3, oneOf("9007199254740993", "1.10", "-0", "007", "99999999999999999999.000000000000000000001", "0.1")),
		number("custom_number_words", 1, oneOf("NaN", "Infinity", "n/a", "12 EUR")),
		{Property{Name: "custom_bool", Type: "bool", FieldType: "booleancheckbox"}, 10, oneOf("true", "false"), false},
		{Property{Name: "custom_bool_odd", Type: "bool", FieldType: "booleancheckbox"}, 1, oneOf("yes", "TRUE", "1"), false},
		date("custom_date", func(dst []byte, s *subject, h uint64) []byte { return appendDate(dst, s.moment(h)) }),
		date("custom_date_epoch", func(dst []byte, s *subject, h uint64) []byte { return appendInt(dst, s.moment(h)/day*day) }),
		date("custom_date_invalid", oneOf("2024-02-30", "2023-13-01", "0000-00-00", "tomorrow")),
		datetime("custom_datetime_epoch", func(dst []byte, s *subject, h uint64) []byte { return appendInt(dst, s.moment(h)) }),
		datetime("custom_datetime_float", func(dst []byte, s *subject, h uint64) []byte { return append(appendInt(dst, s.moment(h)), ".0"...) }),
		datetime("custom_datetime_plain", func(dst []byte, s *subject, h uint64) []byte {
			return append(appendTime(dst, s.moment(h))[:len(dst)+19], 'Z')
		}),
		datetime("custom_datetime_odd", oneOf("2024-09-19T04:30:45-08:00", "2024-12-01T00:00:00.123456Z", "+275760-09-13T00:00:00Z", "1969-12-31T23:59:59.999Z", "soon")),
		{Property{Name: "custom_choice", Type: "enumeration", FieldType: "select", Options: choices}, 10, oneOf("a", "b", "c c"), false},
		{Property{Name: "custom_choice_obsolete", Type: "enumeration", FieldType: "select", Options: choices}, 2, oneOf("gone", "A", "z"), false},
		{Property{Name: "custom_multi", Type: "enumeration", FieldType: "checkbox", Options: choices}, 10, oneOf("a;b", "a", "b;c c;a"), false},
		{Property{Name: "custom_phone", Type: "phone_number", FieldType: "phonenumber"}, 5, genPhone, false},
		{Property{Name: "custom_json", Type: "json"}, 2, fixed(`{"a":[1,2.50,"\u00e9"],"b":null}`), true},
		{Property{Name: "custom_coordinates", Type: "object_coordinates"}, 2, oneOf("0-1:123", "0-48:99"), false},
		{Property{Name: "custom_hidden", Hidden: true}, 5, genSentence, false},
		{Property{Name: "custom_calculated", Type: "number", FieldType: "calculation_equation", Calculated: true, ReadOnly: true, Formula: "custom_number * 2"}, 10, below(1000), false},
		{Property{Name: "custom_unique", Unique: true}, 50, genOwnID, false},
		{Property{Name: "custom_archived", Archived: true}, 5, genSentence, false},
		{Property{Name: "custom_secret", Sensitivity: "sensitive"}, 5, genSentence, false},
		{Property{Name: "custom_unknown_type", Type: "currency_number"}, 2, oneOf("12.5 EUR", "7"), false},
		text("custom_unicode", 5, oneOf("🧑🏽‍💻 O'Brien \"quoted\" \\ back/slash", "Žluťoučký kůň\r\n日本語\tعربي", "e\u0301 vs é \u202e RTL \u200d", "<b>&amp;</b> {\"json\":true}", " leading and trailing ", "\u2028\u2029\ufeff")),
		text("custom_nul", 0.5, oneOf("before\x00after", "\x00", "line\x01\x1f\x7f")),
		text("custom_surrogate", 0.5, oneOf("lone \xed\xa0\x80 high", "low \xed\xb0\x80", "\xed\xbf\xbf")),
		text("custom_long", 0.03, genLong),
	}
}

// oddNames are names that collide with each other, with words of SQL or with the columns of a table.
func oddNames() []oddity {
	long := "custom_" + strings.Repeat("x", 60)
	var list []oddity
	for _, name := range []string{
		long + "_first", long + "_second", "Custom_Case", "custom_case", "CUSTOM_CASE", "id", "_seq", "_archived", "_extra", "_merged_into",
		"_created_at", "_updated_at", "_synced_at", "xmin", "ctid", "tableoid", "select", "user", "order", "with space", "dotted.name", "größe", `quo"te`,
	} {
		list = append(list, oddity{Property{Name: name}, 3, genSentence, false})
	}
	return list
}

// genLong makes the longest text that HubSpot stores.
func genLong(dst []byte, _ *subject, h uint64) []byte {
	const limit = 65_536
	for n := 0; n < limit; n++ {
		dst = append(dst, byte('a'+(h+uint64(n)*7)%26))
	}
	return dst
}

func genOwnID(dst []byte, s *subject, _ uint64) []byte { return strconv.AppendInt(dst, s.id, 10) }
