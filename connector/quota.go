package connector

import "github.com/hubtail/hubtail/schemas"

// quota returns what the client has used so far, as cursors tell it to whoever asks for the status.
func (s *Source) quota() *schemas.Quota {
	u := s.cfg.Client.Usage()
	q := &schemas.Quota{
		RateLimited: u.RateLimited, DailyLimit: u.Daily.Limit, DailyUsed: u.Daily.Used,
		Breaker: u.Breaker, ParkedUntil: u.ParkedUntil, ParkedFor: u.ParkedFor,
	}
	for _, n := range u.Requests {
		q.Requests += n
	}
	if u.Daily.Remaining >= 0 {
		q.Remaining = &u.Daily.Remaining
	}
	return q
}
