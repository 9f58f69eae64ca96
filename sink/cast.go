package sink

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// columnType is a SQL type that a property's values can have. Casts write Postgres' binary format of a value, which is
// what travels, whether by parameter or by COPY.
type columnType uint8

const (
	typeText columnType = iota + 1
	typeNumeric
	typeBoolean
	typeDate
	typeTimestamptz
)

// The object ids of the types and of their arrays, fixed in every Postgres.
const (
	oidBool, oidInt8, oidInt4, oidText, oidDate, oidTimestamptz, oidNumeric, oidJSONB, oidBytea = 16, 20, 23, 25, 1082, 1184, 1700, 3802, 17

	oidBoolArray, oidInt8Array, oidInt4Array, oidTextArray, oidDateArray, oidTimestamptzArray, oidNumericArray, oidJSONBArray = 1000, 1016, 1007, 1009, 1182, 1185, 1231, 3807
)

var columnTypes = [...]struct {
	sql        string
	oid, array uint32
}{
	typeText:        {"text", oidText, oidTextArray},
	typeNumeric:     {"numeric", oidNumeric, oidNumericArray},
	typeBoolean:     {"boolean", oidBool, oidBoolArray},
	typeDate:        {"date", oidDate, oidDateArray},
	typeTimestamptz: {"timestamptz", oidTimestamptz, oidTimestamptzArray},
}

func (t columnType) String() string { return columnTypes[t].sql }

// columnTypeOf returns the column type for a HubSpot property type. Types that HubSpot may add one day are text.
func columnTypeOf(hubspotType string) columnType {
	switch hubspotType {
	case "number":
		return typeNumeric
	case "bool":
		return typeBoolean
	case "date":
		return typeDate
	case "datetime":
		return typeTimestamptz
	}
	return typeText
}

// appendValue appends the value that raw, HubSpot's text, has in a column of this type. It reports false, and dst
// unchanged, if raw does not fit: then it belongs in _extra. Whatever fits, Postgres' own cast of the text would accept
// with the same meaning (epoch milliseconds apart, which Postgres has no text for).
func (t columnType) appendValue(dst, raw []byte) ([]byte, bool) {
	switch t {
	case typeText:
		if bytes.IndexByte(raw, 0) >= 0 || !utf8.Valid(raw) {
			return dst, false
		}
		return append(dst, raw...), true
	case typeNumeric:
		return appendNumeric(dst, raw)
	case typeBoolean:
		return appendBoolean(dst, raw)
	case typeDate:
		return appendDate(dst, raw)
	case typeTimestamptz:
		return appendTimestamptz(dst, raw)
	}
	return dst, false
}

func appendBoolean(dst, raw []byte) ([]byte, bool) {
	switch string(raw) {
	case "true":
		return append(dst, 1), true
	case "false":
		return append(dst, 0), true
	}
	return dst, false
}

const (
	maxExponent = 1000
	maxDigits   = 100_000 // before the point; Postgres: 131,072
	maxScale    = 16_000  // after the point; Postgres: 16,383
)

// appendNumeric accepts what JSON calls a number, within limits: no leading "+" or zeros, no separators, no NaN.
func appendNumeric(dst, raw []byte) ([]byte, bool) {
	p := raw
	sign := uint16(0)
	if len(p) > 0 && p[0] == '-' {
		sign, p = 0x4000, p[1:]
	}
	whole := digits(p)
	if whole == 0 || whole > 1 && p[0] == '0' {
		return dst, false
	}
	integer, fraction := p[:whole], p[whole:whole]
	if p = p[whole:]; len(p) > 0 && p[0] == '.' {
		n := digits(p[1:])
		if n == 0 {
			return dst, false
		}
		fraction, p = p[1:1+n], p[1+n:]
	}
	exponent, ok := parseExponent(p)
	if !ok || len(integer)+exponent > maxDigits || len(fraction)-exponent > maxScale {
		return dst, false
	}
	return appendDecimal(dst, sign, integer, fraction, exponent), true
}

func parseExponent(p []byte) (exponent int, ok bool) {
	if len(p) == 0 {
		return 0, true
	}
	if p[0] != 'e' && p[0] != 'E' {
		return 0, false
	}
	p = p[1:]
	negative := len(p) > 0 && p[0] == '-'
	if negative || len(p) > 0 && p[0] == '+' {
		p = p[1:]
	}
	if len(p) == 0 || digits(p) != len(p) {
		return 0, false
	}
	for _, c := range p {
		if exponent = exponent*10 + int(c-'0'); exponent > maxExponent {
			return 0, false
		}
	}
	if negative {
		exponent = -exponent
	}
	return exponent, true
}

// appendDecimal appends a numeric: its digits in base 10,000, grouped from the point outwards, without zero groups at
// either end, behind their count, the weight of the first group, the sign, and how many decimals to show.
func appendDecimal(dst []byte, sign uint16, integer, fraction []byte, exponent int) []byte {
	digit := func(i int) int {
		if i < 0 {
			return 0
		}
		if i < len(integer) {
			return int(integer[i] - '0')
		}
		if i -= len(integer); i < len(fraction) {
			return int(fraction[i] - '0')
		}
		return 0
	}
	first, last := 0, len(integer)+len(fraction) // without zeros at the ends
	for first < last && digit(first) == 0 {
		first++
	}
	for last > first && digit(last-1) == 0 {
		last--
	}
	scale := uint16(max(0, len(fraction)-exponent))
	if first == last {
		return binary.BigEndian.AppendUint16(append(dst, 0, 0, 0, 0, 0, 0), scale)
	}
	before := len(integer) - first + exponent // digits before the point, negative if zeros follow it
	weight := floorDiv(before-1, 4)
	start := first - (4 - (before - 4*weight)) // of the first group, which may begin with zeros that are not there
	groups := (last - start + 3) / 4
	dst = binary.BigEndian.AppendUint16(dst, uint16(groups))
	dst = binary.BigEndian.AppendUint16(dst, uint16(int16(weight)))
	dst = binary.BigEndian.AppendUint16(dst, sign)
	dst = binary.BigEndian.AppendUint16(dst, scale)
	for g := range groups {
		value := 0
		for i := start + 4*g; i < start+4*g+4; i++ {
			d := 0
			if i >= first && i < last {
				d = digit(i)
			}
			value = value*10 + d
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(value))
	}
	return dst
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// digits returns how many decimal digits p starts with.
func digits(p []byte) int {
	n := 0
	for n < len(p) && p[n] >= '0' && p[n] <= '9' {
		n++
	}
	return n
}
