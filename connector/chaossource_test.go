package connector

import (
	"context"
	"errors"
	"sync"
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
	return Config{
		Objects:      append([]string{"owners"}, chaosObjects...),
		PollInterval: s.at(d.PollInterval), Overlap: s.at(d.Overlap), Settle: s.at(d.Settle), Reach: s.at(d.Reach),
		DefinitionsInterval: s.at(d.DefinitionsInterval), RunInterval: s.at(d.RunInterval),
		LinksLinger: s.at(time.Second), SweepTurn: s.at(15 * time.Minute), ArchivedInterval: s.at(d.ArchivedInterval), VerifyInterval: -1,
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

// startChaosPortal starts the simulated portal of a size.
func startChaosPortal(tb testing.TB, o simulator.Options) (*simulator.Simulator, string) {
	sim := simulator.New(o)
	url, err := sim.Start("127.0.0.1:0")
	must(tb, err)
	tb.Cleanup(func() { must(tb, sim.Close()) })
	return sim, url
}
