package proof

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// equalValue reports whether column, Postgres' text of a value of the given SQL type, means what raw, HubSpot's text, says.
func equalValue(sqlType, column, raw string) bool {
	switch sqlType {
	case "numeric":
		if strings.Trim(raw, "+-.0123456789eE") != "" {
			return false // big.Rat also reads fractions, other bases and separators
		}
		a, okA := new(big.Rat).SetString(column)
		b, okB := new(big.Rat).SetString(raw)
		return okA && okB && a.Cmp(b) == 0
	case "boolean":
		return column == "t" && raw == "true" || column == "f" && raw == "false"
	case "date":
		day, ok := parseTime(raw)
		return ok && day.Equal(day.Truncate(24*time.Hour)) && day.Format(time.DateOnly) == column
	case "timestamp with time zone":
		at, err := time.Parse("2006-01-02 15:04:05.999999-07", column)
		want, ok := parseTime(raw)
		return err == nil && ok && at.Equal(want)
	}
	return column == raw
}

// parseTime reads the time formats HubSpot uses: a date, ISO-8601 with a zone, or epoch milliseconds.
func parseTime(raw string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(layout, raw); err == nil {
			return t.UTC(), true
		}
	}
	if ms, err := strconv.ParseInt(strings.TrimSuffix(raw, ".0"), 10, 64); err == nil {
		return time.UnixMilli(ms).UTC(), true
	}
	return time.Time{}, false
}

// extraText returns the raw text that _extra holds for a property: a string, or {"json": literal} for text that
// Postgres cannot hold.
func extraText(value json.RawMessage) (string, bool) {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text, true
	}
	var escaped struct {
		JSON *string `json:"json"`
	}
	if json.Unmarshal(value, &escaped) != nil || escaped.JSON == nil {
		return "", false
	}
	s := schemas.NewScanner([]byte(*escaped.JSON))
	text = s.String()
	return text, s.Err() == nil
}
