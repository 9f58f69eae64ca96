package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/schemas"
)

// TestSchemaPrintsTheWholeContract compares what is printed and written with the files of package schemas.
func TestSchemaPrintsTheWholeContract(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		r := hubtail(t, dir, nil, append([]string{"schema"}, args...)...)
		if r.code != exitDone || r.stderr != "" {
			t.Fatalf("%q: %+v", args, r)
		}
		return r.stdout
	}
	names := strings.Fields(run())
	files, err := fs.Glob(schemas.Files(), "v1/*.json")
	if err != nil || len(names) != len(files)+1 {
		t.Errorf("%d names for %d schemas and the AsyncAPI document: %q", len(names), len(files), names)
	}
	run("--out", "contract")
	for _, name := range names {
		printed, file := run(name), "asyncapi.yaml"
		if name != asyncAPI {
			file = schemaPath(name)
			if !json.Valid([]byte(printed)) {
				t.Errorf("%s is no JSON", name)
			}
		}
		written, err := os.ReadFile(filepath.Join(dir, "contract", filepath.FromSlash(file)))
		if err != nil || string(written) != printed {
			t.Errorf("%s: what is written is not what is printed (%v)", name, err)
		}
	}
	hubtail(t, dir, nil, "schema", "weather").complaint(t, exitUsage, `no message "weather"`, "event")
	hubtail(t, dir, nil, "schema", "event", "run").complaint(t, exitUsage, "one message's schema")
}
