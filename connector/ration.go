package connector

import "time"

// ration is an allowance of requests that grows steadily, up to a limit: what is saved while little happens may be spent
// when much does.
type ration struct {
	saved float64
	at    time.Time // when saved was right
}

// Reading links after changes may take followShare of the daily quota in the long run, and followSaved of it at a time.
const (
	followShare = 0.1
	followSaved = 0.02
)

// wantFor returns how long until so many requests may be spent on following the log.
func (r *linkReader) wantFor(requests int64) time.Duration {
	if r.once {
		return 0
	}
	perSecond := followShare * float64(r.daily()) / (24 * 60 * 60)
	r.ration.grow(perSecond, followSaved*float64(r.daily()))
	lack := float64(requests) - r.ration.saved
	if r.short.Store(lack > 0); lack > 0 {
		return time.Duration(lack / perSecond * float64(time.Second))
	}
	return 0
}

// grow adds what came since the last time.
func (n *ration) grow(perSecond, most float64) {
	now := time.Now()
	if n.at.IsZero() {
		n.saved = most
	} else {
		n.saved = min(most, n.saved+perSecond*now.Sub(n.at).Seconds())
	}
	n.at = now
}
