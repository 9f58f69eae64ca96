package schemas

import (
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Scanner reads JSON text front to back without copying it. It is what the event codec and the HubSpot page reader are
// built on: strict about syntax, silent about members it is not asked for. The zero value reads nothing; use NewScanner.
//
// Errors are sticky: after the first, every method returns its zero value and Err says what was wrong and where.
type Scanner struct {
	buf []byte
	pos int
	err error
}

// NewScanner reads src, which must not change while the scanner is in use.
func NewScanner(src []byte) *Scanner { return &Scanner{buf: src} }

// Err returns the first syntax error, or nil.
func (s *Scanner) Err() error { return s.err }

// Pos returns the offset of the next unread byte.
func (s *Scanner) Pos() int { return s.pos }

func (s *Scanner) fail(msg string) {
	if s.err == nil {
		s.err = fmt.Errorf("json offset %d: %s", s.pos, msg)
	}
}

// Peek skips white space and returns the next byte without reading it, 0 at the end.
func (s *Scanner) Peek() byte {
	for s.pos < len(s.buf) {
		switch c := s.buf[s.pos]; c {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// Accept reads c if it comes next.
func (s *Scanner) Accept(c byte) bool {
	if s.err == nil && s.Peek() == c && s.pos < len(s.buf) {
		s.pos++
		return true
	}
	return false
}

// Expect reads c or fails.
func (s *Scanner) Expect(c byte) {
	if s.err == nil && !s.Accept(c) {
		s.fail("expected " + string(rune(c)))
	}
}

// Object calls member for every key of the object that comes next; member must read the value.
// The key is valid only during the call.
func (s *Scanner) Object(member func(key []byte)) {
	s.Expect('{')
	if s.Accept('}') {
		return
	}
	for s.err == nil {
		key := s.key()
		s.Expect(':')
		if s.err != nil {
			return
		}
		member(key)
		if s.Accept('}') {
			return
		}
		s.Expect(',')
	}
}

// Array calls element before every element of the array that comes next; element must read it.
func (s *Scanner) Array(element func()) {
	s.Expect('[')
	if s.Accept(']') {
		return
	}
	for s.err == nil {
		element()
		if s.Accept(']') {
			return
		}
		s.Expect(',')
	}
}

func (s *Scanner) key() []byte {
	raw, escaped := s.RawString()
	if escaped {
		return unescape(nil, raw)
	}
	return raw
}

// String reads a string and unescapes it. A lone surrogate, which is no Unicode character, becomes its three-byte
// (WTF-8) form, so that nothing is lost; such a string is not valid UTF-8.
func (s *Scanner) String() string {
	raw, escaped := s.RawString()
	if escaped {
		return string(unescape(nil, raw))
	}
	return string(raw)
}

// Text reads a string like String, null as "", and a number, true or false as its literal text.
func (s *Scanner) Text() string {
	switch c := s.Peek(); {
	case c == '"':
		return s.String()
	case c == 'n':
		s.Skip()
		return ""
	case c == 't' || c == 'f' || c == '-' || c >= '0' && c <= '9':
		return string(s.Raw())
	}
	s.fail("expected a string, a number, true, false or null")
	return ""
}

// Bool reads true or false; null counts as false.
func (s *Scanner) Bool() bool {
	raw := s.Raw()
	switch string(raw) {
	case "true":
		return true
	case "false", "null":
	default:
		s.fail("expected true or false")
	}
	return false
}

// Raw reads any value and returns its text.
func (s *Scanner) Raw() []byte {
	s.Peek()
	start := s.pos
	s.Skip()
	if s.err != nil {
		return nil
	}
	return s.buf[start:s.pos]
}

// maxDepth bounds nesting, so that hostile input cannot exhaust the stack.
const maxDepth = 100

// Skip reads any value.
func (s *Scanner) Skip() { s.skip(0) }

func (s *Scanner) skip(depth int) {
	if s.err != nil {
		return
	}
	if depth > maxDepth {
		s.fail("nested too deep")
		return
	}
	switch c := s.Peek(); c {
	case '"':
		s.RawString()
	case '{':
		s.Object(func([]byte) { s.skip(depth + 1) })
	case '[':
		s.Array(func() { s.skip(depth + 1) })
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

func (s *Scanner) literal(want string) {
	if len(s.buf)-s.pos < len(want) || string(s.buf[s.pos:s.pos+len(want)]) != want {
		s.fail("expected " + want)
		return
	}
	s.pos += len(want)
}

func (s *Scanner) digits() int {
	start := s.pos
	for s.pos < len(s.buf) && s.buf[s.pos] >= '0' && s.buf[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

func (s *Scanner) next(set string) bool {
	if s.pos < len(s.buf) {
		for i := range len(set) {
			if s.buf[s.pos] == set[i] {
				s.pos++
				return true
			}
		}
	}
	return false
}

func (s *Scanner) number() {
	s.next("-")
	zero := s.pos < len(s.buf) && s.buf[s.pos] == '0'
	n := s.digits()
	ok := n == 1 || n > 1 && !zero
	if ok && s.next(".") {
		ok = s.digits() > 0
	}
	if ok && s.next("eE") {
		s.next("+-")
		ok = s.digits() > 0
	}
	if !ok {
		s.fail("expected a value")
	}
}

var errControl = errors.New("control character in string")

// RawString reads a string and returns the text between its quotes and whether that text has escapes. The escapes are
// checked; UTF-8 is not (callers check whole documents with utf8.Valid, which is much faster).
func (s *Scanner) RawString() (raw []byte, escaped bool) {
	if s.err != nil {
		return nil, false
	}
	if s.Peek() != '"' {
		s.fail("expected a string")
		return nil, false
	}
	start := s.pos + 1
	i := start
	for {
		i += plain(s.buf[i:])
		if i >= len(s.buf) {
			s.pos = i
			s.fail("string without end")
			return nil, false
		}
		switch s.buf[i] {
		case '"':
			s.pos = i + 1
			return s.buf[start:i], escaped
		case '\\':
			escaped = true
			n := escapeLen(s.buf[i:])
			if n == 0 {
				s.pos = i
				s.fail("bad escape in string")
				return nil, false
			}
			i += n
		default:
			s.pos = i
			s.fail(errControl.Error())
			return nil, false
		}
	}
}

const (
	lsb = 0x0101010101010101
	msb = 0x8080808080808080
)

// plain returns how many bytes at the start of b are neither a quote, a backslash nor a control character.
func plain(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := uint64(b[i]) | uint64(b[i+1])<<8 | uint64(b[i+2])<<16 | uint64(b[i+3])<<24 |
			uint64(b[i+4])<<32 | uint64(b[i+5])<<40 | uint64(b[i+6])<<48 | uint64(b[i+7])<<56
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

// unescape appends raw, a checked string text, to dst without its escapes.
func unescape(dst, raw []byte) []byte {
	for len(raw) > 0 {
		if raw[0] != '\\' {
			dst = append(dst, raw[0])
			raw = raw[1:]
			continue
		}
		n := 2
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
			n = 6
			r, _ := hex4(raw)
			if utf16.IsSurrogate(r) {
				low, _ := hex4(raw[6:])
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					n, r = 12, pair
				} else {
					dst = append(dst, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
					raw = raw[n:]
					continue
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, raw[1])
		}
		raw = raw[n:]
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// AppendString appends v to dst as a JSON string in the codec's one canonical form: escapes only where JSON demands
// them (and for the lone surrogates of Scanner.String), so that equal values have equal bytes.
func AppendString(dst []byte, v string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(v[i:])
			switch {
			case r != utf8.RuneError || n > 1:
				dst = append(dst, v[i:i+n]...)
			case i+2 < len(v) && c == 0xED && v[i+1] >= 0xA0 && v[i+1] <= 0xBF && v[i+2]&0xC0 == 0x80:
				n = 3
				dst = append(dst, '\\', 'u', 'd', hexDigits[v[i+1]>>2&15], hexDigits[v[i+1]&3<<2|v[i+2]>>4&3], hexDigits[v[i+2]&15])
			default:
				dst = append(dst, "\uFFFD"...)
			}
			i += n - 1
		}
	}
	return append(dst, '"')
}
