package hubspot

import (
	"testing"
	"time"
)

// A day of the account has 23 or 25 hours when its clocks change.
func TestTheDayEndsAtTheAccountsMidnight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, now string
		want      time.Duration
	}{
		{"UTC", "2026-11-01T04:30:00Z", 19*time.Hour + 30*time.Minute},
		{"America/New_York", "2026-10-31T03:59:00Z", time.Minute},
		{"America/New_York", "2026-11-01T04:30:00Z", 24*time.Hour + 30*time.Minute}, // clocks go back at 2:00
		{"America/New_York", "2026-03-08T05:30:00Z", 22*time.Hour + 30*time.Minute}, // and forward
		{"Europe/Berlin", "2026-10-24T23:30:00Z", 23*time.Hour + 30*time.Minute},
		{"Asia/Kolkata", "2026-06-01T18:29:59Z", time.Second},
		{"America/Asuncion", "2024-10-06T03:30:00Z", 30 * time.Minute}, // clocks went forward at midnight itself
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		d := daily{zone: zone, clock: func() time.Time { return now }}
		if got := d.untilMidnight(); got != c.want {
			t.Errorf("%s in %s: %v, want %v", c.now, c.zone, got, c.want)
		}
	}
}
