package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPromisesNameTestsThatExist reads every doc.go: a test that was renamed would leave a promise that nothing holds.
func TestPromisesNameTestsThatExist(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)
	packages := map[string]bool{}
	for _, f := range sourceFiles(t) {
		packages[f.dir] = true
	}
	promises := 0
	for dir := range packages {
		doc, err := os.ReadFile(filepath.Join("..", dir, "doc.go"))
		if err != nil {
			continue // a package without promises
		}
		var tests strings.Builder
		files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
		for _, name := range named.FindAllString(string(doc), -1) {
			if promises++; !strings.Contains(tests.String(), "func "+name+"(") {
				t.Errorf("%s/doc.go names %s, which does not exist", dir, name)
			}
		}
	}
	if promises < 50 {
		t.Errorf("%d tests are named, that is too few to be true", promises)
	}
}
