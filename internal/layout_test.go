package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/hubtail/hubtail"

// sourceFile is a Go file of ours and what it imports.
type sourceFile struct {
	path    string // from the root of the module, with slashes
	dir     string
	test    bool
	imports []string
}

// sourceFiles reads the imports of every Go file of the module.
func sourceFiles(t *testing.T) []sourceFile {
	t.Helper()
	root := os.DirFS("..")
	var files []sourceFile
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		ast, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := sourceFile{path: path, dir: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(path, "_test.go")}
		for _, spec := range ast.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, name)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// within reports whether a package or directory is root or below it.
func within(name, root string) bool { return name == root || strings.HasPrefix(name, root+"/") }

func standard(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return !strings.Contains(first, ".")
}

// A rule says what the files of a directory must not import. Test files are held to it where tests is set.
var rules = []struct {
	name  string
	dir   string
	tests bool
	bad   func(imported string) bool
}{
	{"connector does not know sink", "connector", true, func(p string) bool {
		return within(p, module+"/sink") || within(p, module+"/migrations")
	}},
	{"sink does not know connector", "sink", false, func(p string) bool { return within(p, module+"/connector") }},
	{"schemas imports only the standard library", "schemas", false, func(p string) bool { return !standard(p) }},
	{"schemas does not know the rest of us", "schemas", true, func(p string) bool {
		return within(p, module) && p != module+"/schemas"
	}},
	{"connector/hubspot knows no NATS", "connector/hubspot", true, func(p string) bool {
		return strings.HasPrefix(p, "github.com/nats-io/") || strings.HasPrefix(p, "github.com/synadia-io/")
	}},
	{"connector/hubspot imports only schemas of ours", "connector/hubspot", false, func(p string) bool {
		return within(p, module) && p != module+"/schemas"
	}},
	{"connector/simulator imports only connector/hubspot of ours", "connector/simulator", false, func(p string) bool {
		return within(p, module) && p != module+"/connector/hubspot"
	}},
	{"connector/simulator knows no NATS", "connector/simulator", true, func(p string) bool {
		return strings.HasPrefix(p, "github.com/nats-io/") || strings.HasPrefix(p, "github.com/synadia-io/")
	}},
	{"migrations imports nothing of ours", "migrations", false, func(p string) bool { return within(p, module) }},
}

func TestImportsPointInOneDirection(t *testing.T) {
	files := sourceFiles(t)
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, f := range files {
				if !within(f.dir, rule.dir) || f.test && !rule.tests {
					continue
				}
				for _, p := range f.imports {
					if rule.bad(p) {
						t.Errorf("%s imports %s", f.path, p)
					}
				}
			}
		})
	}
}

func TestOnlyCommandsKnowCommands(t *testing.T) {
	for _, f := range sourceFiles(t) {
		for _, p := range f.imports {
			if within(p, module+"/cmd") && !within(f.dir, "cmd") {
				t.Errorf("%s imports %s", f.path, p)
			}
		}
	}
}

// testOnly are modules that must not be in the binary.
var testOnly = []string{"github.com/stretchr/testify", "go.uber.org/goleak", "github.com/creack/pty", "github.com/santhosh-tekuri/jsonschema/v6"}

// testcontainers is in the binary as the last way to find a Postgres, and has its helpers for tests, which use testify,
// in the same package. That one import cannot be avoided; the linker leaves most of it out.
const testcontainers = "github.com/testcontainers/testcontainers-go"

func TestTestOnlyModulesAreNotInTheBinary(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./cmd/hubtail")
	list.Dir = ".."
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	isTestOnly := func(p string) bool {
		return slices.ContainsFunc(testOnly, func(m string) bool { return within(p, m) })
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		importer := fields[0]
		if importer == testcontainers || isTestOnly(importer) {
			continue
		}
		for _, p := range fields[1:] {
			if isTestOnly(p) {
				t.Errorf("%s, which is in the binary, imports %s", importer, p)
			}
		}
	}
}
