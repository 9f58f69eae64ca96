package hubspot

import (
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// Config of a client. One of Token and OAuth is needed; the zero value of everything else is fine.
type Config struct {
	BaseURL string // "" means https://api.hubapi.com
	Version string // of the CRM object API: "" means "v3", else a date like "2026-03"
	Token   string // of a private app
	OAuth   *OAuth // of a public app, instead of Token

	HTTPClient *http.Client // nil means one tuned for some 40 parallel requests to one host

	Share      float64 // of the daily quota that we may use; 0 means 0.9
	BurstShare float64 // of the burst quota, which is ours alone (HubSpot rule: per app); 0 means 1

	BurstLimit     int           // requests per Interval before headers say so; 0 means 100
	Interval       time.Duration // 0 means 10 s; shorter for scaled benchmarks
	SearchLimit    int           // searches per SearchInterval; 0 means 5
	SearchInterval time.Duration // 0 means 1 s
	DailyLimit     int           // before headers say so; 0 means unknown

	MaxURL  int           // longest URL we send; 0 means 15,000
	Timeout time.Duration // of one attempt, body included; 0 means 60 s
	Logger  *slog.Logger  // nil means discard
}

// OAuth are the credentials of a public app in one portal.
type OAuth struct {
	ClientID     string
	ClientSecret string
	RefreshToken string
}

// Priority orders the calls that wait for the budget.
type Priority int

// The priorities, highest last.
const (
	PriorityVerify Priority = iota + 1
	PriorityBackfill
	PriorityDeletes
	PriorityIncremental
	PriorityWebhook
)

// Client talks to one portal. It is safe for concurrent use.
type Client struct{}

// New returns a client. It sends nothing yet.
func New(cfg Config) (*Client, error) { return nil, errors.ErrUnsupported }

// At returns a client with the same budget and breaker whose calls have priority p. New's client has PriorityIncremental.
func (c *Client) At(p Priority) *Client { return c }

// Now returns the time by HubSpot's clock, learned from the Date headers of its answers; the local time before the first.
func (c *Client) Now() time.Time { return time.Now() }
