package connector

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
)

// chaosSource is a source that is killed now and then and started again, knowing nothing but what the log says.
type chaosSource struct {
	tb   testing.TB
	size chaosSize
	log  *logBundle
	url  string

	hooked   string                   // where webhooks are received
	receiver atomic.Pointer[Receiver] // of the present source, nil while there is none

	mu    sync.Mutex // guards all below
	kill  func()     // ends the present source
	kills int
}

// config of the source: the defaults at the scaled pace, and no comparison that would repair what was missed. The settle time
// is learned only at HubSpot's own pace: what bounds it does not scale.
func (s chaosSize) config() Config {
	d := Config{}.withDefaults()
	if s.clock < 1 {
		d.Settle = 2 * time.Minute
	}
	reread := time.Duration(-1) // or it would find what polls missed
	if s.webhooks {
		reread = s.at(10 * time.Minute)
	}
	return Config{
		Objects:      append([]string{"owners"}, chaosObjects...),
		PollInterval: s.at(d.PollInterval), Overlap: s.at(d.Overlap), Settle: s.at(d.Settle), Reach: s.at(d.Reach),
		DefinitionsInterval: s.at(d.DefinitionsInterval), RunInterval: s.at(d.RunInterval),
		LinksLinger: s.at(time.Second), SweepTurn: s.at(15 * time.Minute), ArchivedInterval: s.at(d.ArchivedInterval), RereadTurn: reread, VerifyInterval: -1,
	}
}

// shortenLease makes a successor of a killed source wait no longer than the pace demands.
func (c *chaosSource) shortenLease(ctx context.Context) {
	_, err := c.log.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: LeaseBucket(jetlog.DefaultStream), TTL: max(c.size.at(leaseTTL), time.Second), History: 1,
	})
	must(c.tb, err)
}

// start starts a source. It goes on trying, for HubSpot may be out of order just now.
func (c *chaosSource) start(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	nc, err := c.log.server.Connect()
	must(c.tb, err)
	cfg := c.size.client(c.url)
	cfg.OAuth = &hubspot.OAuth{ClientID: "client-simulator", ClientSecret: "simulator-secret", RefreshToken: "refresh-simulator"}
	client, err := hubspot.New(cfg)
	must(c.tb, err)
	var running sync.WaitGroup
	running.Go(func() {
		cfg := c.size.config()
		cfg.Client, cfg.JetStream = client, jetStream(c.tb, nc)
		for ctx.Err() == nil {
			source, err := New(ctx, cfg)
			if err == nil && c.size.webhooks {
				var receiver *Receiver
				receiver, err = source.NewReceiver(ReceiverConfig{URL: c.hooked, Secret: "simulator-secret"})
				c.receiver.Store(receiver)
			}
			if err == nil {
				err = source.Run(ctx)
			}
			if ctx.Err() != nil || nc.IsClosed() {
				return
			}
			if err != nil && errors.Is(err, hubspot.ErrUnauthorized) {
				c.tb.Errorf("the source stopped: %v", err)
				return
			}
			_ = pause(ctx, 10*time.Millisecond, 20*time.Millisecond)
		}
	})
	c.kill = func() {
		c.receiver.Store(nil)
		nc.Close() // first: whatever it would still say, it cannot
		cancel()
		running.Wait()
		client.Close()
	}
}

// stop kills the present source.
func (c *chaosSource) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kill != nil {
		c.kill()
		c.kill = nil
	}
}

// crashes kill the source at random moments, every two minutes or so but a dozen times at most, and start another one.
func (c *chaosSource) crashes(ctx context.Context, p *chaosPortal) (steps []chaosStep) {
	every := max(2*time.Minute, p.size.lasts()/12)
	for at := every / 4; at < p.size.lasts(); at += every/2 + time.Duration(p.rnd.Int64N(int64(every))) {
		c.kills++
		steps = append(steps, chaosStep{at, func() error {
			c.stop()
			c.start(ctx)
			return nil
		}})
	}
	return steps
}

// receive lets the portal's webhooks come to whichever source runs; while there is none they are refused, and come again.
func (c *chaosSource) receive(sim *simulator.Simulator) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if receiver := c.receiver.Load(); receiver != nil {
			receiver.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	c.tb.Cleanup(server.Close)
	c.hooked = server.URL + "/hubspot"
	sim.SetWebhooks(simulator.Webhooks{
		URL: c.hooked, Delay: c.size.at(200 * time.Millisecond), Jitter: c.size.at(30 * time.Second), RetryDelay: c.size.at(time.Minute), Duplicates: 0.1,
	})
}

// startChaosPortal starts the simulated portal of a size.
func startChaosPortal(tb testing.TB, o simulator.Options) (*simulator.Simulator, string) {
	sim := simulator.New(o)
	url, err := sim.Start("127.0.0.1:0")
	must(tb, err)
	tb.Cleanup(func() { must(tb, sim.Close()) })
	return sim, url
}
