package simulator

import "time"

// The base data lives between these days, long before any change that a test makes. (Epoch ms.)
const (
	firstDay     int64 = 1546300800000 // 2019-01-01
	lastCreated  int64 = 1748736000000 // 2025-06-01
	lastModified int64 = 1759276800000 // 2025-10-01
	day          int64 = 86_400_000
)

// appendTime appends epoch ms as HubSpot writes it: 2026-02-25T16:23:49.023Z. (time.Format would cost most of a page.)
func appendTime(dst []byte, ms int64) []byte {
	if ms < 0 || ms >= 253402300800000 {
		return time.UnixMilli(ms).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
	dst = appendDate(dst, ms)
	of := int(ms % day)
	h, m, s, f := of/3_600_000, of/60_000%60, of/1000%60, of%1000
	return append(dst, 'T', digit(h/10), digit(h), ':', digit(m/10), digit(m), ':', digit(s/10), digit(s), '.',
		digit(f/100), digit(f/10), digit(f), 'Z')
}

// appendDate appends the day of epoch ms: 2026-02-25.
func appendDate(dst []byte, ms int64) []byte {
	// Days since 0000-03-01, cut into 400-year eras (Howard Hinnant's civil_from_days).
	z := ms/day + 719468
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d := int(doy - (153*mp+2)/5 + 1)
	m := int(mp + 3)
	y := int(yoe + era*400)
	if m > 12 {
		m -= 12
		y++
	}
	return append(dst, digit(y/1000), digit(y/100), digit(y/10), digit(y), '-', digit(m/10), digit(m), '-', digit(d/10), digit(d))
}

func digit(n int) byte { return byte('0' + n%10) }

// parseTime reads a filter's or a property's time: epoch ms (also with a fraction), a date or ISO-8601 with an offset.
// HubSpot rule: the resolution is milliseconds; finer digits are cut off.
func parseTime(s string) (ms int64, ok bool) {
	if n, ok := parseEpoch(s); ok {
		return n, true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}

func parseEpoch(s string) (int64, bool) {
	neg := len(s) > 1 && s[0] == '-'
	if neg {
		s = s[1:]
	}
	var n int64
	digits := 0
	for ; digits < len(s) && s[digits] >= '0' && s[digits] <= '9'; digits++ {
		if n > (1<<62)/10 {
			return 0, false
		}
		n = n*10 + int64(s[digits]-'0')
	}
	if digits == 0 || (digits < len(s) && s[digits] != '.') {
		return 0, false
	}
	for _, c := range []byte(s[min(digits+1, len(s)):]) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	if neg {
		n = -n
	}
	return n, true
}
