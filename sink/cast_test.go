package sink

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/internal/pgtest"
)

// castCases are values of every kind with the text Postgres shows for them, "" if they do not fit.
var castCases = []struct {
	typ       columnType
	raw, want string
}{
	{typeText, "x", "x"}, {typeText, "é🎉\u200d", "é🎉\u200d"}, {typeText, " ", " "},
	{typeText, "a\x00b", ""}, {typeText, "\xed\xa0\x80", ""},

	{typeNumeric, "0", "0"}, {typeNumeric, "-0", "0"}, {typeNumeric, "12", "12"}, {typeNumeric, "1.10", "1.10"}, {typeNumeric, "-0.001", "-0.001"},
	{typeNumeric, "12345678901234567890.123", "12345678901234567890.123"}, {typeNumeric, "10000", "10000"}, {typeNumeric, "100000000", "100000000"},
	{typeNumeric, "1e5", "100000"}, {typeNumeric, "1.50e1", "15.0"}, {typeNumeric, "1E-3", "0.001"}, {typeNumeric, "2.5e+2", "250"},
	{typeNumeric, "0.00", "0.00"}, {typeNumeric, "0e-3", "0.000"}, {typeNumeric, "9007199254740993", "9007199254740993"},
	{typeNumeric, "1e1000", "1" + strings.Repeat("0", 1000)}, {typeNumeric, "1e-1000", "0." + strings.Repeat("0", 999) + "1"},
	{typeNumeric, "1e1001", ""}, {typeNumeric, "01", ""}, {typeNumeric, "+1", ""}, {typeNumeric, "1.", ""}, {typeNumeric, ".5", ""}, {typeNumeric, "1,234", ""},
	{typeNumeric, "NaN", ""}, {typeNumeric, "Infinity", ""}, {typeNumeric, " 1", ""}, {typeNumeric, "1e", ""}, {typeNumeric, "0x10", ""}, {typeNumeric, "1;2", ""},
	{typeNumeric, "-", ""}, {typeNumeric, "", ""}, {typeNumeric, strings.Repeat("9", 100_001), ""}, {typeNumeric, "0." + strings.Repeat("1", 16_001), ""},

	{typeBoolean, "true", "true"}, {typeBoolean, "false", "false"}, {typeBoolean, "TRUE", ""}, {typeBoolean, "1", ""}, {typeBoolean, "yes", ""},

	{typeDate, "2022-05-16", "2022-05-16"}, {typeDate, "0001-01-01", "0001-01-01"}, {typeDate, "9999-12-31", "9999-12-31"}, {typeDate, "2024-02-29", "2024-02-29"},
	{typeDate, "1900-02-28", "1900-02-28"}, {typeDate, "0", "1970-01-01"}, {typeDate, "1652659200000", "2022-05-16"}, {typeDate, "-86400000", "1969-12-31"},
	{typeDate, "1652659200001", ""}, {typeDate, "2023-02-29", ""}, {typeDate, "1900-02-29", ""}, {typeDate, "2022-13-01", ""}, {typeDate, "2022-00-10", ""}, {typeDate, "0000-01-01", ""},
	{typeDate, "10000-01-01", ""}, {typeDate, "2022-5-16", ""}, {typeDate, "2022-05-16T00:00:00Z", ""}, {typeDate, "253402300800000", ""}, {typeDate, "-0", ""},

	{typeTimestamptz, "2026-02-25T16:23:49.023Z", "2026-02-25 16:23:49.023+00"}, {typeTimestamptz, "2026-02-25T16:23:49Z", "2026-02-25 16:23:49+00"},
	{typeTimestamptz, "2026-02-25T16:23:49.123456+05:30", "2026-02-25 10:53:49.123456+00"}, {typeTimestamptz, "2026-02-25T00:00:00-08:00", "2026-02-25 08:00:00+00"},
	{typeTimestamptz, "1600000000000", "2020-09-13 12:26:40+00"}, {typeTimestamptz, "1600000000000.0", "2020-09-13 12:26:40+00"}, {typeTimestamptz, "-1", "1969-12-31 23:59:59.999+00"},
	{typeTimestamptz, "0001-01-01T00:00:00Z", "0001-01-01 00:00:00+00"}, {typeTimestamptz, "9999-12-31T23:59:59.999999Z", "9999-12-31 23:59:59.999999+00"},
	{typeTimestamptz, "0001-01-01T00:00:00+01:00", ""}, {typeTimestamptz, "9999-12-31T23:59:59-01:00", ""}, {typeTimestamptz, "2026-02-25T16:23:49", ""}, {typeTimestamptz, "2026-02-25", ""},
	{typeTimestamptz, "2026-02-25T24:00:00Z", ""}, {typeTimestamptz, "2026-02-25T16:23:60Z", ""}, {typeTimestamptz, "2026-02-30T16:23:49Z", ""}, {typeTimestamptz, "2026-02-25T16:23:49.1234567Z", ""},
	{typeTimestamptz, "2026-02-25T16:23:49.Z", ""}, {typeTimestamptz, "2026-02-25T16:23:49+16:00", ""}, {typeTimestamptz, "99999999999999999", ""}, {typeTimestamptz, "1600000000000.5", ""}, {typeTimestamptz, "soon", ""},
}

func TestValuesAreCastAsPostgresCasts(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		conn := connect(t, url)
		for _, c := range castCases {
			encoded, ok := c.typ.appendValue([]byte{}, []byte(c.raw))
			if !ok {
				if c.want != "" || len(encoded) > 0 {
					t.Errorf("%s %.50q does not fit, want %.50q", c.typ, c.raw, c.want)
				}
				continue
			}
			if got := show(t, conn, c.typ, encoded); got != c.want {
				t.Errorf("%s %.50q is %.50q, want %.50q", c.typ, c.raw, got, c.want)
			}
			checkAgainstPostgres(t, conn, c.typ, c.raw, encoded)
		}
	})
}

func TestRandomValuesAreCastAsPostgresCasts(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.NewDatabase(t))
	r := rand.New(rand.NewPCG(3, 4))
	alphabets := []string{"0123456789", "0123456789.e-", "0123456789-:TZ+.", "0"}
	fitting := 0
	for range 3_000 {
		alphabet := alphabets[r.IntN(len(alphabets))]
		raw := make([]byte, 1+r.IntN(24))
		for i := range raw {
			raw[i] = alphabet[r.IntN(len(alphabet))]
		}
		// Half of them are small changes of what is known to fit.
		if r.IntN(2) == 0 {
			raw = []byte(castCases[r.IntN(len(castCases))].raw)
			if len(raw) > 0 {
				raw[r.IntN(len(raw))] = alphabet[r.IntN(len(alphabet))]
			}
		}
		for typ := typeNumeric; typ <= typeTimestamptz; typ++ {
			if encoded, ok := typ.appendValue([]byte{}, raw); ok {
				fitting++
				checkAgainstPostgres(t, conn, typ, string(raw), encoded)
			}
		}
	}
	if fitting < 500 {
		t.Errorf("only %d values fitted: the generator is too wild", fitting)
	}
}

// FuzzCast runs against a database under `go test -fuzz`; as a test it runs its seeds.
func FuzzCast(f *testing.F) {
	for _, c := range castCases {
		f.Add(uint8(c.typ), c.raw)
	}
	url := pgtest.NewDatabase(f)
	f.Fuzz(func(t *testing.T, typ uint8, raw string) {
		column := columnType(typ%5 + 1)
		encoded, ok := column.appendValue([]byte{}, []byte(raw))
		if !ok {
			if len(encoded) > 0 {
				t.Fatalf("%q does not fit, but left %x", raw, encoded)
			}
			return
		}
		checkAgainstPostgres(t, connect(t, url), column, raw, encoded)
	})
}

// checkAgainstPostgres compares the encoded value with Postgres' cast of the text. Postgres has no cast for epoch
// milliseconds: they are counted from the epoch.
func checkAgainstPostgres(t *testing.T, conn *pgconn.PgConn, typ columnType, raw string, encoded []byte) {
	t.Helper()
	cast := "$2::text::" + typ.String()
	if plain := strings.TrimSuffix(strings.TrimPrefix(raw, "-"), ".0"); (typ == typeDate || typ == typeTimestamptz) && digits([]byte(plain)) == len(plain) {
		ms := "replace($2::text, '.0', '')::bigint"
		cast = "(timestamptz 'epoch' + (" + ms + " / 86400000 || ' days')::interval + (" + ms + " % 86400000 || ' milliseconds')::interval)::" + typ.String()
	}
	p := (&params{}).add(columnTypes[typ].oid, encoded).text(raw)
	result := conn.ExecParams(t.Context(), "select $1 = "+cast+", $1::text = ("+cast+")::text, $1::text", p.values, p.oids, binaryFormat, nil).Read()
	if result.Err != nil {
		t.Errorf("%s %.80q fits, but Postgres says: %v", typ, raw, result.Err)
		return
	}
	if row := result.Rows[0]; string(row[0]) != "t" || string(row[1]) != "t" {
		t.Errorf("%s %.80q became %.80q", typ, raw, row[2])
	}
}

func show(t *testing.T, conn *pgconn.PgConn, typ columnType, encoded []byte) string {
	t.Helper()
	p := (&params{}).add(columnTypes[typ].oid, encoded)
	result := conn.ExecParams(t.Context(), "select $1::text", p.values, p.oids, binaryFormat, nil).Read()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return string(result.Rows[0][0])
}

func connect(t *testing.T, url string) *pgconn.PgConn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), `set timezone to 'UTC'; set datestyle to 'ISO'; set intervalstyle to 'postgres'`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	return conn.PgConn()
}

func TestExtraKeepsEveryByte(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"x", "a\x00b", "\xed\xa0\x80", `{"json":"x"}`, `"`, `\u0000`, "é🎉", "\x01\x1f", "\xed\xa0\xbd \x00"} {
		extra := append(appendExtra(nil, "name", raw), '}')
		values, err := parseExtra(extra)
		if err != nil || values["name"] != raw {
			t.Errorf("%q became %s, then %q, %v", raw, extra, values["name"], err)
		}
		if strings.Contains(strings.ReplaceAll(string(extra), `\\u`, ""), `\u0000`) {
			t.Errorf("%q became %s, which jsonb refuses", raw, extra)
		}
	}
}

func TestNamesAreSafeAndStable(t *testing.T) {
	t.Parallel()
	none := func(string) bool { return false }
	long := strings.Repeat("a", 63)
	for _, name := range []string{"email", "select", "Amount", `a"b`, "a b", "; drop table x; --", long, "ü"} {
		if got := columnName(name, none); got != name {
			t.Errorf("%q became %q", name, got)
		}
	}
	for _, name := range []string{"id", "_seq", "xmin", "ctid", "_extra", long + "a", long + "b", "", "a\x00b", "\xed\xa0\x80", strings.Repeat("é", 40)} {
		got := columnName(name, none)
		if got == name || len(got) > 63 || got != columnName(name, none) || clean(got) != got {
			t.Errorf("%q became %q", name, got)
		}
	}
	if columnName(long+"a", none) == columnName(long+"b", none) {
		t.Error("two names became one")
	}
	first := columnName("id", none)
	if second := columnName("id", func(n string) bool { return n == first }); second == first {
		t.Error("a taken name was given away")
	}
	if got := tableName("links", none); got == "links" {
		t.Error("an object type took a static table's name")
	}
}
