package connector

import (
	"context"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// quota returns what the client has used so far, as cursors tell it to whoever asks for the status.
func (s *Source) quota() *schemas.Quota {
	u := s.cfg.Client.Usage()
	q := &schemas.Quota{
		Requests: u.Sent(), RateLimited: u.RateLimited, DailyLimit: u.Daily.Limit, DailyUsed: u.Daily.Used,
		Breaker: u.Breaker, ParkedUntil: u.ParkedUntil, ParkedFor: u.ParkedFor,
	}
	if u.Daily.Remaining >= 0 {
		q.Remaining = &u.Daily.Remaining
	}
	return q
}

// tellEvery is the time between two looks at whether HubSpot can be asked at all.
const tellEvery = 5 * time.Second

// tellStops puts it into the log when HubSpot is asked nothing for a while, because the daily quota is used up or HubSpot
// is out of order, and when that is over: no cursor would move meanwhile, and nobody could tell it from a dead source.
func (s *Source) tellStops(ctx context.Context) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	told := stops{}
	for len(s.followers) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		q := s.quota()
		now := stops{q.ParkedUntil.UnixMilli(), q.Breaker == "open"}
		if q.ParkedUntil.IsZero() {
			now.parked = 0
		}
		if now == told {
			continue
		}
		if _, err := s.followers[0].log.Append(ctx, page{Origin: schemas.OriginPoll, Tell: true}, nil); err != nil {
			continue // on standby, or NATS is away: the next tick tries again
		}
		told = now
	}
	return nil
}

// stops is what keeps a source from asking HubSpot.
type stops struct {
	parked int64 // until, in epoch milliseconds; 0 if it is not
	broken bool  // the circuit breaker is open
}
