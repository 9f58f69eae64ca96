package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestNothingPrintedMovesTheCursor has JSON and messages with what a terminal obeys.
func TestNothingPrintedMovesTheCursor(t *testing.T) {
	t.Parallel()
	const evil = "a\x1b[2J\a\x7f\u009b2J\u202e\u2066\u200f\u061c ü ☃ 😀 <b>\n\t\\"
	var out bytes.Buffer
	encoder := newJSONEncoder(&out)
	encoder.SetEscapeHTML(false)
	raw := json.RawMessage(`{"raw":"` + "\u009b\x7f\u202e ü" + `"}`)
	must(t, encoder.Encode(map[string]any{"text": evil, "raw": raw}))
	if strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), movesCursor) || !strings.Contains(out.String(), "ü ☃ 😀 <b>") {
		t.Errorf("JSON %q", out.String())
	}
	var back struct {
		Text string
		Raw  struct{ Raw string }
	}
	must(t, json.Unmarshal(out.Bytes(), &back))
	if back.Text != evil || back.Raw.Raw != "\u009b\x7f\u202e ü" {
		t.Errorf("another value: %q", back)
	}
	if got := plain("a\x1b[2J\u009b\u202e\xff ü\nb"); got != `a\u001b[2J\u009b\u202e`+"\uFFFD ü\nb" {
		t.Errorf("message %q", got)
	}
}
