package schemas

import (
	"embed"
	"io/fs"
)

//go:embed v1/*.schema.json asyncapi.yaml
var files embed.FS

// Files returns the contract as files: v1/<name>.schema.json, a JSON Schema (2020-12) for every message body, and
// asyncapi.yaml, which says which of them travels on which subject.
func Files() fs.FS { return files }
