package hubspot

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
)

// TestAnErrorMovesNoCursor has commands of a terminal in every part of an answer that errors show.
func TestAnErrorMovesNoCursor(t *testing.T) {
	t.Parallel()
	const evil = `\u001b]0;x\u0007 \u009b2J \u202e\u2066 \r\n\tend`
	body := `{"message":"` + evil + strings.Repeat("x", 5000) + `","category":"` + evil + `","subCategory":"` + evil + `","policyName":"` + evil +
		`","correlationId":"` + evil + `","context":{"requiredScopes":["` + evil + `"]}}`
	for _, answer := range []string{body, "no JSON"} {
		h := http.Header{}
		h.Set("X-HubSpot-Correlation-Id", "\x1b[2J\u009b")
		text := readError(403, h, []byte(answer), time.Now()).Error()
		if len(text) > 2000 || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
			t.Errorf("%d bytes: %q", len(text), text)
		}
		if answer == body && strings.Count(text, "end") != 6 {
			t.Errorf("something is missing: %q", text)
		}
	}
}
