package schemas

import (
	"bytes"
	"encoding/binary"
)

// compactObject reads the object of properties at the start of src if it comes as HubSpot sends it: no white space,
// names ascending, values strings or null, no other escapes than canonical ones. It appends the canonical form to dst and
// returns the length read; 0 if the object is of another form, be it wrong or only unusual, and must be read otherwise.
//
// If every property has a value, the object is canonical as it stands; whole then says so, and nothing is appended.
//
// This is where the time goes when pages are read. Strings are found by their closing quotes alone (bytes.IndexByte looks
// at 32 bytes at a time), and what they must not contain is looked for once, in the whole object, at the end.
func compactObject(dst, src []byte) (out []byte, read int, whole bool) {
	start := len(dst)
	if at(src, 0) != '{' {
		return dst, 0, false
	}
	if at(src, 1) == '}' {
		return dst, len("{}"), true
	}
	i, run := 1, 0 // run is the start of what was read, has a value, and is not copied yet
	var last []byte
	var value bool
	for {
		var name []byte
		begin := i
		if name, value, i = compactMember(src, begin); i < 0 || last != nil && bytes.Compare(last, name) >= 0 {
			return dst[:start], 0, false
		}
		last = name
		if !value { // leave it out
			if run < begin {
				dst = append(dst, src[run:begin]...)
			}
			run = i + len(",")
		}
		i++
		if end := at(src, i-1); end == '}' {
			break
		} else if end != ',' {
			return dst[:start], 0, false
		}
	}
	switch {
	case !clean(src[:i]):
		return dst[:start], 0, false
	case run == 0:
		return dst, i, true
	case value:
		return append(dst, src[run:i]...), i, false
	case dst[len(dst)-1] == ',':
		dst[len(dst)-1] = '}'
		return dst, i, false
	}
	return append(dst, '}'), i, false
}

// nullAhead is `":null,"`, which follows most names: eight bytes, compared as one number.
const nullAhead = '"' | ':'<<8 | 'n'<<16 | 'u'<<24 | 'l'<<32 | 'l'<<40 | ','<<48 | '"'<<56

// compactMember reads the member that begins at src[i]. It returns its name, whether there is a value, and the index
// behind it, -1 for what compactObject does not read.
func compactMember(src []byte, i int) (name []byte, value bool, next int) {
	if at(src, i) != '"' {
		return nil, false, -1
	}
	end := closing(src, i+1)
	if end < 0 {
		return nil, false, -1
	}
	name = src[i+1 : end]
	if end+8 <= len(src) && binary.LittleEndian.Uint64(src[end:]) == nullAhead {
		return name, false, end + len(`":null`)
	}
	if at(src, end+1) != ':' {
		return nil, false, -1
	}
	i = end + len(`":`)
	switch {
	case at(src, i) == '"' && at(src, i+1) == '"':
		return name, false, i + len(`""`)
	case at(src, i) == '"':
		if end = closing(src, i+1); end >= 0 {
			return name, true, end + len(`"`)
		}
	case len(src)-i > len("null") && string(src[i:i+len("null")]) == "null":
		return name, false, i + len("null")
	}
	return nil, false, -1
}

// at returns b[i], or 0 past the end.
func at(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

// closing returns the index of the quote that ends the string whose text begins at b[i], -1 if there is none.
func closing(b []byte, i int) int {
	n := bytes.IndexByte(b[i:], '"')
	if n > 0 && b[i+n-1] == '\\' {
		return closingAfterSlash(b, i, i+n)
	}
	if n < 0 {
		return -1
	}
	return i + n
}

// closingAfterSlash is closing for when the quote found at b[i] may be an escaped one.
func closingAfterSlash(b []byte, begin, i int) int {
	for {
		slashes := 0
		for i-slashes > begin && b[i-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
		i++
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
	}
}

// clean reports whether b has neither control characters nor escapes that are not canonical.
func clean(b []byte) bool {
	if !canonicalEscapes(b) {
		return false
	}
	control := uint64(0)
	i := 0
	for ; i+32 <= len(b); i += 32 {
		w, x := binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:])
		y, z := binary.LittleEndian.Uint64(b[i+16:]), binary.LittleEndian.Uint64(b[i+24:])
		control |= (w-0x20*lsb)&^w | (x-0x20*lsb)&^x | (y-0x20*lsb)&^y | (z-0x20*lsb)&^z
	}
	for ; i < len(b); i++ {
		if b[i] < 0x20 {
			return false
		}
	}
	return control&msb == 0
}
