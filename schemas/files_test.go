package schemas_test

import (
	"encoding/json"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/schemas"
)

func TestEveryMessageHasASchema(t *testing.T) {
	files, err := fs.Glob(schemas.Files(), "v1/*.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "v1/"), ".schema.json")
		names = append(names, name)
		data, err := fs.ReadFile(schemas.Files(), file)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			ID string `json:"$id"`
		}
		if err := json.Unmarshal(data, &doc); err != nil || doc.ID != schemas.SchemaURI(name) {
			t.Errorf("%s says it is %q, %v", file, doc.ID, err)
		}
	}
	slices.Sort(names)
	if want := slices.Sorted(slices.Values(schemaNames)); !slices.Equal(names, want) {
		t.Errorf("schemas %q, want %q", names, want)
	}
}

// The document is read as text: YAML would be a dependency. References must lead somewhere, and every subject, header
// and schema of the package must be in it.
func TestAsyncAPIDescribesEverySubject(t *testing.T) {
	data, err := fs.ReadFile(schemas.Files(), "asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	for _, ref := range regexp.MustCompile(`\$ref: '\./([^']+)'`).FindAllStringSubmatch(doc, -1) {
		if _, err := fs.Stat(schemas.Files(), ref[1]); err != nil {
			t.Errorf("reference to a file that does not exist: %v", err)
		}
	}
	for _, address := range []string{
		"{object}.{id}", "_links.{from}.{id}.{to}", "_properties.{object}", "_pipelines.{object}", "_cursor.{object}", "_run.{object}",
		"_dead_letter.{object}.{id}",
	} {
		if !strings.Contains(doc, "\n    address: hubspot.{portal}."+address+"\n") {
			t.Errorf("no channel with the address hubspot.{portal}.%s", address)
		}
	}
	for _, address := range []string{"{object}.{id}", "_links.{object}.{id}.{to}", "_merge.{object}.{id}", "_purge.{object}.{id}"} {
		if !strings.Contains(doc, "\n    address: hubspot-hints.{portal}."+address+"\n") {
			t.Errorf("no channel with the address hubspot-hints.{portal}.%s", address)
		}
	}
	for name := range newRandom(1).event().Encode().Header {
		if !strings.Contains(doc, "\n        "+name+": {") {
			t.Errorf("header %s is not described", name)
		}
	}
	for _, name := range schemaNames {
		if !strings.Contains(doc, "payload: {$ref: './v1/"+name+".schema.json'}") {
			t.Errorf("schema %s is not referenced", name)
		}
	}
	hash := schemas.ContentHash(false, "", schemas.Properties(`{"email":"t@example.com","firstname":"Updated"}`))
	if !strings.Contains(doc, "hubtail-hash: "+hash) {
		t.Errorf("the hash of the example is %s", hash)
	}
}
