package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hubtail/hubtail/schemas"
)

// eventBody is an event as somebody who has only the documentation reads it.
type eventBody struct {
	Portal       string            `json:"portal"`
	Object       string            `json:"object"`
	ObjectTypeID string            `json:"object_type_id"`
	ID           string            `json:"id"`
	Op           string            `json:"op"`
	UpdatedAt    time.Time         `json:"updated_at"`
	Properties   map[string]string `json:"properties"`
	Changed      []string          `json:"changed"`
	Previous     map[string]string `json:"previous"`
	PreviousSeq  uint64            `json:"previous_seq"`
}

func compileSchema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	f, err := schemas.Files().Open("v1/" + name + ".schema.json")
	must(t, err)
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	must(t, err)
	c := jsonschema.NewCompiler()
	must(t, c.AddResource(name, doc))
	schema, err := c.Compile(name)
	must(t, err)
	return schema
}

// requireEvent checks a message against the contract: CloudEvents headers, and a body that its JSON Schema accepts.
func requireEvent(t testing.TB, schema *jsonschema.Schema, m *nats.Msg) eventBody {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Data))
	must(t, err)
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%s: %v", m.Subject, err)
	}
	var e eventBody
	must(t, json.Unmarshal(m.Data, &e))
	for name, want := range map[string]string{
		"ce-specversion": "1.0",
		"ce-source":      "hubspot/" + e.Portal,
		"ce-type":        "hubspot." + e.Object + "." + e.Op,
		"ce-subject":     e.ID,
		"content-type":   "application/json",
		"ce-dataschema":  schemas.SchemaURI("event"),
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: header %s is %q, want %q", m.Subject, name, got, want)
		}
	}
	for _, name := range []string{"ce-id", "ce-time", "hubtail-hash", "hubtail-origin"} {
		if m.Header.Get(name) == "" {
			t.Errorf("%s: no header %s", m.Subject, name)
		}
	}
	if at, err := time.Parse(time.RFC3339Nano, m.Header.Get("ce-time")); err != nil || !at.Equal(e.UpdatedAt) {
		t.Errorf("%s: ce-time %q, updated_at %s", m.Subject, m.Header.Get("ce-time"), e.UpdatedAt)
	}
	return e
}
