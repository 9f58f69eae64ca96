package schemas_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/schemas"
)

var propertiesCases = []struct{ name, src, want string }{
	{"empty", `{}`, `{}`},
	{"white space only", ` { } `, `{}`},
	{"as HubSpot sends it", `{"a":"1","b":null,"c":"","d":"2"}`, `{"a":"1","d":"2"}`},
	{"without values", `{"a":null,"b":"","c":null}`, `{}`},
	{"value before null", `{"a":"1","b":null}`, `{"a":"1"}`},
	{"null before value", `{"a":null,"b":"1"}`, `{"b":"1"}`},
	{"canonical already", `{"a":"1","b":"2"}`, `{"a":"1","b":"2"}`},
	{"white space", "{ \"a\" : \"1\" ,\r\n\t\"b\" : null , \"c\":\"2\" }", `{"a":"1","c":"2"}`},
	{"unsorted", `{"b":"1","a":"2","c":null}`, `{"a":"2","b":"1"}`},
	{"prefixes", `{"ab":"1","a":"2","a_":"3"}`, `{"a":"2","a_":"3","ab":"1"}`},
	{"repeated, last counts", `{"a":"1","a":"2"}`, `{"a":"2"}`},
	{"repeated, last is null", `{"a":"1","a":null}`, `{}`},
	{"repeated, last is empty", `{"a":"1","b":"2","a":""}`, `{"b":"2"}`},
	{"repeated, first is null", `{"a":null,"a":"2"}`, `{"a":"2"}`},
	{"repeated under an escape", `{"a":"1","\u0061":null,"b":"2"}`, `{"b":"2"}`},
	{"numbers and booleans", `{"a":12,"b":-1.50e+3,"c":true,"d":false,"e":0}`, `{"a":"12","b":"-1.50e+3","c":"true","d":"false","e":"0"}`},
	{"empty name", `{"":"1","a":"2"}`, `{"":"1","a":"2"}`},
	{"canonical escapes stay", `{"a":"\"\\\n\r\t"}`, `{"a":"\"\\\n\r\t"}`},
	{"other escapes go", `{"a":"\/\u0041\u00fc\u0022\ud83d\uDE00"}`, `{"a":"/Aü\"😀"}`},
	{"control characters", `{"a":"\b\f\u0000\u001F\u000a"}`, `{"a":"\u0008\u000c\u0000\u001f\n"}`},
	{"escaped quote at the end", `{"a":"\\\"","b":"\\\\"}`, `{"a":"\\\"","b":"\\\\"}`},
	{"escaped names", `{"a\"b":"1","a\/b":"2","a!":"3"}`, `{"a!":"3","a/b":"2","a\"b":"1"}`},
	{"lone surrogates", `{"a":"\uD83D","b":"\uDE00\uD83D","c":"x\ud83dy"}`, `{"a":"\ud83d","b":"\ude00\ud83d","c":"x\ud83dy"}`},
	{"DEL and separators", "{\"a\":\"\x7f\u2028\"}", "{\"a\":\"\x7f\u2028\"}"},
	{"names that look like values", `{"null":null,"true":"false"}`, `{"true":"false"}`},
}

func TestPropertiesAreCanonical(t *testing.T) {
	for _, c := range propertiesCases {
		t.Run(c.name, func(t *testing.T) {
			p, read, err := schemas.ParseProperties([]byte(c.src + ` "rest"`))
			if err != nil {
				t.Fatal(err)
			}
			if string(p) != c.want {
				t.Errorf("ParseProperties(%s) = %s, want %s", c.src, p, c.want)
			}
			if want := strings.LastIndexByte(c.src, '}') + 1; read != want {
				t.Errorf("read %d bytes, want %d", read, want)
			}
			checkCanonical(t, p)
			if made := schemas.MakeProperties(p.Map()); !bytes.Equal(made, p) {
				t.Errorf("MakeProperties = %s", made)
			}
		})
	}
}

func TestParsePropertiesRefuses(t *testing.T) {
	for name, src := range map[string]string{
		"nothing":               ``,
		"no object":             `["a"]`,
		"null":                  `null`,
		"no end":                `{"a":"1"`,
		"no end of a string":    `{"a":"1`,
		"no end after a slash":  `{"a":"1\`,
		"no end after a name":   `{"a"`,
		"no value":              `{"a":}`,
		"no name":               `{:"1"}`,
		"comma at the end":      `{"a":"1",}`,
		"comma at the start":    `{,"a":"1"}`,
		"no comma":              `{"a":"1""b":"2"}`,
		"half a null":           `{"a":nul}`,
		"object value":          `{"a":{"b":"c"}}`,
		"list value":            `{"a":["b"]}`,
		"deep value":            `{"a":` + strings.Repeat(`[`, 1e5) + strings.Repeat(`]`, 1e5) + `}`,
		"control character":     "{\"a\":\"\n\"}",
		"NUL":                   "{\"a\":\"\x00\"}",
		"control in a name":     "{\"a\x01\":\"1\"}",
		"bad escape":            `{"a":"\x"}`,
		"cut escape":            `{"a":"\u12"}`,
		"bad number":            `{"a":01}`,
		"invalid UTF-8":         "{\"a\":\"\xff\"}",
		"cut UTF-8":             "{\"a\":\"\xe2\x82\"}",
		"invalid UTF-8 in name": "{\"\xc3\":\"1\"}",
		"surrogate as UTF-8":    "{\"a\":\"\xed\xa0\xbd\"}",
		"text between":          `{"a":"1" x,"b":"2"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if p, _, err := schemas.ParseProperties([]byte(src)); err == nil {
				t.Errorf("ParseProperties(%.40q) = %s", src, p)
			}
			var p schemas.Properties
			if err := p.UnmarshalJSON([]byte(src)); err == nil {
				t.Errorf("UnmarshalJSON(%.40q) = %s", src, p)
			}
		})
	}
}

func TestAppendPropertiesAppendsNothingAfterAnError(t *testing.T) {
	for _, src := range []string{`{"a":"1","b":{}}`, `{"b":"1","a":[]}`, `{"a":"1"`} {
		s := schemas.NewScanner([]byte(src))
		if got := s.AppendProperties([]byte("kept")); string(got) != "kept" || s.Err() == nil {
			t.Errorf("AppendProperties(%s) = %s, %v", src, got, s.Err())
		}
	}
}

func TestPropertiesHoldHugeValues(t *testing.T) {
	huge := strings.Repeat("0123456789abcde\n", 1<<16)
	src, err := json.Marshal(map[string]string{"a": "1", "huge": huge, "z": "2"})
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := schemas.ParseProperties(src)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := p.Get("huge"); got != huge || p.Len() != 3 {
		t.Errorf("%d properties, huge has %d bytes, want 3, %d", p.Len(), len(got), len(huge))
	}
}

func TestPropertiesGet(t *testing.T) {
	p := schemas.MakeProperties(map[string]string{"a": "1", "c": "3", "d\"": "4", "empty": ""})
	for name, want := range map[string]string{"a": "1", "c": "3", "d\"": "4"} {
		if got, ok := p.Get(name); !ok || got != want {
			t.Errorf("Get(%q) = %q, %t", name, got, ok)
		}
	}
	for _, name := range []string{"", "b", "d", "z", "empty"} {
		if got, ok := p.Get(name); ok {
			t.Errorf("Get(%q) = %q", name, got)
		}
	}
}

func TestPropertiesNilIsEmpty(t *testing.T) {
	var none schemas.Properties
	if !none.Equal(schemas.Properties("{}")) || none.Len() != 0 {
		t.Error("nil is not empty")
	}
	if got := schemas.MakeProperties(nil); string(got) != "{}" {
		t.Errorf("MakeProperties(nil) = %s", got)
	}
	if got, err := json.Marshal(none); err != nil || string(got) != "{}" {
		t.Errorf("nil as JSON: %s, %v", got, err)
	}
	if schemas.ContentHash(false, "", none) != schemas.ContentHash(false, "", schemas.Properties("{}")) {
		t.Error("nil and empty have different hashes")
	}
}

func TestPropertiesThatAreNotCanonicalDoNotPanic(t *testing.T) {
	for _, text := range []string{`{`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":"`, `{"a":"b`, `{"a":"b"`, `{"a":null}`, `[1,2,3]`, `{"a\`, `null`, `"a":"b"`, `{"":""}`} {
		p := schemas.Properties(text)
		_, _ = p.Get("b")
		_ = p.Map()
		for name, value := range p.Raw() {
			_, _ = schemas.Unescape(name), schemas.Unescape(value)
		}
		schemas.Diff(p, schemas.Properties(`{"a":"b"}`))
	}
}

func TestMakePropertiesRepairsInvalidUTF8(t *testing.T) {
	p := schemas.MakeProperties(map[string]string{"\xff": "", "a": "\xff", "b": "\xed\xa0\xbd\xed\xb8\x80"})
	if want := `{"a":"` + "\uFFFD" + `","b":"😀"}`; string(p) != want {
		t.Errorf("MakeProperties = %s, want %s", p, want)
	}
}

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		changed        []string
		previous       string
	}{
		{"nothing", `{"a":"1"}`, `{"a":"1"}`, nil, `{}`},
		{"both empty", ``, `{}`, nil, `{}`},
		{"first", ``, `{"a":"1","b":"2"}`, []string{"a", "b"}, `{}`},
		{"all lost", `{"a":"1","b":"2"}`, `{}`, []string{"a", "b"}, `{"a":"1","b":"2"}`},
		{"changed", `{"a":"1","b":"2","c":"3"}`, `{"a":"1","b":"x","c":"3"}`, []string{"b"}, `{"b":"2"}`},
		{"gained and lost", `{"a":"1","c":"3"}`, `{"b":"2","c":"3","d":"4"}`, []string{"a", "b", "d"}, `{"a":"1"}`},
		{"escaped values", `{"a":"\n"}`, `{"a":"\t"}`, []string{"a"}, `{"a":"\n"}`},
		{"escaped names", `{"a!":"1","a/b":"2","a\"b":"3"}`, `{"a!":"1","a/b":"x"}`, []string{"a/b", "a\"b"}, `{"a/b":"2","a\"b":"3"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed, previous := schemas.Diff(schemas.Properties(c.old), schemas.Properties(c.new))
			if !reflect.DeepEqual(changed, c.changed) || string(previous) != c.previous {
				t.Errorf("Diff = %q, %s, want %q, %s", changed, previous, c.changed, c.previous)
			}
		})
	}
}
