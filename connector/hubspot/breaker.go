package hubspot

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// breaker keeps requests back while HubSpot does not answer: after a run of failures (5xx, timeouts, broken connections;
// not 4xx) nothing is sent for a pause, then one request finds out. Callers wait; nobody has to handle an open breaker.
type breaker struct {
	log   *slog.Logger
	pause time.Duration
	cb    *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu      sync.Mutex // guards everything below
	changed chan struct{}
	until   time.Time // end of the pause
}

// errExcluded says that an attempt tells nothing about HubSpot's health: its caller left.
var errExcluded = errors.New("attempt was cancelled")

func newBreaker(pause time.Duration, log *slog.Logger) *breaker {
	b := &breaker{log: log, pause: pause, changed: make(chan struct{})}
	b.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Interval:     6 * pause,
		BucketPeriod: pause,
		Timeout:      pause,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return n.ConsecutiveFailures >= 10 || n.Requests >= 30 && n.TotalFailures*10 >= n.Requests*6
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errExcluded) },
		OnStateChange: b.stateChanged,
	})
	return b
}

// stateChanged is called by the breaker, which holds its lock.
func (b *breaker) stateChanged(_ string, from, to gobreaker.State) {
	b.mu.Lock()
	if to == gobreaker.StateOpen {
		// The breaker compares with "before", so that the end itself is still too early.
		b.until = time.Now().Add(b.pause + time.Millisecond)
	}
	b.mu.Unlock()
	b.broadcast()
	switch to {
	case gobreaker.StateOpen:
		b.log.Warn("hubspot is not answering, requests paused", "pause", b.pause, "was", from.String())
	case gobreaker.StateClosed:
		b.log.Info("hubspot is answering again")
	}
}

func (b *breaker) broadcast() {
	b.mu.Lock()
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
}

// wait returns when a request may try: the breaker is closed, or it is time for a probe.
func (b *breaker) wait(ctx context.Context) error {
	for {
		b.mu.Lock()
		changed, pause := b.changed, time.Until(b.until)
		b.mu.Unlock()
		if b.cb.State() != gobreaker.StateOpen {
			return ctx.Err()
		}
		if err := sleep(ctx, pause, changed); err != nil {
			return err
		}
	}
}

// allow admits one request or returns a channel that is closed when asking again makes sense.
func (b *breaker) allow() (done func(error), again <-chan struct{}) {
	b.mu.Lock()
	again = b.changed
	b.mu.Unlock()
	report, err := b.cb.Allow()
	if err != nil {
		return nil, again
	}
	return func(err error) {
		report(err)
		if errors.Is(err, errExcluded) {
			b.broadcast() // a probe that ended without a verdict leaves its place to another
		}
	}, nil
}

func (b *breaker) state() string { return b.cb.State().String() }

// sleep waits for d, or until wake is closed, or returns the context's error.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
