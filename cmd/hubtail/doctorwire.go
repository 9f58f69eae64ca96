package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is the way to HubSpot: it counts requests, reads headers, and lets nobody try again, so that a doctor's visit costs
// what it says.
type wire struct {
	transport *http.Transport
	requests  atomic.Int64

	mu      sync.Mutex // guards everything below
	quota   quotaHeaders
	low     time.Duration // HubSpot's clock is ahead of ours by low at least, by high at most
	high    time.Duration
	bounded bool
}

// quotaHeaders are the limits of the newest answer that names them; 0 if unknown.
type quotaHeaders struct{ burst, burstLeft, daily, dailyLeft int }

func newWire() *wire {
	return &wire{transport: http.DefaultTransport.(*http.Transport).Clone()}
}

func (w *wire) client() *http.Client { return &http.Client{Transport: w} }

// CloseIdleConnections is what http.Client looks for.
func (w *wire) CloseIdleConnections() { w.transport.CloseIdleConnections() }

// stopKey finds the function that ends a call in its context.
type stopKey struct{}

// once returns a context for a call that is not repeated when it fails.
func (w *wire) once(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := bound(ctx)
	return context.WithValue(ctx, stopKey{}, cancel), cancel
}

// RoundTrip sends a request. After a failure the call it belongs to is over.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.requests.Add(1)
	sent := time.Now()
	resp, err := w.transport.RoundTrip(r)
	stop, _ := r.Context().Value(stopKey{}).(context.CancelFunc)
	if err == nil {
		w.observe(resp.Header, sent, time.Now())
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusLocked && resp.StatusCode != 477 {
			return resp, nil
		}
		// The answer has to be here before the context that it travels under ends.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	if stop != nil {
		stop()
	}
	return resp, err
}

func (w *wire) observe(h http.Header, sent, answered time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	read := func(name string, into *int) {
		if n, err := strconv.Atoi(h.Get("X-HubSpot-RateLimit-" + name)); err == nil {
			*into = n
		}
	}
	read("Max", &w.quota.burst)
	read("Remaining", &w.quota.burstLeft)
	read("Daily", &w.quota.daily)
	read("Daily-Remaining", &w.quota.dailyLeft)
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		low, high := date.Sub(answered), date.Add(time.Second).Sub(sent)
		if w.bounded {
			low, high = max(low, w.low), min(high, w.high)
		}
		w.low, w.high, w.bounded = low, high, true
	}
}

func (w *wire) limits() quotaHeaders {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.quota
}

// skew returns by how much HubSpot's clock is ahead of ours; 0 as long as they may agree.
func (w *wire) skew() (skew time.Duration, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.low <= 0 && w.high >= 0 {
		return 0, w.bounded
	}
	return (w.low + w.high) / 2, w.bounded
}

// plan names what the limits are those of.
func (q quotaHeaders) plan() string {
	switch {
	case q.daily == 0:
		return "an OAuth app"
	case q.burst > 190:
		return "with a limit increase"
	case q.burst > 100 && q.daily >= 1_000_000:
		return "Enterprise"
	case q.burst > 100:
		return "Professional"
	}
	return "Free or Starter"
}

// clockBound is by how much two clocks may differ without a word.
const clockBound = 5 * time.Second

// judgeClock reports how far another clock is ahead of ours.
func judgeClock(f *findings, whose string, skew time.Duration, why string) {
	if skew.Abs() < clockBound {
		f.ok("agrees with this machine's")
		return
	}
	where := "behind"
	if skew < 0 {
		where = "ahead of"
	}
	f.warn(fmt.Sprintf("this machine's clock is %s %s %s", skew.Abs().Round(time.Second), where, whose+"'s"), why,
		"let the machine set its clock: timedatectl set-ntp true (in a container: its host)")
}

// networkAdvice says what to do about an error of the way to a server, "" if it is none. setting names where the address
// is from.
func networkAdvice(err error, setting string) string {
	var name *net.DNSError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	text := err.Error()
	switch {
	case errors.As(err, &name) && name.IsTimeout:
		return "the name server does not answer: look at /etc/resolv.conf of this machine or container"
	case errors.As(err, &name), strings.Contains(text, "no such host"):
		return "the name cannot be resolved: check " + setting + " for a typo, and that this machine or container has DNS"
	case errors.As(err, &authority):
		return "the certificate is of an authority that this machine does not know: install it (ca-certificates; a proxy that opens TLS has one of its own, SSL_CERT_FILE names it)"
	case errors.As(err, &host):
		return "the certificate is for another name: use the name that it is for in " + setting
	case errors.As(err, &invalid):
		return "the certificate is not valid now: renew it, and check this machine's clock"
	case strings.Contains(text, "first record does not look like a TLS handshake"), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "the server does not speak TLS there: check scheme and port of " + setting
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: start it, or check host and port of " + setting
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no route to it from this machine: check network and firewall (an IPv6 address needs IPv6)"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), isTimeout(err):
		return "no answer in time: a firewall may drop it; check host and port of " + setting
	}
	return ""
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
