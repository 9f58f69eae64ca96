package connector

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/schemas"
)

// loadSize is a portal for the load benchmark.
type loadSize struct {
	contacts, deals, calls int
	clock                  float64 // scale of every interval and latency; 1 is HubSpot's
}

func (s loadSize) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * s.clock) }

func (s loadSize) records() int { return s.contacts + s.deals + s.calls }

// BenchmarkLoad is the first load of a portal at two quotas: simulator, client, embedded NATS on disk with every batch
// flushed, over sockets where a user would have them. Each figure stands beside its limit.
//
//	go test -run - -bench Load ./connector
//	HUBTAIL_BENCH_CONTACTS=1000000 HUBTAIL_BENCH_CLOCK=0.2 go test -run - -bench Load -timeout 1h ./connector
func BenchmarkLoad(b *testing.B) {
	size := loadSize{contacts: 31636, deals: 1193, calls: 8100, clock: 1}
	if n, err := strconv.Atoi(os.Getenv("HUBTAIL_BENCH_CONTACTS")); err == nil {
		size.contacts, size.deals, size.calls = n, 0, 0
	}
	if f, err := strconv.ParseFloat(os.Getenv("HUBTAIL_BENCH_CLOCK"), 64); err == nil {
		size.clock = f
	}
	for _, limit := range []int{100, 190} {
		b.Run("quota="+strconv.Itoa(limit), func(b *testing.B) {
			for range b.N {
				benchmarkLoad(b, size, limit)
			}
		})
	}
}

func benchmarkLoad(b *testing.B, size loadSize, limit int) {
	b.StopTimer()
	sim := simulator.New(simulator.Options{
		Contacts: size.contacts, Deals: size.deals, Calls: size.calls,
		BurstLimit: limit, SearchInBurst: true, IndexLag: simulator.Lag{Off: true},
		Interval: size.scaled(10 * time.Second), SearchInterval: size.scaled(time.Second), Latency: size.scaled(150 * time.Millisecond),
	})
	bench := newLoadRig(b, sim, hubspot.Config{
		Share: 1, BurstShare: 1, BurstLimit: limit, Interval: size.scaled(10 * time.Second), SearchInterval: size.scaled(time.Second),
	})
	b.StartTimer()

	began, cpu := time.Now(), cpuTime()
	source, err := New(b.Context(), Config{Client: bench.client, JetStream: bench.js, Objects: []string{"contacts", "deals", "calls"}})
	if err != nil {
		b.Fatal(err)
	}
	if err := source.Backfill(b.Context()); err != nil {
		b.Fatal(err)
	}
	cpu = cpuTime() - cpu
	b.StopTimer()

	wall, fetched := bench.loaded(b, source.Portal()).Sub(began), int64(0)
	for _, s := range source.Status() {
		fetched += s.Counts.Created
	}
	if fetched != int64(size.records()) {
		b.Errorf("%d records in the log, %d exist", fetched, size.records())
	}
	stats := sim.Stats()
	q := quota{limit: limit, interval: size.scaled(10 * time.Second), searchLimit: 5, searchInterval: size.scaled(time.Second)}
	least := leastTime(size.records(), q, size.scaled(150*time.Millisecond))
	b.Log("requests by endpoint:", stats.ByRoute, "by status:", stats.ByStatus)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(wall.Seconds(), "s")
	b.ReportMetric(least.Seconds(), "s-least")
	b.ReportMetric(wall.Seconds()/least.Seconds(), "x-least")
	b.ReportMetric(float64(stats.Requests), "requests")
	b.ReportMetric(float64(leastRequests(size.contacts, size.deals, size.calls)), "requests-least")
	b.ReportMetric(float64(stats.ByStatus[429]), "429s")
	b.ReportMetric(cpu.Seconds(), "cpu-s")
}

// loadRig is the real thing around a load, all but the source.
type loadRig struct {
	client *hubspot.Client
	js     jetstream.JetStream
}

func newLoadRig(tb testing.TB, sim *simulator.Simulator, cfg hubspot.Config) *loadRig {
	tb.Helper()
	url, err := sim.Start("127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { sim.Close() })
	server, err := localnats.Start(localnats.Options{StoreDir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { server.Close() })
	nc, err := server.Connect()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.BaseURL, cfg.Token = url, "pat-simulator"
	if testing.Verbose() && os.Getenv("HUBTAIL_BENCH_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	client, err := hubspot.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return &loadRig{client: client, js: js}
}

// loaded returns when the last of the full reads was said to be finished in the log.
func (r *loadRig) loaded(tb testing.TB, portal string) (last time.Time) {
	tb.Helper()
	stream, err := r.js.Stream(context.Background(), jetlog.DefaultStream)
	if err != nil {
		tb.Fatal(err)
	}
	for _, object := range []string{"contacts", "deals", "calls"} {
		subject := schemas.ControlSubject(schemas.KindRun, portal, object)
		m, err := stream.GetMsg(context.Background(), 1, jetstream.WithGetMsgSubject(subject)) // the first; polls' runs follow
		if err != nil {
			tb.Fatal(err)
		}
		if m.Time.After(last) {
			last = m.Time
		}
	}
	return last
}

// cpuTime returns the CPU time that this process used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
