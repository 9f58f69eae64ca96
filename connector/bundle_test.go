package connector

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// sourceBundle is a simulated portal, a real NATS server and a source between them.
type sourceBundle struct {
	*logBundle
	sim    *simulator.Simulator
	url    string
	source *Source
}

// setupSource starts a portal with some records of each kind and fast answers.
func setupSource(t testing.TB, o simulator.Options, cfg Config) *sourceBundle {
	t.Helper()
	o.Latency, o.NoOddities = cmp.Or(o.Latency, -1), true
	o.BurstLimit, o.SearchLimit, o.DailyLimit = 100_000, 100_000, 10_000_000
	b := &sourceBundle{logBundle: setupLog(t), sim: simulator.New(o)}
	var err error
	b.url, err = b.sim.Start("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, b.sim.Close()) })
	b.source = b.newSource(cfg)
	return b
}

func (b *sourceBundle) newSource(cfg Config) *Source {
	b.t.Helper()
	client, err := hubspot.New(hubspot.Config{
		BaseURL: b.url, Token: "pat-simulator", BurstLimit: 100_000, SearchLimit: 100_000,
	})
	must(b.t, err)
	cfg.Client, cfg.JetStream = client, b.js
	if cfg.VerifyInterval == 0 {
		cfg.VerifyInterval = -1 // whoever tests it says so: its requests, runs and repairs would be in the way
	}
	s, err := New(b.t.Context(), cfg)
	must(b.t, err)
	return s
}

func (b *sourceBundle) sync() {
	b.t.Helper()
	must(b.t, b.source.Sync(b.t.Context()))
}

func (b *sourceBundle) follower(object string) *follower {
	b.t.Helper()
	for _, f := range b.source.followers {
		if f.object.Name == object {
			return f
		}
	}
	b.t.Fatalf("no object %s", object)
	return nil
}

// poll makes one pass and returns how many records were new.
func (b *sourceBundle) poll(object string) int64 {
	b.t.Helper()
	news, err := b.follower(object).poll(b.t.Context())
	must(b.t, err)
	return news
}

// requests returns how many requests of a kind the portal got so far.
func (b *sourceBundle) requests(route string) int { return b.sim.Stats().ByRoute[route] }

// states returns the last event of every record of an object.
func (b *sourceBundle) states(object string) map[string]*schemas.Event {
	b.t.Helper()
	states := map[string]*schemas.Event{}
	for _, m := range b.messages() {
		if m.subject.Kind == schemas.KindRecord && m.subject.Object == object {
			states[m.subject.ID] = m.event(b.t)
		}
	}
	return states
}

// lost returns the live records whose state in the log is not the portal's, of those modified before a time.
func (b *sourceBundle) lost(object string, before time.Time) (lost []string) {
	b.t.Helper()
	states := b.states(object)
	for r := range b.sim.Truth(object) {
		if r.Archived || r.Purged || r.MergedInto != "" || !r.UpdatedAt.Before(before) {
			continue
		}
		switch e := states[r.ID]; {
		case e == nil:
			lost = append(lost, r.ID+" is missing")
		case e.UpdatedAt.Before(r.UpdatedAt):
			lost = append(lost, fmt.Sprintf("%s is of %s, not of %s", r.ID, e.UpdatedAt, r.UpdatedAt))
		case e.UpdatedAt.Equal(r.UpdatedAt) && !maps.Equal(e.Properties.Map(), r.Properties):
			lost = append(lost, r.ID+" has other values")
		}
	}
	return lost
}

func (b *sourceBundle) nothingLost(object string, before time.Time) {
	b.t.Helper()
	if lost := b.lost(object, before); len(lost) > 0 {
		b.t.Errorf("%d %s lost: %v", len(lost), object, lost[:min(len(lost), 5)])
	}
}

// noDuplicatesOf is noDuplicates for one object of several: ids are unique per object only.
func (b *sourceBundle) noDuplicatesOf(object string) {
	b.t.Helper()
	last := map[string]*schemas.Event{}
	for _, m := range b.messages() {
		if m.subject.Kind != schemas.KindRecord || m.subject.Object != object {
			continue
		}
		e := m.event(b.t)
		if before := last[e.ID]; before != nil && e.Hash == before.Hash && e.UpdatedAt.Equal(before.UpdatedAt) {
			b.t.Errorf("event %s is in the log twice", e.CEID())
		}
		last[e.ID] = e
	}
}

// runs returns the sync runs of an object.
func (b *sourceBundle) runs(object string) (runs []*schemas.Run) {
	b.t.Helper()
	for _, m := range b.messages() {
		if m.subject.Kind == schemas.KindRun && m.subject.Object == object {
			c, err := schemas.DecodeControl(m.msg)
			must(b.t, err)
			runs = append(runs, c.(*schemas.Run))
		}
	}
	return runs
}

// run starts a source and returns how to stop it.
func (b *sourceBundle) run(s *Source) (stop func() error) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}
