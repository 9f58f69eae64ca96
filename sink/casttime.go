package sink

import (
	"encoding/binary"
	"time"
)

// The days from 1970-01-01 to 2000-01-01, from which Postgres counts, and to the ends of the years that are allowed.
const (
	postgresEpoch = 10_957
	firstDay      = -719_162  // 0001-01-01
	lastDay       = 2_932_896 // 9999-12-31

	secondsPerDay = 86_400
	msPerDay      = 1000 * secondsPerDay
)

// appendDate accepts YYYY-MM-DD, and epoch milliseconds if they are a midnight UTC.
// HubSpot rule: old dates are epoch milliseconds at midnight UTC.
func appendDate(dst, raw []byte) ([]byte, bool) {
	day, ok := parseDay(raw)
	if !ok || len(raw) != len("2006-01-02") {
		ms, isEpoch := parseEpoch(raw)
		if !isEpoch || ms%msPerDay != 0 {
			return dst, false
		}
		day = ms / msPerDay
	}
	if day < firstDay || day > lastDay {
		return dst, false
	}
	return binary.BigEndian.AppendUint32(dst, uint32(int32(day-postgresEpoch))), true
}

// appendTimestamptz accepts ISO-8601 with a zone, to the microsecond, and epoch milliseconds.
// HubSpot rule: a datetime is ISO-8601 in UTC, or epoch milliseconds as a string, even as "1600000000000.0".
func appendTimestamptz(dst, raw []byte) ([]byte, bool) {
	day, micros, ok := parseISO(raw)
	if !ok {
		if n := len(raw) - 2; n > 0 && string(raw[n:]) == ".0" {
			raw = raw[:n]
		}
		ms, isEpoch := parseEpoch(raw)
		if !isEpoch {
			return dst, false
		}
		micros = ms * 1000
	} else {
		micros += day * secondsPerDay * 1_000_000
	}
	if micros < firstDay*secondsPerDay*1_000_000 || micros >= (lastDay+1)*secondsPerDay*1_000_000 {
		return dst, false
	}
	return binary.BigEndian.AppendUint64(dst, uint64(micros-postgresEpoch*secondsPerDay*1_000_000)), true
}

// parseEpoch reads a whole number of milliseconds, as HubSpot writes it: no plus sign, no leading zeros.
func parseEpoch(raw []byte) (ms int64, ok bool) {
	p := raw
	if len(p) > 1 && p[0] == '-' {
		p = p[1:]
	}
	if len(p) == 0 || len(p) > 15 || digits(p) != len(p) || p[0] == '0' && len(raw) > 1 {
		return 0, false
	}
	for _, c := range p {
		ms = ms*10 + int64(c-'0')
	}
	if raw[0] == '-' {
		ms = -ms
	}
	return ms, true
}

// parseDay reads the YYYY-MM-DD at the start of p, as days since 1970.
func parseDay(p []byte) (day int64, ok bool) {
	if len(p) < 10 || p[4] != '-' || p[7] != '-' {
		return 0, false
	}
	year, ok1 := number(p[0:4])
	month, ok2 := number(p[5:7])
	dom, ok3 := number(p[8:10])
	if !ok1 || !ok2 || !ok3 || year < 1 || month < 1 || month > 12 || dom < 1 || dom > daysIn(year, month) {
		return 0, false
	}
	// Days since 1970 by the civil calendar, years starting in March so that leap days come last.
	if month <= 2 {
		year--
		month += 12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + dom - 719_469), true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// parseISO reads YYYY-MM-DDTHH:MM:SS[.ffffff](Z|+HH:MM|-HH:MM), with seconds below 60 and offsets below 16 hours, as
// days since 1970 and microseconds of the day, the latter below zero or beyond a day where the offset makes it so.
func parseISO(p []byte) (day, micros int64, ok bool) {
	const minLen = len("2006-01-02T15:04:05Z")
	if day, ok = parseDay(p); !ok || len(p) < minLen || p[10] != 'T' || p[13] != ':' || p[16] != ':' {
		return 0, 0, false
	}
	hour, ok1 := number(p[11:13])
	minute, ok2 := number(p[14:16])
	second, ok3 := number(p[17:19])
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return 0, 0, false
	}
	micros = int64(hour*3600+minute*60+second) * 1_000_000
	p = p[19:]
	if p[0] == '.' {
		n := digits(p[1:])
		if n == 0 || n > 6 {
			return 0, 0, false
		}
		fraction, _ := number(p[1 : 1+n])
		for range 6 - n {
			fraction *= 10
		}
		micros += int64(fraction)
		p = p[1+n:]
	}
	offset, ok := parseOffset(p)
	return day, micros - offset*1_000_000, ok
}

// parseOffset reads a zone, as seconds east of UTC.
func parseOffset(p []byte) (seconds int64, ok bool) {
	if len(p) == 1 && p[0] == 'Z' {
		return 0, true
	}
	if len(p) != 6 || p[3] != ':' || p[0] != '+' && p[0] != '-' {
		return 0, false
	}
	hour, ok1 := number(p[1:3])
	minute, ok2 := number(p[4:6])
	if !ok1 || !ok2 || hour > 15 || minute > 59 {
		return 0, false
	}
	seconds = int64(hour*3600 + minute*60)
	if p[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

func number(p []byte) (n int, ok bool) {
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// postgresMicros returns a time as Postgres counts it.
func postgresMicros(t time.Time) int64 {
	return t.UnixMicro() - postgresEpoch*secondsPerDay*1_000_000
}
