package schemas_test

import (
	"bytes"
	"encoding/json"
	"iter"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hubtail/hubtail/schemas"
)

// seedBodies adds the bodies of all vectors whose file name matches.
func seedBodies(f *testing.F, pattern string, add func(v vector)) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no vectors %s: %v", pattern, err)
	}
	for _, file := range files {
		add(readVector(f, file))
	}
}

var wantedHash = regexp.MustCompile(`content hash is ([0-9a-f]{32}),`)

func FuzzDecodeEvent(f *testing.F) {
	seedBodies(f, "*_event_*.json", func(v vector) { f.Add([]byte(v.message().Data)) })
	validator := newValidator(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		var about struct{ Portal, Object, ID string }
		_ = json.Unmarshal(body, &about)
		m := schemas.Message{
			Subject: schemas.RecordSubject(about.Portal, about.Object, about.ID),
			Header:  map[string][]string{schemas.HeaderOrigin: {"poll"}},
			Data:    body,
		}
		// Without a hash nothing is accepted; the error names the right one.
		_, err := schemas.DecodeEvent(m)
		if err == nil {
			t.Fatal("accepted without a hash")
		}
		hash := wantedHash.FindStringSubmatch(err.Error())
		if hash == nil {
			return
		}
		m.Header[schemas.HeaderHash] = hash[1:]
		e, err := schemas.DecodeEvent(m)
		if err != nil {
			t.Fatalf("refused with its hash: %v", err)
		}
		encoded := e.Encode()
		again, err := schemas.DecodeEvent(encoded)
		if err != nil {
			t.Fatalf("decode what was encoded: %v\n%s", err, encoded.Data)
		}
		if twice := again.Encode(); !reflect.DeepEqual(twice, encoded) {
			t.Errorf("encoded %s\nthen    %s", encoded.Data, twice.Data)
		}
		if !json.Valid(body) {
			t.Errorf("accepted what is no JSON: %s", body)
		}
		if err := validator.body(encoded.Subject, encoded.Data); err != nil {
			t.Errorf("encoded %s: %v", encoded.Data, err)
		}
	})
}

func FuzzDecodeControl(f *testing.F) {
	for _, pattern := range []string{"*_links*.json", "*_properties*.json", "*_pipelines*.json", "*_cursor*.json", "*_run*.json", "*_dead_letter*.json"} {
		seedBodies(f, pattern, func(v vector) { f.Add(v.Subject, []byte(v.message().Data)) })
	}
	validator := newValidator(f)
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		c, err := schemas.DecodeControl(schemas.Message{Subject: subject, Data: body})
		if err != nil {
			return
		}
		encoded, err := schemas.EncodeControl(c)
		if err != nil {
			if strings.Contains(err.Error(), "Time.MarshalJSON") { // an offset carried the year out of range
				return
			}
			t.Fatalf("encode what was decoded: %v", err)
		}
		again, err := schemas.DecodeControl(encoded)
		if err != nil {
			t.Fatalf("decode what was encoded: %v\n%s", err, encoded.Data)
		}
		twice, err := schemas.EncodeControl(again)
		if err != nil || !reflect.DeepEqual(twice, encoded) {
			t.Errorf("encoded %s\nthen    %s, %v", encoded.Data, twice.Data, err)
		}
		if err := validator.body(encoded.Subject, encoded.Data); err != nil {
			t.Errorf("encoded %s: %v", encoded.Data, err)
		}
	})
}

var subjectShape = regexp.MustCompile(`^hubspot(\.[A-Za-z0-9_-]+){3,5}$`)

func FuzzParseSubject(f *testing.F) {
	for _, s := range []string{"hubspot.1.contacts.2", "hubspot.1._links.a.2.b", "hubspot.1._run.p_x", "hubspot.1._cursor._x2a", "hubspot.1._dead_letter.a.unknown", "hubspot._x.a.b", "hubspot.1._y.a", "hubspot.*.>.1", "_x", "a b", "", "ü", "-"} {
		f.Add(s, s, s, s)
	}
	f.Fuzz(func(t *testing.T, subject, portal, object, id string) {
		if s, err := schemas.ParseSubject(subject); err == nil && s.String() != subject {
			t.Errorf("%q parsed to %+v, which is %q", subject, s, s)
		}
		for _, kind := range []schemas.Kind{
			schemas.KindRecord, schemas.KindLinks, schemas.KindProperties, schemas.KindPipelines, schemas.KindCursor,
			schemas.KindRun, schemas.KindDeadLetter,
		} {
			want := schemas.Subject{Kind: kind, Portal: portal, Object: object}
			switch kind {
			case schemas.KindRecord, schemas.KindDeadLetter:
				want.ID = id
			case schemas.KindLinks:
				want.ID, want.To = id, object
			}
			text := want.String()
			if !subjectShape.MatchString(text) {
				t.Errorf("%+v makes %q", want, text)
			}
			if got, err := schemas.ParseSubject(text); err != nil || got != want {
				t.Errorf("ParseSubject(%q) = %+v, %v, want %+v", text, got, err, want)
			}
		}
	})
}

func FuzzParseProperties(f *testing.F) {
	for _, c := range propertiesCases {
		f.Add([]byte(c.src))
	}
	seedBodies(f, "good_event_*.json", func(v vector) {
		var body struct{ Properties json.RawMessage }
		if err := json.Unmarshal(v.Body, &body); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(body.Properties))
	})
	f.Fuzz(func(t *testing.T, src []byte) {
		want, comparable := jsonProperties(src)
		p, read, err := schemas.ParseProperties(src)
		if err != nil {
			if comparable {
				t.Fatalf("ParseProperties(%q): %v", src, err)
			}
			return
		}
		if !json.Valid(src[:read]) {
			t.Fatalf("accepted what is no JSON: %q", src[:read])
		}
		if comparable && !reflect.DeepEqual(p.Map(), want) {
			t.Errorf("ParseProperties(%q) = %q\nencoding/json: %q", src, p.Map(), want)
		}
		checkCanonical(t, p)
		if made := schemas.MakeProperties(p.Map()); !bytes.Equal(made, p) {
			t.Errorf("made of the same values: %s, read: %s", made, p)
		}
		s := schemas.NewScanner(src)
		if appended := s.AppendProperties([]byte("x")); string(appended) != "x"+string(p) || s.Pos() != read {
			t.Errorf("AppendProperties = %s up to %d, ParseProperties %s up to %d", appended, s.Pos(), p, read)
		}
	})
}

// jsonProperties reads the object at the start of src with encoding/json. It cannot say what we should read if that
// fails, or changes the text: at surrogates without partner and bytes that are not UTF-8.
func jsonProperties(src []byte) (values map[string]string, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil || m == nil {
		return nil, false
	}
	read := src[:dec.InputOffset()]
	if !utf8.Valid(read) || bytes.Contains(bytes.ToLower(read), []byte(`\ud`)) {
		return nil, false
	}
	values = make(map[string]string)
	for name, v := range m {
		switch v := v.(type) {
		case nil:
		case string:
			values[name] = v
		case json.Number:
			values[name] = v.String()
		case bool:
			values[name] = map[bool]string{true: "true", false: "false"}[v]
		default:
			return nil, false
		}
		if values[name] == "" {
			delete(values, name)
		}
	}
	return values, true
}

// checkCanonical checks what is promised of canonical form: reading it again changes nothing, names ascend, no value is
// empty.
func checkCanonical(t *testing.T, p schemas.Properties) {
	t.Helper()
	again, read, err := schemas.ParseProperties(p)
	if err != nil || read != len(p) || !bytes.Equal(again, p) {
		t.Errorf("%s read again: %s, %v", p, again, err)
	}
	last := ""
	for name, value := range p.All() {
		raw := string(schemas.AppendString(nil, name))
		raw = raw[1 : len(raw)-1]
		if last != "" && raw <= last {
			t.Errorf("%q after %q", raw, last)
		}
		if value == "" {
			t.Errorf("%q has an empty value", name)
		}
		if got, ok := p.Get(name); !ok || got != value {
			t.Errorf("Get(%q) = %q, %t, want %q", name, got, ok, value)
		}
		last = raw
	}
	checkRaw(t, p)
}

// checkRaw checks that texts between quotes mean what All says, and that those without escapes can be taken as they stand.
func checkRaw(t *testing.T, p schemas.Properties) {
	t.Helper()
	next, stop := iter.Pull2(p.All())
	defer stop()
	for rawName, rawValue := range p.Raw() {
		name, value, _ := next()
		if got := schemas.Unescape(rawName); string(got) != name {
			t.Errorf("name %q means %q, want %q", rawName, got, name)
		}
		got := schemas.Unescape(rawValue)
		if string(got) != value {
			t.Errorf("%s: %q means %q, want %q", name, rawValue, got, value)
		}
		if len(got) == len(rawValue) && (!utf8.Valid(got) || bytes.IndexByte(got, 0) >= 0) {
			t.Errorf("%s: %q has no escapes and is no text", name, got)
		}
	}
	if name, _, more := next(); more {
		t.Errorf("Raw ends before %s", name)
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "ü€👩", "\xed\xa0\xbd", "\xed\xa0\xbd\xed\xb8\x80", "\xff\xed\xa0", "\u2028", "01234567\"", "0123456ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		quoted := schemas.AppendString([]byte("x"), v)[1:]
		if !utf8.Valid(quoted) || !json.Valid(quoted) {
			t.Fatalf("AppendString(%q) = %q", v, quoted)
		}
		s := schemas.NewScanner(quoted)
		got := s.String()
		if s.End(); s.Err() != nil {
			t.Fatal(s.Err())
		}
		if again := schemas.AppendString(nil, got); !bytes.Equal(again, quoted) {
			t.Errorf("AppendString(%q) = %s, read and written again %s", v, quoted, again)
		}
		if !utf8.ValidString(v) {
			return
		}
		var std string
		if err := json.Unmarshal(quoted, &std); err != nil || std != v || got != v {
			t.Errorf("AppendString(%q) = %s, read as %q, by encoding/json as %q, %v", v, quoted, got, std, err)
		}
	})
}
