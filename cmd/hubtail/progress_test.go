package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestProgressFitsTheTerminal draws a block twice: no line may wrap, or the second would not cover the first.
func TestProgressFitsTheTerminal(t *testing.T) {
	t.Parallel()
	const width = 80
	var out strings.Builder
	p := progress{w: &out, terminal: true, width: func() int { return width }}
	bars := []bar{
		{object: "contacts", done: 12345, total: 31636, rate: 2345}, {object: "companies", phase: strings.Repeat("é", 100)},
		{object: "owners", done: 5, total: 5},
	}
	for range 2 {
		p.show(bars, "  quota      "+strings.Repeat("190 of 190 requests, ", 6), "  tables     0 rows")
	}
	text := out.String()
	if n := strings.Count(text, "\x1b[5A"); n != 1 {
		t.Errorf("it goes up %d times: %q", n, text)
	}
	text = regexp.MustCompile(`\x1b\[\d*[AK]`).ReplaceAllString(text, "")
	for _, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > width || !utf8.ValidString(line) {
			t.Errorf("%d characters: %q", n, line)
		}
	}
	if !strings.Contains(text, "12,345 / 31,636") {
		t.Errorf("%s", text)
	}
}

func TestCutCountsCharactersNotBytes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		line  string
		width int
		want  string
	}{{"abc", 0, "abc"}, {"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"█░é", 3, "█░é"}, {"█░éx", 3, "█░é"}, {"", 3, ""}} {
		if got := cut(test.line, test.width); got != test.want {
			t.Errorf("cut(%q, %d) = %q", test.line, test.width, got)
		}
	}
}
