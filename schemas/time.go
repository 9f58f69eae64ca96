package schemas

import "time"

// timeFormat is how the log writes a time: RFC 3339, UTC, to the millisecond.
const timeFormat = "2006-01-02T15:04:05.000Z"

// appendTime is AppendFormat(b, timeFormat), which is slow for a layout of one's own.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, timeFormat)
	}
	hour, minute, second := t.Clock()
	b = append(appendDigits(b, year, 4), '-')
	b = append(appendDigits(b, int(month), 2), '-')
	b = append(appendDigits(b, day, 2), 'T')
	b = append(appendDigits(b, hour, 2), ':')
	b = append(appendDigits(b, minute, 2), ':')
	b = append(appendDigits(b, second, 2), '.')
	return append(appendDigits(b, t.Nanosecond()/1e6, 3), 'Z')
}

func appendDigits(b []byte, n, width int) []byte {
	var digits [4]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:width]...)
}

// Time reads a time in RFC 3339, or null as the zero time.
func (s *Scanner) Time() time.Time {
	if s.Peek() == 'n' {
		s.Skip()
		return time.Time{}
	}
	raw, escaped := s.RawString()
	if s.err != nil {
		return time.Time{}
	}
	if escaped {
		raw = unescape(nil, raw)
	}
	var t time.Time
	if err := t.UnmarshalText(raw); err != nil {
		s.fail("not an RFC 3339 time: " + string(raw))
		return time.Time{}
	}
	// An offset can carry the years 0 and 9999 out of the range that the format can write.
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		s.fail("time out of range: " + string(raw))
		return time.Time{}
	}
	return t
}

// milliseconds cuts a time to what the log keeps of it.
func milliseconds(t *time.Time) { *t = t.UTC().Truncate(time.Millisecond) }
