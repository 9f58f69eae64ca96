package main

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

// BenchmarkVerify compares the demo's portal, loaded and equal, in both hops, at the smallest quota.
//
//	go test -run - -bench Verify -benchtime 1x ./cmd/hubtail
func BenchmarkVerify(b *testing.B) {
	const quota = 100
	o := simulator.DemoOptions()
	o.BurstLimit, o.Latency, o.IndexLag = 100_000, -1, simulator.Lag{Off: true}
	o.SearchLimit = 100_000
	s := newStack(b, o)
	pool := s.load(b)
	objects := []string{"contacts", "deals", "calls"}

	// The same portal again, as HubSpot would answer: at its quota, with its latency.
	slow := o
	slow.BurstLimit, slow.Latency, slow.SearchLimit = quota, 0, 0
	hub := simulator.New(slow)
	url, err := hub.Start("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = hub.Close() })
	client, err := hubspot.New(hubspot.Config{BaseURL: url, Token: "pat-simulator", BurstLimit: quota})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	ctx := context.Background()
	source, err := connector.New(ctx, connector.Config{Client: client, JetStream: s.js, Objects: objects})
	if err != nil {
		b.Fatal(err)
	}
	tables, err := sink.New(ctx, sink.Config{Pool: pool, JetStream: s.js})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		first, err := source.Verify(ctx, connector.VerifyOptions{})
		if err != nil {
			b.Fatal(err)
		}
		walked := time.Now()
		second, err := tables.Verify(ctx, sink.VerifyOptions{}, objects...)
		if err != nil {
			b.Fatal(err)
		}
		var records, requests, differences int64
		for i, r := range first {
			records, requests = records+r.Compared, requests+r.APICalls
			differences += r.Differences() + second[i].Differences()
		}
		if differences != 0 {
			b.Errorf("%d differences in an equal portal: %+v %+v", differences, first, second)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(records), "records")
		b.ReportMetric(float64(requests)/float64(records)*10_000, "requests/10k")
		b.ReportMetric(walked.Sub(began).Seconds(), "s-hubspot-log")
		b.ReportMetric(time.Since(walked).Seconds(), "s-log-tables")
	}
}

// load reads the whole portal into the log and the tables, as fast as the simulator lets it.
func (s *stack) load(b *testing.B) (pool *pgxpool.Pool) {
	b.Helper()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, err := hubspot.New(hubspot.Config{BaseURL: s.hubspot, Token: "pat-simulator", BurstLimit: 100_000, SearchLimit: 100_000})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	source, err := connector.New(ctx, connector.Config{
		Client: client, JetStream: s.js, Objects: []string{"contacts", "deals", "calls"}, Associations: []string{"none"},
	})
	if err != nil {
		b.Fatal(err)
	}
	if pool, err = sink.OpenPool(ctx, s.database); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	if err := migrations.Apply(ctx, pool, "hubspot"); err != nil {
		b.Fatal(err)
	}
	tables, err := sink.New(ctx, sink.Config{Pool: pool, JetStream: s.js})
	if err != nil {
		b.Fatal(err)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return tables.Run(gctx) })
	if err := source.Sync(ctx); err != nil {
		b.Fatal(err)
	}
	s.eventually(10*time.Minute, "everything is applied", func() bool {
		at, err := tables.Applied(ctx)
		return err == nil && at >= s.lastSeq()
	})
	stop()
	if err := group.Wait(); err != nil {
		b.Error(err)
	}
	return pool
}
