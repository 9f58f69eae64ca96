package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

// BenchmarkWebhook changes contacts at a steady rate, one property each, and prints how long a change takes to a committed
// row, the delivery included: HubSpot is simulated to wait 0.2 to 1.2 s before it tells, to tell 2 % twice, and to answer a
// batch read in 200 ms and one more per record. Search shows nothing, so that no row owes anything to polling.
//
//	make bench PKG=./cmd/hubtail TESTFLAGS='-bench Webhook -benchtime 1x'
func BenchmarkWebhook(b *testing.B) {
	for _, run := range []struct {
		rate  int // events a second
		types []string
	}{
		{1, []string{"contacts"}}, {50, []string{"contacts"}}, {500, []string{"contacts"}},
		{50, []string{"contacts", "companies", "deals", "tickets", "calls"}},
	} {
		b.Run(fmt.Sprintf("rate=%d/types=%d", run.rate, len(run.types)), func(b *testing.B) {
			for range b.N {
				w := newWebhookBench(b, run.types)
				w.steady(run.rate, 40*time.Second)
				w.stop()
			}
		})
	}
}

// BenchmarkWebhookBurst has 10,000 contacts change at once while Postgres takes no connections, and prints how long until
// all is acknowledged, in the log, and, once Postgres is back, in rows.
func BenchmarkWebhookBurst(b *testing.B) {
	for range b.N {
		w := newWebhookBench(b, []string{"contacts"})
		w.burst(10_000)
		w.stop()
	}
}

// webhookBench is everything between a change in HubSpot and its row, in one process.
type webhookBench struct {
	*stack
	tb    testing.TB
	types []string
	pool  *pgxpool.Pool
	door  *door // of the sink
	stop  func()

	mu      sync.Mutex // guards answers
	answers []time.Duration
}

const benchRecords = 20_000 // of the type that changes most: none changes twice

func newWebhookBench(b *testing.B, types []string) *webhookBench {
	n := benchRecords / len(types)
	portal := simulator.Options{
		Contacts: n, BurstLimit: 190, DailyLimit: 10_000_000, IndexLag: simulator.Lag{Min: time.Hour, Max: time.Hour, Tail: -1},
	}
	if len(types) > 1 {
		portal.Companies, portal.Deals, portal.Tickets, portal.Calls = n, n, n, n
	}
	w := &webhookBench{stack: newStack(b, portal), tb: b, types: types}
	ctx, cancel := context.WithCancel(context.Background())
	client, err := hubspot.New(hubspot.Config{BaseURL: w.hubspot, Token: "pat-simulator", Share: 1, BurstLimit: 190})
	must(b, err)
	source, err := connector.New(ctx, connector.Config{Client: client, JetStream: w.js, Objects: types, Associations: []string{"none"}, Settle: 2 * time.Second})
	must(b, err)
	w.pool, err = sink.OpenPool(ctx, w.database)
	must(b, err)
	must(b, migrations.Apply(ctx, w.pool, "hubspot"))
	door, url := newDoor(b, w.database)
	w.door = door
	sinkPool, err := sink.OpenPool(ctx, url)
	must(b, err)
	tables, err := sink.New(ctx, sink.Config{Pool: sinkPool, JetStream: w.js})
	must(b, err)
	server := w.receive(source)
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return source.Run(running) })
	group.Go(func() error { return tables.Run(running) })
	w.stop = sync.OnceFunc(func() {
		_ = w.simulator.Close()
		server.Close()
		cancel()
		if err := group.Wait(); err != nil {
			b.Error(err)
		}
		sinkPool.Close()
		w.pool.Close()
		client.Close()
	})
	b.Cleanup(w.stop)
	w.eventually(5*time.Minute, "the first load", func() bool {
		return w.number("select count(*) from hubspot.sync_logs where sync_type = 'full' and status = 'success'") == len(types)
	})
	// The quota that the load used up is not what is measured.
	<-time.After(10 * time.Second)
	return w
}

// receive starts a receiver that measures its answers.
func (w *webhookBench) receive(source *connector.Source) *httptest.Server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.tb, err)
	url := "http://" + l.Addr().String() + "/hubspot"
	receiver, err := source.NewReceiver(connector.ReceiverConfig{URL: url, Secret: "simulator-secret"})
	must(w.tb, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began := time.Now()
		receiver.ServeHTTP(rw, r)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.answers = append(w.answers, time.Since(began))
	}))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	w.simulator.SetWebhooks(simulator.Webhooks{URL: url, RetryDelay: time.Second})
	return server
}

// number returns the one number of a query, 0 if it fails.
func (w *webhookBench) number(query string, args ...any) (n int) {
	if w.pool.QueryRow(context.Background(), query, args...).Scan(&n) != nil {
		return 0
	}
	return n
}

// told returns how many events were delivered and how many batch reads there were, so far.
func (w *webhookBench) told() (events, reads int) {
	stats := w.simulator.Stats()
	for _, t := range w.types {
		reads += stats.ByRoute["batch "+t]
	}
	return stats.Webhooks.Delivered, reads
}

var benchProperty = map[string]string{"contacts": "city", "companies": "city", "deals": "dealname", "tickets": "subject", "calls": "hs_call_title"}

// steady changes records at a rate and reports.
func (w *webhookBench) steady(rate int, length time.Duration) {
	b := w.tb.(*testing.B)
	ids := map[string][]string{}
	for _, t := range w.types {
		ids[t] = w.simulator.IDs(t, 0, benchRecords/len(w.types), 1)
	}
	began, changes := w.simulator.Now(), 0
	events, reads := w.told()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	end := time.After(length)
	for running := true; running; {
		select {
		case <-tick.C:
			t := w.types[changes%len(w.types)]
			id := ids[t][changes/len(w.types)]
			must(b, w.simulator.Update(t, id, map[string]string{benchProperty[t]: fmt.Sprint("v", changes)}))
			changes++
		case <-end:
			running = false
		}
	}
	w.committed(changes, began)
	after, readsAfter := w.told()
	p := w.latencies(began)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(changes)/length.Seconds(), "changes/s")
	b.ReportMetric(p[0], "s-p50")
	b.ReportMetric(p[1], "s-p95")
	b.ReportMetric(p[2], "s-p99")
	b.ReportMetric(float64(after-events)/float64(readsAfter-reads), "events/read")
	w.reportAnswers(b)
	b.ReportMetric(float64(w.simulator.Stats().ByStatus[429]), "429s")
}

// committed waits until n rows that changed since a time are committed.
func (w *webhookBench) committed(n int, since time.Time) {
	w.eventually(5*time.Minute, fmt.Sprint(n, " rows"), func() bool {
		sum := 0
		for _, t := range w.types {
			sum += w.number("select count(*) from "+pgx.Identifier{"hubspot", t}.Sanitize()+" where _updated_at >= $1", since)
		}
		return sum >= n
	})
}

// latencies returns the median, the 95th and the 99th percentile from change to row, in seconds.
func (w *webhookBench) latencies(since time.Time) [3]float64 {
	var all []float64
	for _, t := range w.types {
		rows, err := w.pool.Query(context.Background(), "select extract(epoch from _synced_at - _updated_at)::float8 from "+
			pgx.Identifier{"hubspot", t}.Sanitize()+" where _updated_at >= $1", since)
		must(w.tb, err)
		took, err := pgx.CollectRows(rows, pgx.RowTo[float64])
		must(w.tb, err)
		all = append(all, took...)
	}
	slices.Sort(all)
	at := func(p float64) float64 { return all[int(p*float64(len(all)-1))] }
	return [3]float64{at(0.50), at(0.95), at(0.99)}
}

func (w *webhookBench) reportAnswers(b *testing.B) {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.answers)
	at := func(p float64) float64 { return float64(w.answers[int(p*float64(len(w.answers)-1))]) / 1e6 }
	b.ReportMetric(at(0.50), "ms-ack-p50")
	b.ReportMetric(at(0.99), "ms-ack-p99")
}

// burst changes n records at once while Postgres is away.
func (w *webhookBench) burst(n int) {
	b := w.tb.(*testing.B)
	ctx := context.Background()
	w.door.close(true)
	began := w.simulator.Now()
	start := time.Now()
	for i, id := range w.simulator.IDs("contacts", 0, n, 1) {
		must(b, w.simulator.Update("contacts", id, map[string]string{"city": fmt.Sprint("v", i)}))
	}
	w.eventually(time.Minute, "all is acknowledged", func() bool { return w.simulator.Stats().Webhooks.Pending == 0 })
	acknowledged := time.Since(start)
	stream, err := w.js.Stream(ctx, "HUBSPOT_HINTS")
	must(b, err)
	w.eventually(2*time.Minute, "all is in the log", func() bool {
		info, err := stream.Info(ctx)
		return err == nil && info.State.Msgs == 0
	})
	logged := time.Since(start)
	w.door.close(false)
	back := time.Now()
	w.committed(n, began)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(acknowledged.Seconds(), "s-all-acknowledged")
	b.ReportMetric(logged.Seconds(), "s-all-in-the-log")
	b.ReportMetric(time.Since(back).Seconds(), "s-all-rows-once-postgres-is-back")
	b.ReportMetric(float64(w.simulator.Stats().Webhooks.Failed), "deliveries-refused")
	w.reportAnswers(b)
}

// door is a way to Postgres that can be shut: what a restart or a broken network looks like.
type door struct {
	target string
	mu     sync.Mutex // guards the fields below
	shut   bool
	conns  map[net.Conn]bool
}

// newDoor returns a door to the database and the database's address behind it.
func newDoor(tb testing.TB, database string) (d *door, url string) {
	cfg, err := pgx.ParseConfig(database)
	must(tb, err)
	d = &door{target: net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)), conns: map[net.Conn]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go d.pass(conn)
		}
	}()
	return d, strings.Replace(database, d.target, l.Addr().String(), 1)
}

// pass carries a connection through.
func (d *door) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", d.target)
	if err != nil {
		return
	}
	defer out.Close()
	d.mu.Lock()
	if d.shut {
		d.mu.Unlock()
		return
	}
	d.conns[in] = true
	d.mu.Unlock()
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	_, _ = io.Copy(in, out)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, in)
}

// close breaks all connections and lets none through, until it is opened.
func (d *door) close(shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = shut
	for conn := range d.conns {
		if shut {
			conn.Close()
		}
	}
}
