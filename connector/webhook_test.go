package connector

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

const webhookSecret = "simulator-secret"

// webhookBundle is a source bundle whose portal can deliver webhooks to a receiver.
type webhookBundle struct {
	*sourceBundle
	receiver *Receiver
	url      string // of the receiver
	hints    *hints
	drain    func() error // stops the receiver
}

func setupWebhooks(t testing.TB, o simulator.Options, cfg Config) *webhookBundle {
	t.Helper()
	b := &webhookBundle{sourceBundle: setupSource(t, o, cfg)}
	b.receiver, b.url, b.drain = startReceiver(t, b.source, false)
	b.hints = b.source.hints
	return b
}

// startReceiver serves a receiver on this machine.
func startReceiver(t testing.TB, s *Source, acceptV1 bool) (r *Receiver, url string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	url = "http://" + l.Addr().String() + "/hubspot"
	r, err = s.NewReceiver(ReceiverConfig{URL: url, Secret: webhookSecret, AcceptV1: acceptV1})
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = r.Serve(ctx, l)
	}()
	stop = func() error {
		cancel()
		<-ended
		return err
	}
	t.Cleanup(func() { must(t, stop()) })
	return r, url, stop
}

// deliverTo makes the portal send webhooks at once.
func (b *webhookBundle) deliver(w simulator.Webhooks) {
	w.URL = b.url
	for _, d := range []*time.Duration{&w.Delay, &w.Jitter} {
		if *d == 0 {
			*d = -1
		}
	}
	if w.RetryDelay == 0 {
		w.RetryDelay = 50 * time.Millisecond
	}
	b.sim.SetWebhooks(w)
}

// waitDelivered waits until the portal has no webhook to deliver.
func (b *webhookBundle) waitDelivered() {
	b.t.Helper()
	eventually(b.t, "all webhooks are delivered", func() bool { return b.sim.Stats().Webhooks.Pending == 0 })
}

// delivery is a request as HubSpot makes it, and as others do.
type delivery struct {
	method string
	url    string // where it goes; "" is the receiver's
	signed string // URL that was signed; "" is where it goes
	secret string
	body   string
	sent   string // body, if it is not the one that was signed
	at     time.Time
	stamp  string // if it is not at
	v1     bool   // a signature of version 1 instead
	edit   func(http.Header)
}

func (b *webhookBundle) post(d delivery) int {
	b.t.Helper()
	orElse := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	orElse(&d.method, http.MethodPost)
	orElse(&d.url, b.url)
	orElse(&d.signed, d.url)
	orElse(&d.secret, webhookSecret)
	orElse(&d.sent, d.body)
	if d.at.IsZero() {
		d.at = time.Now()
	}
	orElse(&d.stamp, strconv.FormatInt(d.at.UnixMilli(), 10))
	req, err := http.NewRequestWithContext(b.t.Context(), d.method, d.url, strings.NewReader(d.sent))
	must(b.t, err)
	if d.v1 {
		sum := sha256.Sum256([]byte(d.secret + d.body))
		req.Header.Set(hubspot.HeaderSignature, hex.EncodeToString(sum[:]))
		req.Header.Set(hubspot.HeaderSignatureVersion, "v1")
	} else {
		mac := hmac.New(sha256.New, []byte(d.secret))
		mac.Write([]byte(d.method + d.signed + d.body + d.stamp))
		req.Header.Set(hubspot.HeaderSignatureV3, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		req.Header.Set(hubspot.HeaderRequestTimestamp, d.stamp)
	}
	if d.edit != nil {
		d.edit(req.Header)
	}
	res, err := http.DefaultClient.Do(req)
	must(b.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(b.t, err)
	equal(b.t, "bytes in the answer", len(body), 0)
	return res.StatusCode
}

// oneEvent is a delivery of one event of a contact.
func oneEvent(id string) string {
	return `[{"eventId":1,"subscriptionId":7,"portalId":4711,"occurredAt":1790000000123,"subscriptionType":"contact.propertyChange","attemptNumber":0,"objectId":` +
		id + `,"propertyName":"email","propertyValue":"a@example.com","changeSource":"CRM_UI"}]`
}

func TestForgedStaleOversizedAndMalformedDeliveriesChangeNothing(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, simulator.Options{Contacts: 1}, Config{Objects: []string{"contacts"}})
	good, tooMany := oneEvent("5"), "["+strings.Repeat("{},", maxEvents)+"{}]"
	for name, test := range map[string]struct {
		delivery
		status int
	}{
		"read instead of sent":       {delivery{method: http.MethodGet, body: good}, 405},
		"put":                        {delivery{method: http.MethodPut, body: good}, 405},
		"other secret":               {delivery{body: good, secret: "another"}, 401},
		"signature of another body":  {delivery{body: good, sent: oneEvent("6")}, 401},
		"signature of another path":  {delivery{body: good, signed: b.url + "/x"}, 401},
		"signature of another host":  {delivery{body: good, signed: "http://example.com/hubspot"}, 401},
		"signature of another query": {delivery{body: good, url: b.url + "?a=1"}, 401},
		"six minutes old":            {delivery{body: good, at: time.Now().Add(-6 * time.Minute)}, 401},
		"from the far future":        {delivery{body: good, at: time.Now().Add(10 * time.Minute)}, 401},
		"time in seconds":            {delivery{body: good, stamp: strconv.FormatInt(time.Now().Unix(), 10)}, 401},
		"time is no number":          {delivery{body: good, stamp: "now"}, 401},
		"no time":                    {delivery{body: good, edit: func(h http.Header) { h.Del(hubspot.HeaderRequestTimestamp) }}, 401},
		"no signature":               {delivery{body: good, edit: func(h http.Header) { h.Del(hubspot.HeaderSignatureV3) }}, 401},
		"two signatures": {delivery{body: good, edit: func(h http.Header) {
			h.Add(hubspot.HeaderSignatureV3, h.Get(hubspot.HeaderSignatureV3))
		}}, 401},
		"two times": {delivery{body: good, edit: func(h http.Header) {
			h.Add(hubspot.HeaderRequestTimestamp, h.Get(hubspot.HeaderRequestTimestamp))
		}}, 401},
		"signature cut": {delivery{body: good, edit: func(h http.Header) {
			h.Set(hubspot.HeaderSignatureV3, h.Get(hubspot.HeaderSignatureV3)[:20])
		}}, 401},
		"version 1, not enabled": {delivery{body: good, v1: true}, 401},
		"too large":              {delivery{body: strings.Repeat(" ", maxDelivery+1)}, 413},
		"too large, in chunks":   {delivery{body: strings.Repeat(" ", maxDelivery+1), edit: func(h http.Header) { h.Set("Transfer-Encoding", "chunked") }}, 413},
		"too many events":        {delivery{body: tooMany}, 413},
		"no JSON":                {delivery{body: "hello"}, 400},
		"empty":                  {delivery{body: ""}, 400},
		"an object":              {delivery{body: strings.Trim(good, "[]")}, 400},
		"cut":                    {delivery{body: good[:len(good)-1]}, 400},
		"two arrays":             {delivery{body: good + good}, 400},
		"very deep":              {delivery{body: strings.Repeat("[", 20_000)}, 400},
		"packed":                 {delivery{body: "\x1f\x8b\x08\x00", edit: func(h http.Header) { h.Set("Content-Encoding", "gzip") }}, 400},
	} {
		equal(t, name, b.post(test.delivery), test.status)
	}
	equal(t, "hints", waitingHints(t, b.hints), 0)
	equal(t, "deliveries taken", b.receiver.Stats().Deliveries, 0)

	equal(t, "a good one", b.post(delivery{body: good}), 204)
	equal(t, "without content type", b.post(delivery{body: oneEvent("6"), edit: func(h http.Header) { h.Del("Content-Type") }}), 204)
	equal(t, "nearly five minutes old", b.post(delivery{body: oneEvent("7"), at: time.Now().Add(-4*time.Minute - 50*time.Second)}), 204)
	equal(t, "hints", waitingHints(t, b.hints), 3)
}

func TestVersionOneIsAcceptedOnlyIfEnabledAndAlone(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, simulator.Options{Contacts: 1}, Config{Objects: []string{"contacts"}})
	v1 := &webhookBundle{sourceBundle: b.sourceBundle}
	_, v1.url, _ = startReceiver(t, b.source, true)
	good := delivery{body: oneEvent("5"), v1: true}
	equal(t, "not enabled", b.post(good), 401)
	equal(t, "enabled", v1.post(good), 204)
	good.secret = "another"
	equal(t, "forged", v1.post(good), 401)
	equal(t, "beside a wrong version 3", v1.post(delivery{body: oneEvent("5"), v1: true, edit: func(h http.Header) {
		h.Set(hubspot.HeaderSignatureV3, "AAAA")
		h.Set(hubspot.HeaderRequestTimestamp, strconv.FormatInt(time.Now().UnixMilli(), 10))
	}}), 401)
	equal(t, "version 2", v1.post(delivery{body: oneEvent("5"), v1: true, edit: func(h http.Header) { h.Set(hubspot.HeaderSignatureVersion, "v2") }}), 401)
}

func TestAHintIsStoredBeforeHubSpotIsTold(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, simulator.Options{Contacts: 1}, Config{Objects: []string{"contacts"}})
	g := &gate{target: strings.TrimPrefix(b.server.URL(), "nats://")}
	nc, err := nats.Connect("127.0.0.1:1", nats.SetCustomDialer(g), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.RetryOnFailedConnect(true))
	must(t, err)
	defer nc.Close()
	b.receiver.hints = &hints{writer: &hintWriter{js: jetStream(t, nc)}, stream: b.hints.stream, portal: b.hints.portal}

	equal(t, "with NATS", b.post(delivery{body: oneEvent("1")}), 204)
	equal(t, "hints when the answer is there", waitingHints(t, b.hints), 1)
	g.shut(true)
	began := time.Now()
	equal(t, "without NATS", b.post(delivery{body: "[" + strings.Trim(oneEvent("2"), "[]") + "," + strings.Trim(oneEvent("3"), "[]") + "]"}), 503)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("answered after %s: HubSpot is gone by then", took)
	}
	equal(t, "hints", waitingHints(t, b.hints), 1)
	equal(t, "turned away", b.receiver.Stats().Unavailable, 1)
	g.shut(false)
	eventually(t, "it is taken with a retry", func() bool { return b.post(delivery{body: oneEvent("2")}) == 204 })
	eventually(t, "hints", func() bool { return waitingHints(t, b.hints) >= 2 })
}

func TestWhatNothingIsReadForIsTakenAndForgotten(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, simulator.Options{Contacts: 1}, Config{Objects: []string{"contacts"}})
	events := []string{
		`{"portalId":99,"subscriptionType":"contact.creation","objectId":1}`,
		`{"portalId":4711,"subscriptionType":"deal.creation","objectId":1}`,
		`{"portalId":4711,"subscriptionType":"object.creation","objectTypeId":"2-77","objectId":1}`,
		`{"portalId":4711,"subscriptionType":"conversation.newMessage","objectId":1}`,
		`{"portalId":4711,"subscriptionType":"event.completed","objectId":1}`,
		`{"portalId":4711,"subscriptionType":"contact.teleported","objectId":1}`,
		`{"portalId":4711,"subscriptionType":"contact.creation"}`,
		`{"portalId":4711,"subscriptionType":"contact.creation","objectId":"no number"}`,
		`{"portalId":4711,"subscriptionType":5,"objectId":1}`,
		`{}`, `[]`, `null`, `7`,
	}
	equal(t, "status", b.post(delivery{body: "[" + strings.Join(events, ",") + "]"}), 204)
	equal(t, "hints", waitingHints(t, b.hints), 0)
	equal(t, "ignored", b.receiver.Stats().Ignored, int64(len(events)))
	mixed := append(events, `{"portalId":4711,"subscriptionType":"contact.creation","objectId":"8"}`)
	equal(t, "with a good one", b.post(delivery{body: "[" + strings.Join(mixed, ",") + "]"}), 204)
	equal(t, "hints", waitingHints(t, b.hints), 1)
}

func TestAReceiverThatStopsAnswersWhatItGot(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, simulator.Options{Contacts: 1}, Config{Objects: []string{"contacts"}})
	body := oneEvent("1")
	conn, err := net.Dial("tcp", strings.Split(strings.TrimPrefix(b.url, "http://"), "/")[0])
	must(t, err)
	defer conn.Close()
	stamp := strconv.FormatInt(time.Now().UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	mac.Write([]byte("POST" + b.url + body + stamp))
	_, err = fmt.Fprintf(conn, "POST /hubspot HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s: %s\r\n%s: %s\r\n\r\n%s",
		len(body), hubspot.HeaderSignatureV3, base64.StdEncoding.EncodeToString(mac.Sum(nil)), hubspot.HeaderRequestTimestamp, stamp, body[:20])
	must(t, err)
	eventually(t, "the delivery is being read", func() bool { return len(b.receiver.slots) == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- b.drain() }()
	eventually(t, "nobody else is let in", func() bool {
		c, err := net.Dial("tcp", conn.RemoteAddr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	_, err = io.WriteString(conn, body[20:])
	must(t, err)
	answer, err := io.ReadAll(conn)
	must(t, err)
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 204 ")) {
		t.Errorf("answer: %s", answer)
	}
	must(t, <-stopped)
	equal(t, "hints", waitingHints(t, b.hints), 1)
}

func TestReceiverSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 1}, Config{Objects: []string{"contacts"}})
	for _, cfg := range []ReceiverConfig{
		{URL: "https://example.com/x"}, {Secret: "s"}, {Secret: "s", URL: "example.com/x"}, {Secret: "s", URL: "/x"}, {Secret: "s", URL: "ftp://example.com"},
	} {
		if _, err := b.source.NewReceiver(cfg); err == nil {
			t.Errorf("accepted %+v", cfg)
		}
	}
}

// kindsOf returns the hints in the queue, by subject.
func kindsOf(list []*schemas.Hint) map[string]*schemas.Hint {
	m := map[string]*schemas.Hint{}
	for _, h := range list {
		m[h.Subject()] = h
	}
	return m
}
