package schemas_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestV1GoldenEventsStillDecode holds the promise of v1: what any version of it has written, every later one reads, and
// reads the same. The vectors named in testdata/v1.sum are frozen; new ones may be added to it.
func TestV1GoldenEventsStillDecode(t *testing.T) {
	sums, err := os.Open("testdata/v1.sum")
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	n := 0
	for lines := bufio.NewScanner(sums); lines.Scan(); n++ {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatalf("a frozen vector is gone: %v", err)
		}
		if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s was changed; it is frozen, add another one instead", name)
		}
		v := readVector(t, filepath.Join("testdata", name))
		m, err := decode(v.message())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if string(m.Data) != v.canonical() || fmt.Sprint(m.Header) != fmt.Sprint(v.Headers) {
			t.Errorf("%s is read otherwise than it was", name)
		}
	}
	if n == 0 {
		t.Fatal("no frozen vectors")
	}
}
