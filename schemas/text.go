package schemas

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	lsb = 0x0101010101010101
	msb = 0x8080808080808080
)

// plain returns how many bytes at the start of b are neither a quote, a backslash nor a control character.
func plain(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote := w ^ ('"' * lsb)
		slash := w ^ ('\\' * lsb)
		// A byte's top bit is set where the byte is zero (quote, slash) or below 0x20 (control); the lowest hit is exact.
		hit := ((quote - lsb) &^ quote) | ((slash - lsb) &^ slash) | ((w - 0x20*lsb) &^ w)
		if hit &= msb; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < 0x20 {
			return i
		}
	}
	return i
}

// escapeLen returns the length of the escape at the start of b, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads the \uXXXX at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape appends raw, a checked string text, to dst without its escapes. A surrogate that is not half of a pair is
// no character and has no UTF-8; it is appended in the three bytes that it would have (WTF-8).
func unescape(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...)
		}
		dst, raw = append(dst, raw[:i]...), raw[i:]
		switch raw[1] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(raw)
			raw = raw[6:]
			if !utf16.IsSurrogate(r) {
				dst = utf8.AppendRune(dst, r)
				continue
			}
			low, _ := hex4(raw)
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				dst, raw = utf8.AppendRune(dst, pair), raw[6:]
				continue
			}
			dst = append(dst, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
			continue
		default:
			dst = append(dst, raw[1])
		}
		raw = raw[2:]
	}
}

// Unescape returns what raw, the checked text between the quotes of a string, means: raw itself if it has no escapes.
func Unescape(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	return unescape(nil, raw)
}

// text returns what raw, the text between the quotes of a string, means.
func text(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	return string(unescape(nil, raw))
}

// canonicalEscapes reports whether raw has only escapes that AppendString would write the same way. It may say no for
// some that are (those with \u), but never yes for one that is not.
func canonicalEscapes(raw []byte) bool {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return true
		}
		switch raw[i+1] {
		case '"', '\\', 'n', 'r', 't':
			raw = raw[i+2:]
		default:
			return false
		}
	}
}

const hexDigits = "0123456789abcdef"

// AppendString appends v to dst as a JSON string in the codec's one canonical form: escapes only where JSON demands
// them (and for the lone surrogates of Scanner.String), so that equal values have equal bytes. Bytes that are not UTF-8
// become U+FFFD.
func AppendString(dst []byte, v string) []byte {
	dst = append(dst, '"')
	if simple(v) {
		dst = append(dst, v...)
		return append(dst, '"')
	}
	for {
		n := plain([]byte(v)) // the compiler does not copy here
		dst = appendText(dst, v[:n])
		if n == len(v) {
			return append(dst, '"')
		}
		dst = appendEscape(dst, v[n])
		v = v[n+1:]
	}
}

// simple reports whether v is ASCII without a quote, a backslash or a control character.
func simple(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendEscape appends the escape of a quote, a backslash or a control character.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendText appends v, which needs no escapes if it is UTF-8.
func appendText(dst []byte, v string) []byte {
	if utf8.ValidString(v) {
		return append(dst, v...)
	}
	for len(v) > 0 {
		r, n := utf8.DecodeRuneInString(v)
		if r != utf8.RuneError || n > 1 {
			dst, v = append(dst, v[:n]...), v[n:]
			continue
		}
		high, ok := surrogate(v)
		if !ok {
			dst, v = append(dst, "\uFFFD"...), v[1:]
			continue
		}
		v = v[3:]
		low, _ := surrogate(v)
		if pair := utf16.DecodeRune(high, low); pair != utf8.RuneError { // two halves that met: a character
			dst, v = utf8.AppendRune(dst, pair), v[3:]
			continue
		}
		dst = append(dst, '\\', 'u', 'd', hexDigits[high>>8&15], hexDigits[high>>4&15], hexDigits[high&15])
	}
	return dst
}

// surrogate reads the three bytes that unescape makes of a lone surrogate.
func surrogate(v string) (rune, bool) {
	if len(v) < 3 || v[0] != 0xED || v[1] < 0xA0 || v[1] > 0xBF || v[2]&0xC0 != 0x80 {
		return 0, false
	}
	return 0xD000 | rune(v[1]&0x3F)<<6 | rune(v[2]&0x3F), true
}
