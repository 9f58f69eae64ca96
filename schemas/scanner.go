package schemas

import (
	"fmt"
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

// End fails unless nothing but white space is left.
func (s *Scanner) End() {
	if s.Peek(); s.err == nil && s.pos < len(s.buf) {
		s.fail("text after the end")
	}
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
			s.fail("control character in string")
			return nil, false
		}
	}
}
