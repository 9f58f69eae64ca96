package schemas

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
)

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

// Raw yields the names, ascending, and values as they stand between their quotes, for Unescape.
func (p Properties) Raw() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for name, value, rest := p.next(); name != nil; name, value, rest = rest.next() {
			if !yield(name, value) {
				return
			}
		}
	}
}

// next splits off the first property: the texts between the quotes of its name and value. Name is nil at the end. Text
// that is not canonical yields nonsense, but no panic.
func (p Properties) next() (name, value []byte, rest Properties) {
	const before, between = len(`{"`), len(`":"`) // "{" is a "," in the rest of an object
	if len(p) < before+between {
		return nil, nil, nil
	}
	nameEnd := closing(p, before)
	begin := nameEnd + between
	if nameEnd < 0 || begin > len(p) {
		return nil, nil, nil
	}
	end := closing(p, begin)
	if end < 0 {
		return nil, nil, nil
	}
	return p[before:nameEnd], p[begin:end], p[end+1:]
}

// Get returns the value of one property.
func (p Properties) Get(name string) (string, bool) {
	want := canonicalName(name)
	for n, raw, rest := p.next(); n != nil; n, raw, rest = rest.next() {
		switch strings.Compare(string(n), want) {
		case 0:
			return text(raw), true
		case +1:
			return "", false
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
	return bytes.Equal(p.orEmpty(), q.orEmpty())
}

func (p Properties) orEmpty() []byte {
	if len(p) == 0 {
		return []byte("{}")
	}
	return p
}

// MarshalJSON returns the canonical form itself.
func (p Properties) MarshalJSON() ([]byte, error) { return p.orEmpty(), nil }

// UnmarshalJSON reads and canonicalises an object of strings.
func (p *Properties) UnmarshalJSON(src []byte) error {
	parsed, _, err := ParseProperties(src)
	if err != nil {
		return fmt.Errorf("properties: %w", err)
	}
	*p = parsed
	return nil
}

// Diff returns the names, ascending, whose value differs between old and new, those that lost theirs included, and
// the old values of those that had one.
func Diff(old, new Properties) (changed []string, previous Properties) {
	previous = append(previous, '{')
	lost := func(name, value []byte) {
		if len(previous) > len("{") {
			previous = append(previous, ',')
		}
		previous = append(append(append(previous, '"'), name...), `":"`...)
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
			lost(on, ov)
			on, ov, orest = orest.next()
		default:
			if !bytes.Equal(ov, nv) {
				changed = append(changed, text(nn))
				lost(on, ov)
			}
			on, ov, orest = orest.next()
			nn, nv, nrest = nrest.next()
		}
	}
	return changed, append(previous, '}')
}
