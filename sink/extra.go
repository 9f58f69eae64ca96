package sink

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/hubtail/hubtail/schemas"
)

// _extra is a jsonb object: property name -> raw string. A string that Postgres cannot hold, because it has a NUL or a
// lone surrogate, is {"json": "<the string's JSON literal>"} instead; a name like that, which HubSpot does not allow,
// is replaced by its JSON literal.

// appendExtra appends a member to the text of _extra, without the closing brace.
func appendExtra(dst []byte, name, raw string) []byte {
	if dst == nil {
		dst = append(dst, '{')
	} else {
		dst = append(dst, ',')
	}
	if !storable(name) {
		name = string(schemas.AppendString(nil, name))
	}
	dst = append(schemas.AppendString(dst, name), ':')
	if storable(raw) {
		return schemas.AppendString(dst, raw)
	}
	dst = append(dst, `{"json":`...)
	dst = schemas.AppendString(dst, string(schemas.AppendString(nil, raw)))
	return append(dst, '}')
}

func storable(text string) bool { return clean(text) == text }

// parseExtra reads _extra back: every property's raw string.
func parseExtra(extra []byte) (map[string]string, error) {
	if extra == nil {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(extra, &members); err != nil {
		return nil, fmt.Errorf("read _extra: %w", err)
	}
	values := make(map[string]string, len(members))
	for name, member := range members {
		if bytes.HasPrefix(member, []byte("{")) {
			var escaped struct{ JSON string }
			if err := json.Unmarshal(member, &escaped); err != nil {
				return nil, fmt.Errorf("read _extra of %s: %w", name, err)
			}
			member = json.RawMessage(escaped.JSON)
		}
		s := schemas.NewScanner(member)
		values[name] = s.String()
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("read _extra of %s: %w", name, err)
		}
	}
	return values, nil
}
