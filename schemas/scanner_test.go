package schemas_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

func TestScannerReadsADocument(t *testing.T) {
	s := schemas.NewScanner([]byte(` { "id" : "1" , "n":-1.5e3, "list": [ "a", null, 2, true ], "skip": {"x":[{}, [] ,"]"]},
		"flag":true,"\u006bey":"v\u00fc","at":"2026-03-12T11:04:17.969+01:00","none":null,"raw":{ "a" : 1 } } `))
	var id, n, key, raw string
	var list []string
	var flag bool
	var at, none time.Time
	s.Object(func(name []byte) {
		switch string(name) {
		case "id":
			id = s.String()
		case "n":
			n = s.Text()
		case "list":
			s.Array(func() { list = append(list, s.Text()) })
		case "flag":
			flag = s.Bool()
		case "key":
			key = s.String()
		case "at":
			at = s.Time()
		case "none":
			none = s.Time()
		case "raw":
			raw = string(s.Raw())
		default:
			s.Skip()
		}
	})
	if s.End(); s.Err() != nil {
		t.Fatal(s.Err())
	}
	if id != "1" || n != "-1.5e3" || strings.Join(list, ",") != "a,,2,true" || !flag || key != "vü" || raw != `{ "a" : 1 }` {
		t.Errorf("read %q %q %q %t %q %q", id, n, list, flag, key, raw)
	}
	if want := time.Date(2026, 3, 12, 10, 4, 17, 969e6, time.UTC); at != want || !none.IsZero() {
		t.Errorf("read %s and %s, want %s and none", at, none, want)
	}
}

func TestScannerRefuses(t *testing.T) {
	for _, src := range []string{
		``, ` `, `{`, `}`, `[`, `[1`, `[1,`, `[1,]`, `[,1]`, `{"a"}`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `"a`, `"\`, `"\u12`, `"\u12g4"`, `"\a"`,
		"\"\n\"", "\"\x1f\"", `tru`, `nul`, `fals`, `True`, `01`, `-`, `-a`, `1.`, `.5`, `1e`, `1e+`, `+1`, `NaN`, `1 2`, "1\x00", `{}x`,
		strings.Repeat(`[`, 1000) + strings.Repeat(`]`, 1000), strings.Repeat(`{"a":`, 1e6),
	} {
		s := schemas.NewScanner([]byte(src))
		s.Skip()
		s.End()
		if s.Err() == nil {
			t.Errorf("%.40q was read", src)
		}
	}
}

func TestScannerErrorsAreSticky(t *testing.T) {
	s := schemas.NewScanner([]byte(`[1, x, "later"]`))
	n := 0
	s.Array(func() { s.Skip(); n++ })
	first := s.Err()
	if first == nil || !strings.Contains(first.Error(), "offset 4") {
		t.Fatalf("error = %v", first)
	}
	raw, _ := s.RawString()
	if s.String() != "" || s.Text() != "" || s.Bool() || s.Raw() != nil || raw != nil || !s.Time().IsZero() || s.Accept(',') {
		t.Error("something was read after an error")
	}
	s.Object(func([]byte) { t.Error("member after an error") })
	s.Array(func() { t.Error("element after an error") })
	if s.Err() != first || n != 2 {
		t.Errorf("error became %v after %d elements", s.Err(), n)
	}
}

func TestScannerTime(t *testing.T) {
	for src, want := range map[string]string{
		`"2026-03-12T10:04:17Z"`:          "2026-03-12T10:04:17Z",
		`"2026-03-12T10:04:17.969Z"`:      "2026-03-12T10:04:17.969Z",
		`"2026-03-12T10:04:17.969001Z"`:   "2026-03-12T10:04:17.969001Z",
		`"2026-03-12T11:04:17.969+01:00"`: "2026-03-12T10:04:17.969Z",
		`"\u00326-03-12T10:04:17Z"`:       "",
		`"\u003226-03-12T10:04:17Z"`:      "",
		`"\u0032026-03-12T10:04:17Z"`:     "2026-03-12T10:04:17Z",
		`"2026-02-29T10:04:17Z"`:          "",
		`"2026-03-12"`:                    "",
		`""`:                              "",
		`1773309857969`:                   "",
		`"0000-06-01T00:00:00Z"`:          "",
		`"0001-01-01T00:00:00+01:00"`:     "",
		`"9999-12-31T23:59:59-01:00"`:     "",
		`"2026-03-12T24:00:00Z"`:          "",
	} {
		s := schemas.NewScanner([]byte(src))
		got := s.Time()
		if (s.Err() == nil) != (want != "") {
			t.Errorf("%s: %s, %v", src, got, s.Err())
		}
		if want != "" && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s read as %s", src, got)
		}
	}
}
