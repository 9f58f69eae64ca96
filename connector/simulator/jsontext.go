package simulator

import (
	"errors"
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as a JSON string. Values may hold lone surrogates in their three-byte form (as WTF-8 does),
// since HubSpot's values are UTF-16; they leave as \udXXX escapes. Other invalid bytes become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x80 && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= 0x80 {
			if _, size := utf8.DecodeRuneInString(s[i:]); size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		n := 1
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case isSurrogate(s[i:]):
			u := 0xd000 | uint16(s[i+1]&0x3f)<<6 | uint16(s[i+2]&0x3f)
			dst = append(dst, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
			n = 3
		default:
			dst = append(dst, "\ufffd"...)
		}
		i += n
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func isSurrogate(s string) bool {
	return len(s) >= 3 && s[0] == 0xed && s[1] >= 0xa0 && s[1] <= 0xbf && s[2]&0xc0 == 0x80
}

var errBadString = errors.New("not a JSON string")

// parseJSONString reads a JSON string literal, keeping lone surrogates in their three-byte form, which encoding/json
// would replace.
func parseJSONString(src []byte) (string, error) {
	if len(src) < 2 || src[0] != '"' || src[len(src)-1] != '"' {
		return "", errBadString
	}
	src = src[1 : len(src)-1]
	out := make([]byte, 0, len(src))
	for i := 0; i < len(src); i++ {
		if src[i] != '\\' {
			out = append(out, src[i])
			continue
		}
		i++
		if i == len(src) {
			return "", errBadString
		}
		switch c := src[i]; c {
		case 'b', 'f', 'n', 'r', 't':
			out = append(out, map[byte]byte{'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9}[c])
		case 'u':
			u, ok := hexUnit(src[i+1:])
			if !ok {
				return "", errBadString
			}
			i += 4
			r := rune(u)
			if u >= 0xd800 && u < 0xdc00 && i+2 < len(src) && src[i+1] == '\\' && src[i+2] == 'u' {
				if low, ok := hexUnit(src[i+3:]); ok && low >= 0xdc00 && low < 0xe000 {
					r = 0x10000 + (rune(u)-0xd800)<<10 + (rune(low) - 0xdc00)
					i += 6
				}
			}
			out = appendCodePoint(out, r)
		default:
			out = append(out, c)
		}
	}
	return string(out), nil
}

// appendCodePoint appends r in UTF-8, surrogates in the three-byte form.
func appendCodePoint(dst []byte, r rune) []byte {
	if r >= 0xd800 && r < 0xe000 {
		return append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0xbf, 0x80|byte(r)&0xbf)
	}
	return utf8.AppendRune(dst, r)
}

func hexUnit(src []byte) (uint16, bool) {
	if len(src) < 4 {
		return 0, false
	}
	u, err := strconv.ParseUint(string(src[:4]), 16, 16)
	return uint16(u), err == nil
}
