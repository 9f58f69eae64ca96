package main

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

// BenchmarkFirstLoad takes the portal from an empty log and an empty database until the last row is committed, at two
// quotas, and prints each figure beside the least that list and search can reach on one quota.
//
//	go test -run - -bench FirstLoad -benchtime 1x ./cmd/hubtail
//	HUBTAIL_BENCH_CONTACTS=1000000 HUBTAIL_BENCH_CLOCK=0.2 go test -run - -bench FirstLoad -benchtime 1x -timeout 1h ./cmd/hubtail
func BenchmarkFirstLoad(b *testing.B) {
	clock := 1.0 // scales every interval and latency; 1 is HubSpot's
	if f, err := strconv.ParseFloat(os.Getenv("HUBTAIL_BENCH_CLOCK"), 64); err == nil {
		clock = f
	}
	for _, quota := range []int{100, 190} {
		b.Run("quota="+strconv.Itoa(quota), func(b *testing.B) {
			for range b.N {
				benchmarkFirstLoad(b, quota, func(d time.Duration) time.Duration { return time.Duration(float64(d) * clock) })
			}
		})
	}
}

func benchmarkFirstLoad(b *testing.B, quota int, scaled func(time.Duration) time.Duration) {
	const latency = 150 * time.Millisecond
	contacts, deals, calls := benchContacts()
	records := contacts + deals + calls
	s := newStack(b, simulator.Options{
		Contacts: contacts, Deals: deals, Calls: calls, BurstLimit: quota, SearchInBurst: true,
		Interval: scaled(10 * time.Second), SearchInterval: scaled(time.Second), Latency: scaled(latency),
		IndexLag: simulator.Lag{Off: true},
	})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	began, cpu := time.Now(), cpuTime()

	client, err := hubspot.New(hubspot.Config{
		BaseURL: s.hubspot, Token: "pat-simulator", Share: 1, BurstLimit: quota,
		Interval: scaled(10 * time.Second), SearchInterval: scaled(time.Second),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	// As two processes that start at once.
	if _, err := jetlog.Ensure(ctx, s.js, jetlog.StreamConfig(jetlog.DefaultStream, 1)); err != nil {
		b.Fatal(err)
	}
	pool, err := sink.OpenPool(ctx, s.database)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		source, err := connector.New(ctx, connector.Config{Client: client, JetStream: s.js, Objects: []string{"contacts", "deals", "calls"}})
		if err != nil {
			return err
		}
		return source.Run(ctx)
	})
	group.Go(func() error {
		if err := migrations.Apply(ctx, pool, "hubspot"); err != nil {
			return err
		}
		tables, err := sink.New(ctx, sink.Config{Pool: pool, JetStream: s.js})
		if err != nil {
			return err
		}
		return tables.Run(ctx)
	})
	s.eventually(time.Hour, "everything is applied", func() bool {
		var runs int
		err := pool.QueryRow(ctx, "select count(*) from hubspot.sync_logs where sync_type = 'full' and status = 'success'").Scan(&runs)
		return err == nil && runs == 3
	})
	cpu = cpuTime() - cpu
	stats := s.simulator.Stats()
	var last time.Time
	var rows int
	err = pool.QueryRow(ctx, `select max(at), sum(n) from (
		select max(_synced_at) as at, count(*) as n from hubspot.contacts union all
		select max(_synced_at), count(*) from hubspot.deals union all
		select max(_synced_at), count(*) from hubspot.calls) as t`).Scan(&last, &rows)
	if err != nil || rows != records {
		b.Errorf("%d rows of %d, %v", rows, records, err)
	}
	stop()
	if err := group.Wait(); err != nil {
		b.Error(err)
	}
	wall := last.Sub(began)
	least := scaled(leastLoadTime(records, quota) + latency)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(wall.Seconds(), "s")
	b.ReportMetric(least.Seconds(), "s-least")
	b.ReportMetric(wall.Seconds()/least.Seconds(), "x-least")
	b.ReportMetric(float64(stats.Requests), "requests")
	b.ReportMetric(float64(stats.ByStatus[429]), "429s")
	b.ReportMetric(cpu.Seconds(), "cpu-s-all-but-postgres")
}

// leastLoadTime is the least time in which list and search can read n records on one quota per 10 seconds, without the
// last answer's latency: searches bring 200 records, five a second, and lists bring 100 each with the rest of the quota,
// used up at once as soon as slots are free again. Ids are known and every page is full; nobody can be faster.
func leastLoadTime(n, quota int) time.Duration {
	for t := 0; ; t++ {
		searches, lists := 5*t+5, (quota-50)*(t/10+1)
		if 200*searches+100*lists >= n {
			return time.Duration(t) * time.Second
		}
	}
}

func TestLeastLoadTimeIsWhatTheQuotaAllows(t *testing.T) {
	for _, test := range []struct{ n, quota, seconds int }{
		{40_929, 100, 25}, {40_929, 190, 12}, {1_000_000, 100, 664}, {1_000_000, 190, 411},
	} {
		got := int(leastLoadTime(test.n, test.quota).Seconds())
		if got < test.seconds-1 || got > test.seconds+1 {
			t.Errorf("%d records at %d: %d s, should be %d s", test.n, test.quota, got, test.seconds)
		}
	}
}

// cpuTime returns the CPU time this process used: source, sink, NATS and the simulator.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
