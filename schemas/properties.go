package schemas

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"sort"
	"unicode/utf8"
)

// Properties are the property values of a record: one JSON object in canonical form, names ascending, every value a
// non-empty JSON string, nothing for a property without a value (HubSpot's null and "" both mean "no value"). Equal
// values have equal bytes, so comparing and hashing need no decoding. Nil and empty both mean "no values".
type Properties []byte

// ParseProperties reads the JSON object at the start of src, values being strings, null, or (leniently) numbers and
// booleans, and returns it in canonical form with the number of bytes read.
func ParseProperties(src []byte) (p Properties, read int, err error) {
	s := NewScanner(src)
	out := s.properties(make([]byte, 0, 1024))
	if s.err != nil {
		return nil, 0, s.err
	}
	return out, s.pos, nil
}

// AppendProperties reads like ParseProperties from the scanner and appends the canonical form to dst. The caller has
// checked that the document is valid UTF-8.
func (s *Scanner) AppendProperties(dst []byte) []byte { return s.properties(dst) }

// properties reads an object and appends its canonical form. HubSpot sends names in ascending order; when they are not,
// the object is sorted afterwards.
func (s *Scanner) properties(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, '{')
	sorted := true
	var last []byte
	s.Expect('{')
	if s.Accept('}') {
		return append(dst, '}')
	}
	for s.err == nil {
		name, escaped := s.RawString()
		s.Expect(':')
		if s.err != nil {
			return dst
		}
		switch c := s.Peek(); c {
		case 'n':
			s.literal("null")
		case '"':
			value, valueEscaped := s.RawString()
			if len(value) == 0 || s.err != nil {
				break
			}
			if bytes.Compare(last, name) >= 0 || escaped {
				sorted = false
			}
			last = name
			if len(dst) > start+1 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst = append(dst, name...)
			dst = append(dst, '"', ':')
			if valueEscaped {
				dst = AppendString(dst, string(unescape(nil, value)))
			} else {
				dst = append(dst, '"')
				dst = append(dst, value...)
				dst = append(dst, '"')
			}
		default:
			text := s.Text()
			if len(dst) > start+1 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst = append(dst, name...)
			dst = AppendString(append(dst, '"', ':'), text)
			sorted = sorted && bytes.Compare(last, name) < 0 && !escaped
			last = name
		}
		if s.Accept('}') {
			break
		}
		s.Expect(',')
	}
	dst = append(dst, '}')
	if !sorted && s.err == nil {
		m := make(map[string]string)
		for name, value := range Properties(dst[start:]).All() {
			m[name] = value
		}
		dst = append(dst[:start], MakeProperties(m)...)
	}
	return dst
}

// MakeProperties returns the canonical form of values; empty values are left out.
func MakeProperties(values map[string]string) Properties {
	names := make([]string, 0, len(values))
	for name, value := range values {
		if value != "" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	out := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = AppendString(append(AppendString(out, name), ':'), values[name])
	}
	return append(out, '}')
}

// All yields the names, ascending, and values.
func (p Properties) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, raw, rest := p.next(); name != nil; name, raw, rest = rest.next() {
			if !yield(text(name), text(raw)) {
				return
			}
		}
	}
}

// next splits off the first property: the texts between the quotes of its name and value.
func (p Properties) next() (name, value []byte, rest Properties) {
	if len(p) < 2 || p[0] == '}' || len(p) == 2 {
		return nil, nil, nil
	}
	s := Scanner{buf: p, pos: 1} // past '{' or ','
	name, _ = s.RawString()
	s.pos++ // ':'
	value, _ = s.RawString()
	if s.err != nil {
		return nil, nil, nil
	}
	return name, value, p[s.pos:]
}

func text(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	return string(unescape(nil, raw))
}

// Get returns the value of one property.
func (p Properties) Get(name string) (string, bool) {
	for n, value := range p.All() {
		if n == name {
			return value, true
		}
		if n > name {
			break
		}
	}
	return "", false
}

// Map returns the values by name.
func (p Properties) Map() map[string]string {
	m := make(map[string]string)
	for name, value := range p.All() {
		m[name] = value
	}
	return m
}

// Len returns the number of properties with a value.
func (p Properties) Len() (n int) {
	for name, _, rest := p.next(); name != nil; name, _, rest = rest.next() {
		n++
	}
	return n
}

// Equal reports whether both hold the same values.
func (p Properties) Equal(q Properties) bool {
	return bytes.Equal(p.canonical(), q.canonical())
}

func (p Properties) canonical() []byte {
	if len(p) == 0 {
		return []byte("{}")
	}
	return p
}

// MarshalJSON returns the canonical form itself.
func (p Properties) MarshalJSON() ([]byte, error) { return p.canonical(), nil }

// UnmarshalJSON reads and canonicalises an object of strings.
func (p *Properties) UnmarshalJSON(src []byte) error {
	if !utf8.Valid(src) {
		return fmt.Errorf("properties: invalid UTF-8")
	}
	parsed, _, err := ParseProperties(src)
	*p = parsed
	return err
}

// Diff returns the names, ascending, whose value differs between old and new, those that lost theirs included, and
// the old values of those that had one.
func Diff(old, new Properties) (changed []string, previous Properties) {
	previous = append(previous, '{')
	keep := func(name, value []byte) {
		if len(previous) > 1 {
			previous = append(previous, ',')
		}
		previous = append(append(append(previous, '"'), name...), '"', ':', '"')
		previous = append(append(previous, value...), '"')
	}
	on, ov, orest := old.next()
	nn, nv, nrest := new.next()
	for on != nil || nn != nil {
		order := bytes.Compare(on, nn)
		switch {
		case on == nil || nn != nil && order > 0: // gained a value
			changed = append(changed, text(nn))
			nn, nv, nrest = nrest.next()
		case nn == nil || order < 0: // lost its value
			changed = append(changed, text(on))
			keep(on, ov)
			on, ov, orest = orest.next()
		default:
			if !bytes.Equal(ov, nv) {
				changed = append(changed, text(nn))
				keep(on, ov)
			}
			on, ov, orest = orest.next()
			nn, nv, nrest = nrest.next()
		}
	}
	slices.Sort(changed) // escapes in names could order them otherwise
	return changed, append(previous, '}')
}
