package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// checkWebhookSettings looks at what a receiver needs.
func checkWebhookSettings(_ context.Context, d *doctor, f *findings) {
	if d.webhookAddr == "" && d.webhookURL == "" {
		f.none("no --webhook-url: changes are found by polling, within half a minute")
		return
	}
	const why = "HubSpot signs every delivery with the app's client secret over the URL it calls: both have to be known"
	if d.hubspotClientSecret == "" {
		f.fail("no HUBSPOT_CLIENT_SECRET", why, "copy it ("+appSettings+", Auth, Show client secret)")
	}
	if d.webhookURL == "" {
		f.fail("no --webhook-url (HUBTAIL_WEBHOOK_URL)", why, "set it to the target URL of the app ("+appSettings+", Webhooks), character by character")
		return
	}
	u, err := url.Parse(d.webhookURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		f.fail("--webhook-url is "+d.webhookURL, why, "write the whole address, such as https://hooks.example.com/hubspot")
	case u.Scheme == "http" && !isHere(u.Hostname()):
		f.fail("--webhook-url is not https", "HubSpot delivers to https addresses only", "put the receiver behind a proxy that speaks TLS (Caddy, nginx, a tunnel), and set --webhook-url to that address")
	}
	if len(f.list) == 0 {
		f.ok("%s", d.webhookURL)
	}
}

// isHere reports whether a host is this machine.
func isHere(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkWebhookDelivery sends a delivery without events, as HubSpot would, to the public address and, where a receiver
// should listen on this machine, to that. It changes nothing: there is nothing in it.
func checkWebhookDelivery(ctx context.Context, d *doctor, f *findings) {
	u, err := url.Parse(d.webhookURL)
	if d.webhookURL == "" || d.hubspotClientSecret == "" || err != nil || u.Host == "" {
		return
	}
	d.judgeDelivery(ctx, f, d.webhookURL, "--webhook-url")
	if d.webhookAddr == "" {
		return
	}
	host, port, err := net.SplitHostPort(listenAddr(d.webhookAddr))
	if err != nil {
		return
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	local := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: u.Path, RawQuery: u.RawQuery}
	if local.Host != u.Host {
		d.judgeDelivery(ctx, f, local.String(), "--webhook-addr")
	}
}

// judgeDelivery delivers to an address: first signed as it should be, then with another secret, which must be refused.
func (d *doctor) judgeDelivery(ctx context.Context, f *findings, address, setting string) {
	got, err := d.deliver(ctx, address, d.hubspotClientSecret)
	const why = "without webhooks changes are found by polling only, and privacy deletions late or never"
	if err != nil {
		fix := networkAdvice(err, setting)
		if errors.Is(err, errNothingListens) {
			fix = "no receiver runs on this machine: start `hubtail source`, `up` or `webhooks --listen` with --webhook-addr, or leave it out here"
		}
		f.fail(address+": "+withoutURL(err).Error(), why, fix)
		return
	}
	switch {
	case got.status == http.StatusNoContent:
	case got.status == http.StatusUnauthorized && got.skew().Abs() > time.Minute:
		f.fail(fmt.Sprintf("%s refuses our signature (401), and its clock is %s off ours", address, got.skew().Abs().Round(time.Second)),
			"a signature is good for five minutes", "let both machines set their clocks (timedatectl set-ntp true)")
		return
	case got.status == http.StatusUnauthorized:
		f.fail(address+" refuses our signature (401)", "it would refuse HubSpot's as well, or ours is not made with its secret",
			"the receiver and this configuration have different client secrets or --webhook-url: both must be those of the app, the URL character by character")
		return
	case got.status == http.StatusServiceUnavailable, got.status == http.StatusBadGateway, got.status == http.StatusGatewayTimeout:
		f.fail(fmt.Sprintf("%s answers %d", address, got.status), why, "the proxy does not reach the receiver, or that does not reach NATS: see the receiver's log, /readyz at its --admin-addr")
		return
	case got.status >= 300 && got.status < 400:
		f.fail(fmt.Sprintf("%s redirects to %s", address, got.location), "HubSpot does not follow redirects", "set --webhook-url and the app's target URL to the address that answers itself")
		return
	default:
		f.fail(fmt.Sprintf("%s answers %d to a delivery, not 204: that is no hubtail receiver", address, got.status), why,
			"let the proxy pass POST requests of this path to the receiver's --webhook-addr unchanged")
		return
	}
	forged, err := d.deliver(ctx, address, d.hubspotClientSecret+"-forged")
	if err != nil || forged.status != http.StatusUnauthorized {
		f.fail(fmt.Sprintf("%s takes deliveries that are signed wrongly (%d)", address, forged.status), "it is no hubtail receiver: whoever knows the address could send anything, and nothing is stored",
			"let the proxy pass POST requests of this path to the receiver's --webhook-addr unchanged")
		return
	}
	f.ok("%s takes what is signed with the client secret, in %s, and refuses what is not", address, got.took.Round(time.Millisecond))
	if got.took > 2*time.Second {
		f.warn(fmt.Sprintf("%s took %s", address, got.took.Round(time.Millisecond)), "HubSpot gives up after 5 seconds and comes again", "look at the proxy, and at the way to NATS")
	}
}

// delivered is the answer to a delivery.
type delivered struct {
	status   int
	location string
	took     time.Duration
	at, date time.Time
}

// skew is by how much the receiver's clock, or its proxy's, is ahead of ours.
func (g delivered) skew() time.Duration {
	if g.date.IsZero() {
		return 0
	}
	return g.date.Sub(g.at)
}

// errNothingListens says that no receiver is where one should be.
var errNothingListens = errors.New("nothing listens there")

// deliver posts a delivery without events to address, signed with secret for --webhook-url at our time.
func (d *doctor) deliver(ctx context.Context, address, secret string) (got delivered, err error) {
	body := []byte("[]")
	at := time.Now()
	timestamp := strconv.FormatInt(at.UnixMilli(), 10)
	sign := hubspot.Delivery{Method: http.MethodPost, URL: d.webhookURL, Body: body, Timestamp: timestamp}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return got, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "hubtail doctor")
	r.Header.Set(hubspot.HeaderRequestTimestamp, timestamp)
	r.Header.Set(hubspot.HeaderSignatureV3, sign.SignV3(secret))
	client := &http.Client{
		Transport: d.wire.transport, Timeout: 5 * time.Second, // as long as HubSpot waits
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		if strings.Contains(err.Error(), "connection refused") && address != d.webhookURL {
			err = fmt.Errorf("%w: %w", errNothingListens, err)
		}
		return got, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	got = delivered{status: resp.StatusCode, location: resp.Header.Get("Location"), took: time.Since(at), at: at}
	got.date, _ = http.ParseTime(resp.Header.Get("Date"))
	return got, nil
}

// withoutURL takes the address, which the finding names, out of an error of net/http.
func withoutURL(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
