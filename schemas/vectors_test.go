package schemas_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hubtail/hubtail/schemas"
)

// vector is a message in testdata. good_* are accepted, fail_* refused.
type vector struct {
	Note    string              `json:"note"`
	Subject string              `json:"subject"`
	Headers map[string][]string `json:"headers"`

	Body   json.RawMessage `json:"body"`   // byte for byte, or
	Text   string          `json:"text"`   // a body that is no JSON, or
	Base64 []byte          `json:"base64"` // one that is not even text

	// Canonical is what a good body becomes when it is encoded again, if that is something else.
	Canonical json.RawMessage `json:"canonical"`
	// Error is a part of the error that a fail vector must meet.
	Error string `json:"error"`
	// SchemaValid says that the body of a fail vector satisfies its JSON Schema: what is wrong lies elsewhere.
	SchemaValid bool `json:"schema_valid"`
}

func (v vector) message() schemas.Message {
	m := schemas.Message{Subject: v.Subject, Header: v.Headers, Data: v.Body}
	if v.Text != "" {
		m.Data = []byte(v.Text)
	}
	if v.Base64 != nil {
		m.Data = v.Base64
	}
	return m
}

func (v vector) canonical() string {
	if v.Canonical != nil {
		return string(v.Canonical)
	}
	return string(v.Body)
}

func readVector(t testing.TB, file string) (v vector) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

// eachVector runs a subtest for every vector whose file name matches.
func eachVector(t *testing.T, pattern string, test func(t *testing.T, v vector)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) { test(t, readVector(t, file)) })
	}
}

// decode decodes a message by whichever decoder its subject asks for, and returns it encoded again.
func decode(m schemas.Message) (schemas.Message, error) {
	if strings.HasPrefix(m.Subject, schemas.HintRoot) {
		h, err := schemas.DecodeHint(m)
		if err != nil {
			return schemas.Message{}, err
		}
		return h.Encode()
	}
	subject, err := schemas.ParseSubject(m.Subject)
	if err != nil {
		return schemas.Message{}, err
	}
	if subject.Kind == schemas.KindRecord {
		e, err := schemas.DecodeEvent(m)
		if err != nil {
			return schemas.Message{}, err
		}
		return e.Encode(), nil
	}
	c, err := schemas.DecodeControl(m)
	if err != nil {
		return schemas.Message{}, err
	}
	return schemas.EncodeControl(c)
}

func TestGoodVectorsAreTheCodecsOwnBytes(t *testing.T) {
	validator := newValidator(t)
	eachVector(t, "good_*.json", func(t *testing.T, v vector) {
		got, err := decode(v.message())
		if err != nil {
			t.Fatal(err)
		}
		if got.Subject != v.Subject {
			t.Errorf("subject = %s, want %s", got.Subject, v.Subject)
		}
		if fmt.Sprint(got.Header) != fmt.Sprint(v.Headers) {
			t.Errorf("headers = %v\nwant      %v", got.Header, v.Headers)
		}
		if string(got.Data) != v.canonical() {
			t.Errorf("body = %s\nwant   %s", got.Data, v.canonical())
		}
		if err := validator.body(v.Subject, v.Body); err != nil {
			t.Errorf("body does not satisfy its schema: %v", err)
		}
		if err := validator.body(v.Subject, got.Data); err != nil {
			t.Errorf("encoded body does not satisfy its schema: %v", err)
		}
	})
}

func TestFailVectorsAreRefused(t *testing.T) {
	validator := newValidator(t)
	eachVector(t, "fail_*.json", func(t *testing.T, v vector) {
		_, err := decode(v.message())
		if err == nil {
			t.Fatal("accepted")
		}
		if v.Error == "" || !strings.Contains(err.Error(), v.Error) {
			t.Errorf("error = %v\nwant one with %q", err, v.Error)
		}
		if err := validator.body(v.Subject, v.message().Data); (err == nil) != v.SchemaValid {
			t.Errorf("schema_valid = %t, the schema says: %v", v.SchemaValid, err)
		}
	})
}

// validator checks bodies against the JSON Schemas.
type validator map[string]*jsonschema.Schema

func newValidator(t testing.TB) validator {
	t.Helper()
	v := make(validator)
	for _, name := range schemaNames {
		v[name] = compileSchema(t, name)
	}
	return v
}

var schemaNames = []string{"event", "links", "properties", "pipelines", "cursor", "run", "dead_letter", "hint"}

func compileSchema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	f, err := schemas.Files().Open("v1/" + name + ".schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(schemas.SchemaURI(name), doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(schemas.SchemaURI(name))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func (v validator) body(subject string, body []byte) error {
	name := "event"
	if strings.HasPrefix(subject, schemas.HintRoot) {
		name = "hint"
	} else if s, err := schemas.ParseSubject(subject); err != nil {
		return err
	} else if s.Kind != schemas.KindRecord {
		name = strings.TrimPrefix(string(s.Kind), "_")
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	return v[name].Validate(doc)
}
