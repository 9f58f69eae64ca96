package simulator

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// wireFilter is a filter of a search request.
type wireFilter struct {
	PropertyName string            `json:"propertyName"`
	Operator     string            `json:"operator"`
	Value        json.RawMessage   `json:"value"`
	HighValue    json.RawMessage   `json:"highValue"`
	Values       []json.RawMessage `json:"values"`
}

// filter is a checked filter.
type filter struct {
	property *property
	linked   *table // for the pseudo-property associations.{type}
	operator string
	value    operand
	high     operand
	values   []operand
}

// operand is a filter's value in the forms that comparisons need.
type operand struct {
	text   string
	whole  int64 // of times and ids
	number float64
}

// badFilter is why a filter is refused.
type badFilter struct{ message string }

func (e badFilter) Error() string { return e.message }

// brokenFilter is a filter that HubSpot fails on: epoch 0 gives a 500.
type brokenFilter struct{}

func (brokenFilter) Error() string { return "internal error" }

// unfilterable are the properties that cannot be used in filters.
var unfilterable = map[string][]string{
	"hs_body_preview_html": {"calls", "emails", "meetings", "notes", "tasks"},
	"hs_email_html":        {"emails"},
	"hs_body_preview":      {"emails"},
}

// compile checks a filter; length is the number of characters of its values.
func (c *call) compile(w wireFilter) (f filter, length int, err error) {
	f.operator = w.Operator
	if name, ok := strings.CutPrefix(w.PropertyName, "associations."); ok {
		if f.linked, ok = c.portal.table(name); !ok || f.linked.custom != nil || w.Operator != "EQ" {
			return f, 0, badFilter{"Unsupported association filter: " + w.PropertyName}
		}
	} else if f.property, ok = c.table.definitions.readable(w.PropertyName, c.opts.SensitiveScope); !ok {
		return f, 0, badFilter{"There was a problem with the request: property " + w.PropertyName + " does not exist"}
	}
	if slices.Contains(unfilterable[w.PropertyName], c.table.object.Name) {
		return f, 0, badFilter{"Property " + w.PropertyName + " is not filterable"}
	}
	raw, err := operandsOf(w)
	if err != nil {
		return f, 0, err
	}
	var list []operand
	for _, r := range raw {
		text, err := filterText(r)
		if err != nil {
			return f, 0, err
		}
		length += len(text)
		o, err := f.operand(text)
		if err != nil {
			return f, 0, err
		}
		list = append(list, o)
	}
	switch {
	case w.Operator == "IN" || w.Operator == "NOT_IN":
		f.values = list
	case w.Operator == "BETWEEN":
		f.value, f.high = list[0], list[1]
	case len(list) > 0:
		f.value = list[0]
	}
	return f, length, nil
}

// operandsOf returns the values that the operator takes.
func operandsOf(w wireFilter) ([]json.RawMessage, error) {
	missing := func(what string) error {
		return badFilter{fmt.Sprintf("operator %s requires %s for property %s", w.Operator, what, w.PropertyName)}
	}
	absent := func(r json.RawMessage) bool { return len(r) == 0 || string(r) == "null" }
	switch w.Operator {
	case "HAS_PROPERTY", "NOT_HAS_PROPERTY":
		return nil, nil
	case "IN", "NOT_IN":
		if len(w.Values) == 0 {
			return nil, missing("values")
		}
		return w.Values, nil
	case "BETWEEN":
		if absent(w.Value) || absent(w.HighValue) {
			return nil, missing("value and highValue")
		}
		return []json.RawMessage{w.Value, w.HighValue}, nil
	case "EQ", "NEQ", "LT", "LTE", "GT", "GTE", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN":
		if absent(w.Value) {
			return nil, missing("value")
		}
		return []json.RawMessage{w.Value}, nil
	}
	return nil, badFilter{"Invalid input JSON: unknown operator " + w.Operator}
}

func filterText(raw json.RawMessage) (string, error) {
	if len(raw) > 0 && raw[0] == '"' {
		return parseJSONString(raw)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", badFilter{"Invalid input JSON"}
	}
	switch v.(type) {
	case float64, bool:
		return string(raw), nil
	}
	return "", badFilter{"Invalid input JSON: filter values must be strings"}
}

// operand reads a value as the property's type wants it.
func (f *filter) operand(text string) (o operand, err error) {
	o.text = text
	switch {
	case f.operator == "CONTAINS_TOKEN" || f.operator == "NOT_CONTAINS_TOKEN":
	case f.linked != nil || f.property.system == systemID:
		n, ok := parseID(text)
		if !ok {
			return o, badFilter{"Invalid id in filter: " + text}
		}
		o.whole, o.number = n, float64(n)
	case f.property.temporal():
		ms, ok := parseTime(text)
		if !ok {
			return o, badFilter{"Invalid date in filter for " + f.property.Name + ": " + text}
		}
		if ms == 0 {
			return o, brokenFilter{}
		}
		o.whole, o.number = ms, float64(ms)
	case f.property.Type == "number":
		if o.number, err = strconv.ParseFloat(text, 64); err != nil {
			return o, badFilter{"Invalid number in filter for " + f.property.Name + ": " + text}
		}
	}
	return o, nil
}

// matches says whether a record's value satisfies the filter. HubSpot rule: comparisons ignore case, except with
// enumerations and with IN and NOT_IN, whose values must be lower case.
func (f *filter) matches(t *table, r *record) bool {
	if f.linked != nil {
		links := t.portal.liveLinks(linkKey{t, r.id, f.linked})
		return slices.ContainsFunc(links, func(l Link) bool { return l.To == f.value.whole })
	}
	text := t.value(r, f.property)
	switch f.operator {
	case "HAS_PROPERTY":
		return text != ""
	case "NOT_HAS_PROPERTY":
		return text == ""
	}
	if text == "" {
		return f.operator == "NOT_IN" || f.operator == "NOT_CONTAINS_TOKEN"
	}
	switch f.operator {
	case "CONTAINS_TOKEN":
		return containsToken(text, f.value.text)
	case "NOT_CONTAINS_TOKEN":
		return !containsToken(text, f.value.text)
	case "IN", "NOT_IN":
		in := slices.ContainsFunc(f.values, func(o operand) bool { return f.compare(t, r, text, o, true) == 0 })
		return in == (f.operator == "IN")
	case "BETWEEN":
		return f.compare(t, r, text, f.value, false) >= 0 && f.compare(t, r, text, f.high, false) <= 0
	}
	n := f.compare(t, r, text, f.value, false)
	if n == incomparable {
		return false
	}
	switch f.operator {
	case "EQ":
		return n == 0
	case "NEQ":
		return n != 0
	case "LT":
		return n < 0
	case "LTE":
		return n <= 0
	case "GT":
		return n > 0
	}
	return n >= 0
}

// incomparable is what compare returns for a value that is not what its type says.
const incomparable = math.MinInt

func (f *filter) compare(t *table, r *record, text string, o operand, exact bool) int {
	switch {
	case f.property.system != notSystem:
		return compareIDs(systemKey(r, f.property.system), o.whole)
	case f.property.temporal():
		ms, ok := parseTime(text)
		if !ok {
			return incomparable
		}
		return compareIDs(ms, o.whole)
	case f.property.Type == "number":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return incomparable
		}
		switch {
		case n < o.number:
			return -1
		case n > o.number:
			return 1
		}
		return 0
	case f.property.Type == "enumeration":
		if slices.Contains(strings.Split(text, ";"), o.text) {
			return 0
		}
		return strings.Compare(text, o.text)
	case exact:
		return strings.Compare(strings.ToLower(text), o.text)
	}
	return strings.Compare(strings.ToLower(text), strings.ToLower(o.text))
}

// systemKey returns a record's id or time as a sort key.
func systemKey(r *record, v systemValue) int64 {
	switch v {
	case systemID:
		return r.id
	case systemCreated:
		return r.created
	}
	return r.modified
}

// containsToken says whether one of the words of text is the wanted one; * stands for any end or beginning.
func containsToken(text, want string) bool {
	want = strings.ToLower(want)
	bare := strings.Trim(want, "*")
	for _, word := range tokens(text) {
		switch {
		case strings.HasPrefix(want, "*") && strings.HasSuffix(want, "*"):
			if strings.Contains(word, bare) {
				return true
			}
		case strings.HasPrefix(want, "*"):
			if strings.HasSuffix(word, bare) {
				return true
			}
		case strings.HasSuffix(want, "*"):
			if strings.HasPrefix(word, bare) {
				return true
			}
		case word == want:
			return true
		}
	}
	return strings.EqualFold(text, want)
}

func tokens(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}
