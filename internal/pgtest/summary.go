package pgtest

import (
	"os"
	"testing"
)

// SummaryEnv names the variable with the file that Count writes to. The runner
// of `make test` sets it and prints the totals at the end.
const SummaryEnv = "HUBTAIL_TEST_SUMMARY"

// Count records that one test of a kind ran or was skipped, so that a skip is
// seen in the closing line of a run and not only in the middle of its output.
func Count(t testing.TB, kind, outcome string) {
	t.Helper()
	path := os.Getenv(SummaryEnv)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Errorf("count test: %v", err)
		return
	}
	// One short append: test processes of several packages share the file.
	if _, err := file.WriteString(kind + " tests\t" + outcome + "\n"); err != nil {
		t.Errorf("count test: %v", err)
	}
	_ = file.Close()
}
