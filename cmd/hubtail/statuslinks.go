package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// linksText says when the links of all records of an object type were last read, or how far that is.
func (o *objectStatus) linksText(now time.Time) string {
	if o.Links == nil || o.Links.Sweep == nil {
		return "-"
	}
	s := o.Links.Sweep
	percent := int64(0)
	if s.Total > 0 {
		percent = 100 * s.Done / s.Total
	}
	switch {
	case !s.DoneAt.IsZero():
		return ago(now, s.StartedAt)
	case s.Seconds == 0:
		return fmt.Sprintf("first time, %d%%", percent)
	}
	return fmt.Sprintf("turn %d, %d%% of %s", s.Turn, percent, time.Duration(s.Seconds)*time.Second)
}

// judgeLinks finds links that HubSpot does not show, unless one of the object types cannot be read at all: that is told already.
func (s *status) judgeLinks() {
	failed := map[string]bool{}
	for _, o := range s.Objects {
		failed[o.Object] = o.LastRun != nil && o.LastRun.Status == "failed"
	}
	pairs := map[string][]string{} // by reason
	for _, o := range s.Objects {
		if o.Links == nil || failed[o.Object] {
			continue
		}
		for _, to := range slices.Sorted(maps.Keys(o.Links.Refused)) {
			if why := o.Links.Refused[to]; !failed[to] {
				pairs[why] = append(pairs[why], o.Object+" to "+to)
			}
		}
	}
	for _, why := range slices.Sorted(maps.Keys(pairs)) {
		s.problem("links are not read (%s): %s", strings.Join(pairs[why], ", "), why)
	}
}
