package hubspot

import (
	"errors"
	"time"
)

// Sentinels for errors.Is.
var (
	// ErrUnauthorized says that the token is wrong, expired or revoked. Retrying does not help.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden says that the token lacks a scope; the error's text names it.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound says that HubSpot does not know the object type or record.
	ErrNotFound = errors.New("not found")
	// ErrInvalid says that HubSpot refused the request itself. Retrying does not help.
	ErrInvalid = errors.New("invalid request")
	// ErrRateLimited says that HubSpot kept answering 429 until the client gave up.
	ErrRateLimited = errors.New("rate limited")
	// ErrDailyLimit says that the daily quota is used up. The client waits for midnight by itself, so callers meet it only
	// when their context ends first.
	ErrDailyLimit = errors.New("daily limit reached")
	// ErrUnavailable says that HubSpot did not answer usefully until the client gave up. Trying later may help.
	ErrUnavailable = errors.New("hubspot unavailable")
)

// Error is an answer of HubSpot that says no. Every field but Status may be empty: HubSpot leaves out any of them.
type Error struct {
	Status        int
	Category      string
	SubCategory   string
	PolicyName    string // of a 429: TEN_SECONDLY_ROLLING, SECONDLY, DAILY
	Message       string
	CorrelationID string
	RetryAfter    time.Duration
	Scopes        []string // of a 403: what the token lacks
}

// Error implements error.
func (e *Error) Error() string { return e.Message }
