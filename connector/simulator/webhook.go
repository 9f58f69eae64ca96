package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Webhooks says where events are delivered and how badly. Without a URL there are none.
type Webhooks struct {
	URL           string
	AppID         int64          // 0 = 54321
	Subscriptions []Subscription // nil = every event of every object type
	BatchSize     int            // events per request, at most 100; 0 = 100
	MaxInFlight   int            // requests at once; 0 = 10
	Timeout       time.Duration  // 0 = 5 s
	Delay         time.Duration  // before the first attempt; 0 = 200 ms, negative = none
	Jitter        time.Duration  // each event waits up to this much longer, which shuffles them; 0 = 1 s, negative = none
	Linger        time.Duration  // how long an event that is due waits for others to share its request; 0 = 10 ms, negative = none
	Duplicates    float64        // share of events that are delivered twice; 0 = 0.02, negative = none
	Retries       int            // attempts after the first; 0 = 10
	RetryDelay    time.Duration  // mean wait before the first retry, growing; 0 = 1 min
	NoV3          bool           // sign as for a private app of which only v1 is sure
}

// Subscription is one thing that webhooks tell about.
type Subscription struct {
	Type     string `json:"type"`         // for example contact.creation, object.propertyChange
	Object   string `json:"object"`       // object type of an object.* subscription
	Property string `json:"propertyName"` // of a propertyChange; "" = every property, which HubSpot cannot do
}

// WebhookStats counts deliveries.
type WebhookStats struct {
	Requests  int `json:"requests"`
	Delivered int `json:"delivered"` // events in answered requests
	Failed    int `json:"failed"`    // requests without a 2xx
	Given     int `json:"givenUp"`   // events whose last retry failed
	Pending   int `json:"pending"`   // events to deliver, in flight or waiting
}

func (w Webhooks) withDefaults() Webhooks {
	w.AppID = orDefault(w.AppID, 54321)
	w.BatchSize = min(orDefault(w.BatchSize, 100), 100)
	w.MaxInFlight = orDefault(w.MaxInFlight, 10)
	w.Timeout = orDefault(w.Timeout, 5*time.Second)
	w.Delay = orDefault(w.Delay, 200*time.Millisecond)
	w.Jitter = orDefault(w.Jitter, time.Second)
	w.Linger = orDefault(w.Linger, 10*time.Millisecond)
	w.Duplicates = orDefault(w.Duplicates, 0.02)
	w.Retries = orDefault(w.Retries, 10)
	w.RetryDelay = orDefault(w.RetryDelay, time.Minute)
	return w
}

// webhooks delivers events. Its run loop starts with the first event and ends with close.
type webhooks struct {
	portal *portal
	secret string
	client *http.Client

	mu       sync.Mutex // guards all below
	config   Webhooks
	rng      *rand.Rand
	waiting  []delivery
	inFlight int
	sequence int64
	counts   WebhookStats
	wake     chan struct{}
	cancel   context.CancelFunc // nil = the loop is not running
	running  sync.WaitGroup
}

// delivery is an event for a subscription on its way.
type delivery struct {
	due  time.Time
	wire wireEvent
}

func newWebhooks(p *portal, o Options) *webhooks {
	return &webhooks{
		portal: p, secret: o.ClientSecret, config: o.Webhooks, rng: rand.New(rand.NewPCG(uint64(o.Seed), 17)), wake: make(chan struct{}, 1),
		client: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: o.Webhooks.MaxInFlight},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// SetWebhooks changes where and how events are delivered from now on.
func (s *Simulator) SetWebhooks(w Webhooks) {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	s.hooks.config = w.withDefaults()
}

// emit queues events for the subscriptions that match.
func (w *webhooks) emit(events ...event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.config.URL == "" {
		return
	}
	for i := range events {
		for _, wire := range w.wires(&events[i]) {
			w.queue(wire)
			if w.rng.Float64() < w.config.Duplicates {
				w.queue(wire)
			}
		}
	}
	if len(w.waiting) > 0 && w.cancel == nil {
		ctx, cancel := context.WithCancel(context.Background()) // the loop's life is from here to close
		w.cancel = cancel
		w.running.Go(func() { w.run(ctx) })
	}
	w.poke()
}

func (w *webhooks) queue(wire wireEvent) {
	wait := max(w.config.Delay, 0)
	if w.config.Jitter > 0 {
		wait += time.Duration(w.rng.Int64N(int64(w.config.Jitter)))
	}
	w.waiting = append(w.waiting, delivery{due: time.Now().Add(wait), wire: wire})
}

func (w *webhooks) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run sends what is due until ctx ends.
func (w *webhooks) run(ctx context.Context) {
	for {
		batch, next := w.take()
		if batch != nil {
			w.running.Go(func() { w.send(ctx, batch) })
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take returns a batch that is due, or how long until there may be one.
func (w *webhooks) take() (batch []delivery, next time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next = time.Hour
	if w.inFlight >= w.config.MaxInFlight {
		return nil, next
	}
	now := time.Now()
	if linger := w.lingering(now); linger > 0 {
		return nil, linger
	}
	rest := w.waiting[:0]
	for _, d := range w.waiting {
		wait := d.due.Sub(now)
		if wait <= 0 && len(batch) < w.config.BatchSize {
			batch = append(batch, d)
			continue
		}
		next = min(next, max(wait, 0))
		rest = append(rest, d)
	}
	w.waiting = rest
	if batch != nil {
		w.inFlight++
		w.counts.Requests++
		w.rng.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	}
	return batch, next
}

// lingering returns how long to wait for more events before a request that would not be full.
func (w *webhooks) lingering(now time.Time) time.Duration {
	due, oldest := 0, now
	for i := range w.waiting {
		if at := w.waiting[i].due; !at.After(now) {
			due++
			if at.Before(oldest) {
				oldest = at
			}
		}
	}
	if due == 0 || due >= w.config.BatchSize {
		return 0
	}
	return w.config.Linger - now.Sub(oldest)
}

// send delivers a batch and queues its events again if that fails.
func (w *webhooks) send(ctx context.Context, batch []delivery) {
	w.mu.Lock()
	config := w.config
	w.mu.Unlock()
	err := w.post(ctx, config, batch)

	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.poke()
	w.inFlight--
	if err == nil {
		w.counts.Delivered += len(batch)
		return
	}
	w.counts.Failed++
	for _, d := range batch {
		if d.wire.AttemptNumber >= config.Retries {
			w.counts.Given++
			continue
		}
		d.wire.AttemptNumber++
		wait := config.RetryDelay * time.Duration(d.wire.AttemptNumber)
		d.due = time.Now().Add(wait/2 + time.Duration(w.rng.Int64N(int64(wait)+1)))
		w.waiting = append(w.waiting, d)
	}
}

func (w *webhooks) post(ctx context.Context, config Webhooks, batch []delivery) error {
	events := make([]wireEvent, len(batch))
	for i := range batch {
		events[i] = batch[i].wire
	}
	body, err := json.Marshal(events)
	if err != nil {
		return fmt.Errorf("encode events: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, config.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, config.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "HubSpot Connect 2.0 (http://dev.hubspot.com/) - WebhookSubscriptions")
	sign(req.Header, w.secret, http.MethodPost, config.URL, body, w.portal.nowMS(), !config.NoV3)
	res, err := w.client.Do(req)
	if err != nil {
		return fmt.Errorf("deliver: %w", err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)) // so that the connection can be used again
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("deliver: status %d", res.StatusCode)
	}
	return nil
}

func (w *webhooks) stats() WebhookStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.counts
	s.Pending = len(w.waiting) + w.inFlight
	return s
}

// close stops the loop and waits for what is in flight.
func (w *webhooks) close() {
	w.mu.Lock()
	cancel := w.cancel
	w.config.URL = ""
	w.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	w.running.Wait()
	w.client.CloseIdleConnections()
}
