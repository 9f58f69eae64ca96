package sink_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// The benchmarks stand for a portal of 20,000 contacts with 367 properties, about 45 of them filled: 30 that nearly
// every contact has, and 15 of the rest. They print rows/s, the CPU time of this process and of Postgres and the WAL per row, and
// the ratio to a COPY of the very same rows into the same table, measured in the same run.
const (
	benchRows       = 20_000
	benchProperties = 367
	benchBatch      = 1_000
)

var benchTypes = []string{"string", "string", "enumeration", "string", "number", "datetime", "string", "bool", "string", "date"}

func benchName(i int) string { return fmt.Sprintf("hs_property_%03d", i) }

func benchDefinitions(t testing.TB) sink.Message {
	d := &schemas.PropertyDefinitions{Portal: portal, Object: "contacts", ObjectTypeID: "0-1"}
	for i := range benchProperties {
		d.Properties = append(d.Properties, schemas.Property{Name: benchName(i), Type: benchTypes[i%len(benchTypes)], Label: "Property " + strconv.Itoa(i)})
	}
	return control(t, 1, d)
}

func benchValue(r *rand.Rand, property int) string {
	switch benchTypes[property%len(benchTypes)] {
	case "number":
		return strconv.Itoa(r.IntN(1_000_000))
	case "datetime":
		return time.UnixMilli(1_600_000_000_000 + r.Int64N(1e11)).UTC().Format("2006-01-02T15:04:05.000Z")
	case "bool":
		return strconv.FormatBool(r.IntN(2) == 0)
	case "date":
		return time.UnixMilli(1_600_000_000_000 + r.Int64N(1e11)).UTC().Format(time.DateOnly)
	case "enumeration":
		return []string{"lead", "customer", "subscriber", "opportunity"}[r.IntN(4)]
	}
	const words = "lorem ipsum dolor sit amet consetetur sadipscing elitr sed diam nonumy eirmod tempor invidunt ut labore"
	from := r.IntN(60)
	return words[from : from+8+r.IntN(32)]
}

// benchEvents returns the events of a first load, 30 common properties and 15 out of the next 100.
func benchEvents(version uint64) []sink.Message { return benchEventsOf(benchRows, version) }

func benchEventsOf(n int, version uint64) []sink.Message {
	r := rand.New(rand.NewPCG(1, 2))
	messages := make([]sink.Message, n)
	for i := range messages {
		values := props{}
		for p := range 30 {
			values[benchName(p)] = benchValue(r, p)
		}
		for range 15 {
			p := 30 + r.IntN(100)
			values[benchName(p)] = benchValue(r, p)
		}
		messages[i] = event("contacts", int64(100_000_000+i*7919%n), version+uint64(i), values)
	}
	return messages
}

type usage struct {
	wall          time.Time
	self, backend time.Duration
	wal           int64 // bytes, of the whole server
}

func measure(b *bundle) usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.t.Fatal(err)
	}
	var wal int64
	if err := b.pool.QueryRow(b.t.Context(), `select (pg_current_wal_insert_lsn() - '0/0')::bigint`).Scan(&wal); err != nil {
		b.t.Fatal(err)
	}
	return usage{time.Now(), time.Duration(r.Utime.Nano() + r.Stime.Nano()), backendCPU(b), wal}
}

func report(b *testing.B, rows int, from, to usage, copyRate float64) float64 {
	n := float64(rows * b.N)
	rate := n / to.wall.Sub(from.wall).Seconds()
	b.ReportMetric(rate, "rows/s")
	b.ReportMetric(float64((to.self-from.self).Microseconds())/n, "sinkCPUµs/row")
	b.ReportMetric(float64((to.backend-from.backend).Microseconds())/n, "pgCPUµs/row")
	b.ReportMetric(float64(to.wal-from.wal)/n, "WAL-B/row")
	if copyRate > 0 {
		b.ReportMetric(rate/copyRate, "xCOPY")
	}
	b.ReportMetric(0, "ns/op")
	return rate
}

// BenchmarkSink measures, in one run: COPY; the first load by Apply; a replay of all of it; a load in which a tenth is
// new.
func BenchmarkSink(b *testing.B) {
	bench := setup(b)
	bench.apply(benchDefinitions(b))
	load := benchEvents(2)
	for i := 0; i < len(load); i += benchBatch {
		bench.apply(load[i : i+benchBatch]...)
	}
	rows := copyOut(bench)
	var copyRate float64
	truncate := func() { bench.exec(`truncate hubspot.contacts`); bench.exec(`checkpoint`) }
	b.Run("copy", func(b *testing.B) {
		var spent usage
		start := measure(bench)
		for range b.N {
			truncate()
			before := measure(bench)
			copyIn(bench, rows)
			spent = spent.plus(before, measure(bench))
		}
		copyRate = report(b, benchRows, start, start.add(spent), 0)
	})
	b.Run("load", func(b *testing.B) {
		var spent usage
		start := measure(bench)
		for range b.N {
			truncate()
			bench.applier = bench.newApplier()
			before := measure(bench)
			for i := 0; i < len(load); i += benchBatch {
				bench.apply(load[i : i+benchBatch]...)
			}
			spent = spent.plus(before, measure(bench))
		}
		report(b, benchRows, start, start.add(spent), copyRate)
	})
	b.Run("replay", func(b *testing.B) {
		start := measure(bench)
		for range b.N {
			for i := 0; i < len(load); i += benchBatch {
				bench.apply(load[i : i+benchBatch]...)
			}
		}
		report(b, benchRows, start, measure(bench), copyRate)
	})
}

// BenchmarkChanged measures a replay in which some of the events are new: a tenth of them, and all.
func BenchmarkChanged(b *testing.B) {
	bench := setup(b)
	bench.apply(benchDefinitions(b))
	load := benchEvents(2)
	for i := 0; i < len(load); i += benchBatch {
		bench.apply(load[i : i+benchBatch]...)
	}
	for _, every := range []int{10, 1} {
		b.Run(fmt.Sprintf("1of%d", every), func(b *testing.B) {
			start := measure(bench)
			for range b.N {
				for i := 0; i < len(load); i += every {
					load[i].Seq += benchRows
				}
				for i := 0; i < len(load); i += benchBatch {
					// The order of the log, as Apply sorts it.
					bench.apply(slices.Clone(load[i : i+benchBatch])...)
				}
			}
			report(b, benchRows, start, measure(bench), 0)
		})
	}
}

func (u usage) plus(from, to usage) usage {
	return usage{u.wall.Add(to.wall.Sub(from.wall)), u.self + to.self - from.self, u.backend + to.backend - from.backend, u.wal + to.wal - from.wal}
}

func (u usage) add(spent usage) usage {
	return usage{u.wall.Add(spent.wall.Sub(time.Time{})), u.self + spent.self, u.backend + spent.backend, u.wal + spent.wal}
}

// copyOut reads the table as COPY's binary format in blocks of benchBatch rows.
func copyOut(b *bundle) [][]byte { return copyOutOf(b, benchRows) }

func copyOutOf(b *bundle, n int) [][]byte {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.t.Context()))
	var blocks [][]byte
	for i := 0; i < n; i += benchBatch {
		var out bytes.Buffer
		if _, err := conn.PgConn().CopyTo(b.t.Context(), &out, fmt.Sprintf(
			`copy (select * from hubspot.contacts order by id offset %d limit %d) to stdout binary`, i, benchBatch)); err != nil {
			b.t.Fatal(err)
		}
		blocks = append(blocks, out.Bytes())
	}
	return blocks
}

func copyIn(b *bundle, blocks [][]byte) {
	b.t.Helper()
	conn, err := b.pool.Acquire(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Release()
	for _, block := range blocks {
		if _, err := conn.Conn().PgConn().CopyFrom(b.t.Context(), bytes.NewReader(block), `copy hubspot.contacts from stdin binary`); err != nil {
			b.t.Fatal(err)
		}
	}
}

// BenchmarkStream measures a whole Sink: from a stream that is full to tables that are equal to it.
func BenchmarkStream(b *testing.B) {
	r := newRig(b)
	r.publish(benchDefinitions(b))
	load := benchEvents(2)
	var last uint64
	for i := 0; i < len(load); i += benchBatch {
		last = r.publishAll(load[i : i+benchBatch])
	}
	s := r.start()
	r.applied(last)
	_ = s.stop()
	rows := copyOut(r.bundle)
	var copyRate float64
	reset := func() {
		r.exec(`truncate hubspot.contacts, hubspot.positions`)
		_ = r.stream.DeleteConsumer(b.Context(), sink.DefaultConsumer)
		r.exec(`checkpoint`)
	}
	b.Run("copy", func(b *testing.B) {
		var spent usage
		start := measure(r.bundle)
		for range b.N {
			reset()
			before := measure(r.bundle)
			copyIn(r.bundle, rows)
			spent = spent.plus(before, measure(r.bundle))
		}
		copyRate = report(b, benchRows, start, start.add(spent), 0)
	})
	for _, phase := range []string{"load", "replay"} {
		b.Run(phase, func(b *testing.B) {
			var spent usage
			start := measure(r.bundle)
			for range b.N {
				if phase == "load" {
					reset()
				} else { // the rows stay
					r.exec(`truncate hubspot.positions`)
					_ = r.stream.DeleteConsumer(b.Context(), sink.DefaultConsumer)
				}
				before := measure(r.bundle)
				s := r.start()
				r.applied(last)
				spent = spent.plus(before, measure(r.bundle))
				_ = s.stop()
			}
			report(b, benchRows, start, start.add(spent), copyRate)
		})
	}
}

// publishAll appends messages without waiting for each.
func (r *rig) publishAll(messages []sink.Message) (last uint64) {
	r.t.Helper()
	var acks []jetstream.PubAckFuture
	for _, m := range messages {
		ack, err := r.js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		if err != nil {
			r.t.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case done := <-ack.Ok():
			last = max(last, done.Sequence)
		case err := <-ack.Err():
			r.t.Fatal(err)
		}
	}
	return last
}
