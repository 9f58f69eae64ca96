package hubspot

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Config of a client. One of Token and OAuth is needed; the zero value of everything else is fine.
type Config struct {
	BaseURL string // "" means https://api.hubapi.com
	Version string // of list, search and batch read: "" means "v3", else a date like "2026-03"
	Token   string // of a private app
	OAuth   *OAuth // of a public app, instead of Token

	HTTPClient *http.Client // nil means one tuned for some 40 parallel requests to one host

	Share float64 // of the daily quota that we may use; 0 means 0.9
	// BurstShare is the same of the burst quota, which is our app's alone unless others use its token, and of the searches,
	// which are the account's (HubSpot rules); 0 means 1.
	BurstShare float64

	BurstLimit     int           // requests per Interval before headers say so; 0 means 100
	Interval       time.Duration // 0 means 10 s; shorter for scaled benchmarks, retries scale along
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
type Client struct {
	*core
	priority Priority
}

// core is what the clients of all priorities share.
type core struct {
	cfg     Config
	base    string
	http    *http.Client
	log     *slog.Logger
	budget  *budget
	breaker *breaker
	clock   clock
	tokens  *tokens
	usage   counters
	maxURL  atomic.Int64 // shrinks when HubSpot answers 414
	bodies  bodies
}

// New returns a client. It sends nothing yet.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	base, err := url.Parse(cfg.BaseURL)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("hubspot base URL %q is not an http(s) URL", cfg.BaseURL)
	}
	switch {
	case cfg.Token == "" && cfg.OAuth == nil:
		return nil, errors.New("hubspot client needs a token or OAuth credentials")
	case cfg.Token != "" && cfg.OAuth != nil:
		return nil, errors.New("hubspot client needs a token or OAuth credentials, not both")
	case cfg.Share < 0 || cfg.Share > 1 || cfg.BurstShare < 0 || cfg.BurstShare > 1:
		return nil, errors.New("hubspot quota shares are between 0 and 1")
	}
	c := &core{cfg: cfg, base: strings.TrimRight(cfg.BaseURL, "/"), http: httpClient(cfg.HTTPClient), log: cfg.Logger, bodies: newBodies()}
	c.budget = newBudget(cfg, c.clock.estimate)
	c.breaker = newBreaker(cfg.Interval, cfg.Logger)
	c.tokens = newTokens(c)
	c.maxURL.Store(int64(cfg.MaxURL))
	return &Client{core: c, priority: PriorityIncremental}, nil
}

// hubspotAddress is where HubSpot itself answers.
const hubspotAddress = "https://api.hubapi.com"

func (cfg Config) withDefaults() Config {
	if cfg.BaseURL == "" {
		cfg.BaseURL = hubspotAddress
	}
	if cfg.Version == "" {
		cfg.Version = "v3"
	}
	if cfg.Share == 0 {
		cfg.Share = 0.9
	}
	if cfg.BurstShare == 0 {
		cfg.BurstShare = 1
	}
	orInt(&cfg.BurstLimit, 100) // the smallest plan's
	orInt(&cfg.SearchLimit, 5)
	orInt(&cfg.MaxURL, 15_000)
	orDuration(&cfg.Interval, 10*time.Second)
	orDuration(&cfg.SearchInterval, time.Second)
	orDuration(&cfg.Timeout, time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func orInt(v *int, def int) {
	if *v <= 0 {
		*v = def
	}
}

func orDuration(v *time.Duration, def time.Duration) {
	if *v <= 0 {
		*v = def
	}
}

// httpClient returns given, or a client of our own, made to follow no redirects: the token must not travel to another host.
func httpClient(given *http.Client) *http.Client {
	var c http.Client
	if given != nil {
		c = *given
	} else {
		dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
		c.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   10 * time.Second,
			ForceAttemptHTTP2:     true,
			HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
			MaxIdleConns:          64,
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       90 * time.Second,
			ExpectContinueTimeout: time.Second,
		}
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// At returns a client with the same budget and breaker whose calls have priority p. New's client has PriorityIncremental.
func (c *Client) At(p Priority) *Client {
	return &Client{core: c.core, priority: min(max(p, PriorityVerify), PriorityWebhook)}
}

// Now returns the time by HubSpot's clock, learned from the Date headers of its answers; the local time before the first. It
// never goes back.
func (c *Client) Now() time.Time { return c.clock.now() }

// Close closes idle connections. Calls under way end with their contexts.
func (c *Client) Close() { c.http.CloseIdleConnections() }
