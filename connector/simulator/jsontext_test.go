package simulator

import (
	"encoding/json"
	"testing"
)

// What is printed is valid JSON and reads back as it was, lone surrogates included.
func FuzzJSONText(f *testing.F) {
	for _, s := range []string{"", "plain", "quo\"te \\ \n\t\x00\x7f", "Žluťoučký 日本 🧑🏽‍💻", "\xed\xa0\x80", "x\xed\xb0\x80", "\xed\xa0\xbd\xed\xb8\x80", "\xff\xfe", "\xc3", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		printed := appendJSONString(nil, s)
		if !json.Valid(printed) {
			t.Fatalf("%q prints as %s", s, printed)
		}
		once, err := parseJSONString(printed)
		if err != nil {
			t.Fatalf("%s: %v", printed, err)
		}
		twice, err := parseJSONString(appendJSONString(nil, once))
		if err != nil || once != twice {
			t.Fatalf("%q reads back as %q, then %q", s, once, twice)
		}
	})
}

func TestBrokenJSONTextIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{``, `"`, `x`, `"\`, `"\"`, `"\u12"`, `"\uzzzz"`} {
		if v, err := parseJSONString([]byte(s)); err == nil {
			t.Errorf("%s reads as %q", s, v)
		}
	}
}
