package main

import (
	"fmt"
	"time"
)

// verifiedText says when the source compared the object type with HubSpot, and what it could not repair.
func (o *objectStatus) verifiedText(now time.Time) string {
	switch v := o.Verified; {
	case v == nil:
		return "-"
	case v.Differences > v.Repaired:
		return fmt.Sprintf("%s, %s left", ago(now, v.At), thousands(v.Differences-v.Repaired))
	default:
		return ago(now, v.At)
	}
}

// judgeVerified finds differences that were not repaired.
func (s *status) judgeVerified() {
	for i := range s.Objects {
		if o := &s.Objects[i]; o.Verified != nil && o.Verified.Differences > o.Verified.Repaired {
			s.problem("%d differences of %s between HubSpot and the log could not be repaired: hubtail verify --repair %s names them",
				o.Verified.Differences-o.Verified.Repaired, o.Object, o.Object)
		}
	}
}
