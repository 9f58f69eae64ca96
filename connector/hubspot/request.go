package hubspot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The kinds of request, as Usage counts them.
const (
	kindList         = "list"
	kindSearch       = "search"
	kindBatch        = "batch"
	kindProperties   = "properties"
	kindPipelines    = "pipelines"
	kindOwners       = "owners"
	kindSchemas      = "schemas"
	kindAssociations = "associations"
	kindLabels       = "labels"
	kindAccount      = "account"
	kindToken        = "token"
)

// maxAnswer bounds the size of an answer, uncompressed. The largest known is a page of 100 full records: 2 MB.
const maxAnswer = 64 << 20

// request is one call. The path includes the query.
type request struct {
	kind   string
	what   string // for errors: "list contacts"
	method string
	path   string
	body   []byte
	// claim, if set, decides when the request's turn has come whether it is sent, and completes it.
	claim func() bool
	// read reads a body with status 200 or 207. The body is valid only during the call.
	read func(body []byte) error
}

// attempt sends the request once, with the slot it was given.
func (c *core) attempt(ctx context.Context, req *request, s *slot) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errTimeout)
	defer cancel()
	token, err := c.tokens.get(ctx)
	if err != nil {
		s.unused()
		return err
	}
	w := &wire{slot: s}
	hr, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, w.trace()), req.method, c.base+req.path, bytes.NewReader(req.body))
	if err != nil {
		s.unused()
		return err
	}
	hr.Header.Set("Authorization", "Bearer "+token)
	hr.Header.Set("Accept", "application/json")
	hr.Header.Set("User-Agent", "hubtail")
	if req.body != nil {
		hr.Header.Set("Content-Type", "application/json")
	}
	o := outcome{failed: true}
	err = c.exchange(hr, req, w, &o)
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == errTimeout {
		err = errTimeout
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		if e.Status == http.StatusUnauthorized {
			c.tokens.rejected(token)
		}
		e.Message = strings.ReplaceAll(e.Message, token, "[token]") // HubSpot quotes it in some answers
	}
	if !w.close(&o) {
		s.unused() // no connection: HubSpot has not seen anything
	} else {
		s.finished(o)
	}
	return err
}

var errTimeout = errors.New("no answer in time")

// unreached says where HubSpot was looked for.
func (c *core) unreached(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL, which can have 15,000 characters
	}
	if c.base == hubspotAddress {
		return err
	}
	return fmt.Errorf("no answer from %s (--hubspot-url, HUBTAIL_HUBSPOT_URL): %w", c.base, err)
}

// exchange sends the request and reads the answer.
func (c *core) exchange(hr *http.Request, req *request, w *wire, o *outcome) error {
	resp, err := c.http.Do(hr)
	if err != nil {
		return c.unreached(err)
	}
	defer resp.Body.Close()
	o.limits = readLimits(resp.Header)
	c.clock.observe(resp.Header, w.sent(), time.Now())

	buf := c.bodies.take(hr.Context())
	defer c.bodies.put(buf)
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1))
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusMultiStatus {
		e := readError(resp.StatusCode, resp.Header, buf.Bytes(), time.Now())
		o.failed = e.Status >= 500
		o.retryIn, o.denied = e.RetryAfter, e.denial(req.kind == kindSearch)
		return e
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if n > maxAnswer {
		return fmt.Errorf("%w: larger than %d bytes", ErrMalformed, maxAnswer)
	}
	o.failed = false
	if err := req.read(buf.Bytes()); err != nil {
		if e := (*Error)(nil); errors.As(err, &e) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// readLimits reads the rate limit headers, nil without any. HubSpot rule: answers to searches carry none.
func readLimits(h http.Header) *limits {
	found := false
	read := func(name string) int {
		n, err := strconv.Atoi(h.Get("X-HubSpot-RateLimit-" + name))
		if err != nil || n < 0 {
			return -1
		}
		found = true
		return n
	}
	l := &limits{
		max: read("Max"), remaining: read("Remaining"), interval: read("Interval-Milliseconds"),
		daily: read("Daily"), dailyRemaining: read("Daily-Remaining"),
	}
	if !found {
		return nil
	}
	return l
}

// wire watches one attempt on the network.
type wire struct {
	slot *slot

	mu        sync.Mutex // guards everything below: the transport reports from its own goroutines
	connected bool
	written   time.Time
	first     time.Time
	closed    bool
}

func (w *wire) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.connected = true
		},
		WroteRequest: func(httptrace.WroteRequestInfo) {
			now := time.Now()
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.written = now; !w.closed {
				w.slot.sent(now)
			}
		},
		GotFirstResponseByte: func() {
			now := time.Now()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.first = now
		},
	}
}

func (w *wire) sent() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}

// close ends the watch and completes the outcome. It returns false if there never was a connection.
func (w *wire) close(o *outcome) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	o.first = w.first
	return w.connected
}
