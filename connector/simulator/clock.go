package simulator

import "time"

// Advance moves HubSpot's clock forward: rate limits, tokens, index lag and stamps follow it.
func (s *Simulator) Advance(d time.Duration) { s.portal.offset.Add(int64(d)) }

// Now returns HubSpot's clock.
func (s *Simulator) Now() time.Time { return s.portal.now() }
