package hubspot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"
)

// maxAttempts bounds the attempts of one call; with growing pauses they span some minutes. Waiting for the budget, for the
// breaker, for midnight or for the end of a migration is not an attempt.
const maxAttempts = 10

// malformedAttempts bounds the attempts of a call whose answer is complete and cannot be read: it is unlikely to get better.
const malformedAttempts = 3

// troubleAttempts is after how many failures of one call the operator hears of it, once. Single ones are everyday.
const troubleAttempts = 3

// do makes a call: it waits for the breaker and the budget, sends the request, and retries what may succeed later.
func (c *Client) do(ctx context.Context, req *request) error {
	var tries tries
	for sent := 1; ; sent++ {
		s, done, err := c.admit(ctx, req)
		if err != nil {
			return fmt.Errorf("%s: %w", req.what, err)
		}
		if sent == 1 && req.claim != nil && !req.claim() {
			s.unused()
			done(errExcluded)
			return ErrUnclaimed
		}
		c.core.usage.sent(req.kind, sent)
		err = c.attempt(ctx, req, s)
		done(health(ctx, err))
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", req.what, err)
		}
		pause, again := c.plan(req, err, &tries)
		if !again {
			c.core.usage.failed()
			return fmt.Errorf("%s: %w", req.what, giveUp(err))
		}
		level := slog.LevelDebug
		if tries.failed == troubleAttempts {
			level = slog.LevelWarn
		}
		c.log.Log(ctx, level, "hubspot request will be retried", "request", req.what, "attempts", sent, "error", err, "pause", pause)
		if stopped := sleep(ctx, pause, nil); stopped != nil {
			return fmt.Errorf("%s: %w, before a retry of: %w", req.what, stopped, err)
		}
	}
}

// admit waits until a request may be sent. The caller must call done with what it learned about HubSpot's health.
func (c *Client) admit(ctx context.Context, req *request) (*slot, func(error), error) {
	for {
		if err := c.breaker.wait(ctx); err != nil {
			return nil, nil, fmt.Errorf("%w: waiting for HubSpot to recover: %w", ErrUnavailable, err)
		}
		s, err := c.budget.acquire(ctx, req.kind, req.kind == kindSearch, c.priority)
		if err != nil {
			return nil, nil, err
		}
		done, again := c.breaker.allow()
		if done != nil {
			return s, done, nil
		}
		s.unused()
		if err := sleep(ctx, c.cfg.Interval, again); err != nil {
			return nil, nil, err
		}
	}
}

// health says what an attempt tells the breaker: only that HubSpot is out of order is a failure.
func health(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return errExcluded
	}
	if e := (*Error)(nil); errors.As(err, &e) && e.Status < 500 && e.Status != http.StatusRequestTimeout {
		return nil
	}
	return err
}

// tries counts what has been tried in one call.
type tries struct {
	failed    int  // attempts that count
	denied    int  // of those, 429s in a row
	malformed int  // of those, answers that could not be read
	refreshed bool // a new access token was tried
}

// plan decides whether and when to try again.
func (c *core) plan(req *request, err error, t *tries) (pause time.Duration, again bool) {
	t.failed++
	var e *Error
	if !errors.As(err, &e) {
		if errors.Is(err, ErrMalformed) {
			t.malformed++
		}
		// Networks fail like HubSpot's own 5xx.
		return c.grow(c.cfg.Interval/50, t.failed), t.failed < maxAttempts && t.malformed < malformedAttempts
	}
	if e.Status == http.StatusTooManyRequests {
		c.usage.denied()
		t.denied++
		pause, free := c.deniedPause(req, e, t.denied)
		if free {
			t.failed--
		}
		return pause, t.failed < maxAttempts
	}
	t.denied = 0
	switch e.Status {
	case http.StatusUnauthorized:
		if c.cfg.OAuth == nil || t.refreshed {
			return 0, false
		}
		t.refreshed = true
		return 0, true
	case http.StatusLocked: // HubSpot rule: wait at least 2 s
		pause = max(e.RetryAfter, time.Duration(min(t.failed, 5))*2*time.Second)
	case 477: // HubSpot rule: the account is being moved, Retry-After says for how long, 24 h at most
		wait := e.RetryAfter
		if wait == 0 {
			wait = 10 * time.Minute
		}
		c.budget.park(time.Now().Add(min(wait, 24*time.Hour)), parkedMigration)
		t.failed--
		return 0, true
	case http.StatusBadGateway, http.StatusGatewayTimeout, 521, 523, 524: // HubSpot rule: pause a few seconds
		pause = max(e.RetryAfter, c.grow(c.cfg.Interval/5, t.failed))
	case 522, 525, 526, 530: // HubSpot rule: contact support; the last is a malformed token
		return 0, false
	case http.StatusRequestTimeout:
		pause = c.grow(c.cfg.Interval/50, t.failed)
	default:
		if e.Status < 500 {
			return 0, false
		}
		pause = max(e.RetryAfter, c.grow(c.cfg.Interval/50, t.failed))
	}
	return pause, t.failed < maxAttempts
}

// deniedPause returns how long a call waits after its n-th 429 in a row, and whether the attempt was free: until midnight
// the budget keeps everything back, that is no reason to give up.
func (c *core) deniedPause(req *request, e *Error, n int) (pause time.Duration, free bool) {
	n = min(n, 3)
	switch e.denial(req.kind == kindSearch) {
	case deniedDaily:
		return 0, true
	case deniedSearch:
		pause = time.Duration(n) * c.cfg.SearchInterval
	default:
		pause = time.Duration(n) * c.cfg.Interval
	}
	if e.RetryAfter > 0 {
		pause = e.RetryAfter
	}
	return pause + time.Duration(rand.Int64N(int64(pause)/10+1)), false
}

// grow returns base doubled with every attempt, 30 s at most (three intervals), somewhat scattered so that many callers do
// not come back at once.
func (c *core) grow(base time.Duration, attempt int) time.Duration {
	d := min(base<<min(attempt-1, 20), 3*c.cfg.Interval)
	return d/2 + time.Duration(rand.Int64N(int64(d)/2+1))
}

// giveUp says of a failure that it may pass.
func giveUp(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) || errors.Is(err, ErrMalformed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
