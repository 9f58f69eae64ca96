package hubspot

import (
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"
)

// decode reads a JSON answer of one of the small endpoints. Unknown members are ignored.
func decode(body []byte, into any) error {
	if !utf8.Valid(body) {
		return errors.New("invalid UTF-8")
	}
	return json.Unmarshal(body, into)
}

// results is the envelope of answers that are lists.
type results[T any] struct {
	Results *[]T `json:"results"`
	Paging  struct {
		Next struct {
			After text `json:"after"`
		} `json:"next"`
	} `json:"paging"`
}

// decodeResults reads the envelope. Like for records, an answer without results is an error.
func decodeResults[T any](body []byte) (list []T, after string, err error) {
	var r results[T]
	if err := decode(body, &r); err != nil {
		return nil, "", err
	}
	if r.Results == nil {
		return nil, "", errNoResults
	}
	return *r.Results, string(r.Paging.Next.After), nil
}

// text reads a string, or a number as its literal text, or null as "": HubSpot is not of one mind about ids.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		return json.Unmarshal(raw, (*string)(t))
	}
	*t = ""
	if raw[0] != 'n' {
		var n json.Number
		if err := json.Unmarshal(raw, &n); err != nil {
			return err
		}
		*t = text(n)
	}
	return nil
}

// moment reads a time in any form HubSpot uses; what is no time is the zero time.
type moment struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(raw []byte) error {
	if len(raw) > 1 && raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	m.Time, _ = parseTime(raw)
	return nil
}
