package schemas

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Properties are the property values of a record: one JSON object in canonical form, names ascending (by the bytes
// between their quotes), every value a non-empty JSON string, nothing for a property without a value (HubSpot's null and "" both mean "no value"). Equal
// values have equal bytes, so comparing and hashing need no decoding. Nil and empty both mean "no values".
type Properties []byte

var errUTF8 = errors.New("invalid UTF-8")

// ParseProperties reads the JSON object at the start of src, values being strings, null, or (leniently) numbers and
// booleans, and returns it in canonical form with the number of bytes read. Of a name that comes twice the last value
// counts, also when that is none.
func ParseProperties(src []byte) (p Properties, read int, err error) {
	s := Scanner{buf: src}
	out := s.properties(make([]byte, 0, min(len(src), 4096)))
	if s.err == nil && !utf8.Valid(src[:s.pos]) {
		s.err = errUTF8
	}
	if s.err != nil {
		return nil, 0, s.err
	}
	return out, s.pos, nil
}

// AppendProperties reads like ParseProperties from the scanner and appends the canonical form to dst, nothing after an
// error. The caller has checked that the document is valid UTF-8.
func (s *Scanner) AppendProperties(dst []byte) []byte { return s.properties(dst) }

// properties reads an object and appends its canonical form: in one pass if it comes as HubSpot sends it, else in the
// slower way that takes any.
func (s *Scanner) properties(dst []byte) []byte {
	s.Peek()
	if s.err != nil {
		return dst
	}
	src := s.buf[s.pos:]
	if out, read, whole := compactObject(dst, src); read > 0 {
		s.pos += read
		if whole {
			out = append(out, src[:read]...)
		}
		return out
	}
	var all []property
	s.Object(func(name []byte) { all = append(all, property{canonicalName(string(name)), s.Text()}) })
	if s.err != nil {
		return dst
	}
	return appendProperties(dst, all)
}

// shared reads an object of properties, without copying it if it is in canonical form already.
func (s *Scanner) shared() Properties {
	s.Peek()
	if s.err == nil {
		if out, read, whole := compactObject(nil, s.buf[s.pos:]); read > 0 {
			p := s.buf[s.pos : s.pos+read : s.pos+read]
			s.pos += read
			if whole {
				return p
			}
			return out
		}
	}
	return s.properties(nil)
}

// property is a property on the way into canonical form, its name already in it.
type property struct{ name, value string }

// canonicalName returns what stands between the quotes of name in canonical form.
func canonicalName(name string) string {
	if plain([]byte(name)) == len(name) && utf8.ValidString(name) {
		return name
	}
	quoted := AppendString(nil, name)
	return string(quoted[1 : len(quoted)-1])
}

// appendProperties sorts all and appends its canonical form. Of equal names the last one counts.
func appendProperties(dst []byte, all []property) []byte {
	slices.SortStableFunc(all, func(a, b property) int { return strings.Compare(a.name, b.name) })
	start := len(dst)
	dst = append(dst, '{')
	for i, p := range all {
		if p.value == "" || i+1 < len(all) && all[i+1].name == p.name {
			continue
		}
		if len(dst) > start+1 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), p.name...), '"', ':')
		dst = AppendString(dst, p.value)
	}
	return append(dst, '}')
}

// MakeProperties returns the canonical form of values; empty values are left out.
func MakeProperties(values map[string]string) Properties {
	all := make([]property, 0, len(values))
	for name, value := range values {
		all = append(all, property{canonicalName(name), value})
	}
	return appendProperties(nil, all)
}
