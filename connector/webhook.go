package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// ReceiverConfig says how a receiver knows that a delivery comes from HubSpot.
type ReceiverConfig struct {
	// URL is the address that HubSpot was told to call, with scheme, host, path and query: it is part of what is signed.
	// (Behind a proxy a request does not tell, and its headers must not be believed.)
	URL string
	// Secret is the client secret of the app whose webhooks these are.
	Secret string
	// AcceptV1 also accepts signatures of version 1, which protect neither the address nor against repetition, from
	// deliveries that have no better one.
	AcceptV1 bool
}

// Receiver takes what HubSpot's webhooks say and puts it into the queue of hints, for whichever source leads. Several can
// run, in one process or many, behind any balancer.
//
// HubSpot rule: a delivery counts as received if it is answered by 2xx within five seconds; any other answer, or none, and
// it comes again, up to ten times in a day. So 2xx is said once the hints are on disk, also for events that nothing is read
// for. All else changes nothing:
//
//	405 not a POST      413 body or number of events too large      401 forged, stale, or with another secret or URL
//	400 no JSON array, or a privacy deletion that cannot be read (all else of the delivery is stored)
//	503 hints cannot be stored now, or more deliveries at a time than memory is set aside for
type Receiver struct {
	cfg     ReceiverConfig
	hints   *hints
	objects func() objectNames // that are read at the moment
	custom  *customNames       // and those that another source reads
	now     func() time.Time   // HubSpot's clock
	logger  *slog.Logger
	slots   chan struct{} // an element per delivery being read
	stats   receiverStats
}

const (
	// maxDelivery bounds the body of a delivery, in bytes: 100 events with values of 40 KiB. HubSpot rule: values have up to
	// 65,536 characters, mostly far less.
	maxDelivery = 4 << 20
	// maxDeliveries bounds how many deliveries are read at a time, and so the memory for them. HubSpot rule: 10 in flight
	// per account unless configured otherwise.
	maxDeliveries = 32
	// storeTimeout is how long storing the hints may take. HubSpot rule: five seconds for the whole delivery.
	storeTimeout = 4 * time.Second
)

// NewReceiver returns a receiver for the portal and the object types of the source, which need not run.
func (s *Source) NewReceiver(cfg ReceiverConfig) (*Receiver, error) {
	if cfg.Secret == "" {
		return nil, errors.New("a webhook receiver needs the client secret of the app")
	}
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("webhook URL is %q; it must be the whole address that HubSpot calls, such as https://hooks.example.com/hubspot", cfg.URL)
	}
	r := &Receiver{
		cfg: cfg, hints: s.hints, objects: func() objectNames { return s.objects() }, now: s.cfg.Client.Now, logger: s.cfg.Logger.With("component", "webhooks"),
		slots: make(chan struct{}, maxDeliveries), custom: &customNames{source: s, again: customAgain, unknown: map[string]time.Time{}},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receives.Store(true)
	for _, f := range s.followers {
		f.heard.expect()
	}
	return r, nil
}

var _ http.Handler = (*Receiver)(nil)

// ServeHTTP takes a delivery. Answers have no body: who is refused learns nothing.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	status := r.receive(w, req)
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	w.WriteHeader(status)
	r.stats.answered(status)
}

// receive does the cheap checks first, and none of the others for who does not pass them.
func (r *Receiver) receive(w http.ResponseWriter, req *http.Request) int {
	ctx, cancel := context.WithTimeout(req.Context(), storeTimeout)
	defer cancel()
	if req.Method != http.MethodPost {
		return http.StatusMethodNotAllowed
	}
	if req.ContentLength > maxDelivery {
		return http.StatusRequestEntityTooLarge
	}
	signature, ok := r.signature(req.Header)
	if !ok {
		return r.refuse("without a signature that is accepted")
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return http.StatusServiceUnavailable
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxDelivery))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	if err != nil {
		return http.StatusBadRequest // nobody reads it: the connection broke
	}
	if err := signature.verify(r, body); err != nil {
		return r.refuse(err.Error())
	}
	events, err := parseDelivery(body)
	switch {
	case errors.Is(err, errManyEvents):
		return http.StatusRequestEntityTooLarge
	case err != nil:
		r.stats.once(r.logger, "delivery that is no JSON array of events", "err", err)
		return http.StatusBadRequest
	}
	return r.store(ctx, events)
}

// store answers for events that HubSpot sent.
func (r *Receiver) store(ctx context.Context, events []webhookEvent) int {
	var all []*schemas.Hint
	ignored, lost := 0, 0
	objects, err := r.custom.with(ctx, r.objects(), customTypes(events))
	if err != nil {
		r.stats.often(r.logger, "custom object types cannot be looked up in the log, HubSpot is told to come again", err)
		return http.StatusServiceUnavailable
	}
	for i := range events {
		list, why := events[i].hints(r.hints.portal, objects)
		switch {
		case why != "" && events[i].isLostPurge(r.hints.portal, objects):
			lost++
			r.logger.Error("privacy deletion that cannot be read, HubSpot is told to come again: find the record in HubSpot's own log of webhooks, and erase it with `hubtail erase`",
				"type", events[i].cause(), "object_type", string(events[i].ObjectTypeID), "occurred_at", events[i].at(), "why", why)
		case why != "":
			ignored++
			object, change := events[i].kind()
			r.stats.once(r.logger, "webhook event ignored: "+why, "type", object+"."+change, "object_type", string(events[i].ObjectTypeID), "portal", string(events[i].PortalID))
		}
		all = append(all, list...)
	}
	if err := r.hints.publish(ctx, all...); err != nil {
		r.stats.often(r.logger, "webhooks cannot be stored, HubSpot is told to come again", err)
		return http.StatusServiceUnavailable
	}
	r.stats.stored(len(events)-lost, len(all), ignored)
	if lost > 0 {
		return http.StatusBadRequest
	}
	return http.StatusNoContent
}

// refuse says in the program's log, now and then, why deliveries are refused: HubSpot does not.
func (r *Receiver) refuse(why string) int {
	r.stats.often(r.logger, "delivery refused: are --webhook-url and the client secret those of the app?", errors.New(why))
	return http.StatusUnauthorized
}

// deliverySignature is the signature of a delivery and its version.
type deliverySignature struct {
	version   int
	value     string
	timestamp string
}

// signature returns the best signature that the headers have, if it is one that is accepted. A header that comes twice is
// none.
func (r *Receiver) signature(h http.Header) (s deliverySignature, ok bool) {
	v3, stamp := h.Values(hubspot.HeaderSignatureV3), h.Values(hubspot.HeaderRequestTimestamp)
	if len(v3) > 0 {
		if len(v3) > 1 || len(stamp) != 1 {
			return s, false
		}
		return deliverySignature{version: 3, value: v3[0], timestamp: stamp[0]}, true
	}
	v1, version := h.Values(hubspot.HeaderSignature), h.Values(hubspot.HeaderSignatureVersion)
	if !r.cfg.AcceptV1 || len(v1) != 1 || len(version) != 1 || version[0] != "v1" {
		return s, false
	}
	return deliverySignature{version: 1, value: v1[0]}, true
}

func (s deliverySignature) verify(r *Receiver, body []byte) error {
	d := hubspot.Delivery{Method: http.MethodPost, URL: r.cfg.URL, Body: body, Timestamp: s.timestamp}
	if s.version == 1 {
		return d.VerifyV1(r.cfg.Secret, s.value)
	}
	return d.VerifyV3(r.cfg.Secret, s.value, r.now())
}
