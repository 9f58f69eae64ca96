package sink_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/hubtail/hubtail/sink"
)

// BenchmarkLatency publishes 2,000 events a second as the source does, by atomic batches, one of 20 every 10 ms, and looks
// every millisecond how far the tables are: how long after it is in the log, which NATS has then written to disk, is an
// event a committed row? The sink is in this process, NATS is not.
func BenchmarkLatency(b *testing.B) {
	const rate, seconds = 2_000, 10
	c := &contest{rig: &rig{bundle: setup(b)}}
	c.startServer()
	c.createStream()
	last := c.publish(benchDefinitions(b))
	events := benchEventsOf(rate*seconds, 2)
	s := c.start()
	c.applied(last)
	for range b.N {
		latencies := c.latencies(events, rate)
		for name, share := range map[string]int{"p50": 50, "p99": 99, "max": 100} {
			b.ReportMetric(float64(latencies[(len(latencies)-1)*share/100].Microseconds())/1000, name+"-ms")
		}
	}
	_ = s.stop()
	b.ReportMetric(0, "ns/op")
}

// latencies publishes events at a rate per second and returns how long each took to be committed, ascending.
func (c *contest) latencies(events []sink.Message, rate int) []time.Duration {
	const page = 20
	info, err := c.stream.Info(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	first := info.State.LastSeq + 1
	begun := make([]time.Time, len(events))
	published := make(chan struct{})
	go func() {
		defer close(published)
		start := time.Now()
		for i := 0; i < len(events); i += page {
			time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))))
			var batch []*nats.Msg
			for _, m := range events[i:min(len(events), i+page)] {
				batch = append(batch, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
			}
			if _, err := jetstreamext.PublishMsgBatch(c.t.Context(), c.js, batch); err != nil {
				c.t.Error(err)
				return
			}
			for j := range batch {
				begun[i+j] = time.Now()
			}
		}
	}()
	committed := make([]time.Time, len(events)) // one publisher: sequences are in the order of the events
	for seen := 0; seen < len(events); time.Sleep(time.Millisecond) {
		var at uint64
		if err := c.pool.QueryRow(c.t.Context(), `select seq from hubspot.positions where consumer = 'hubtail-sink'`).Scan(&at); err != nil {
			c.t.Fatal(err)
		}
		for now := time.Now(); seen < len(events) && first+uint64(seen) <= at; seen++ {
			committed[seen] = now
		}
	}
	<-published
	latencies := make([]time.Duration, len(events))
	for i := range events {
		latencies[i] = max(0, committed[i].Sub(begun[i])) // the sink may be faster than the acknowledgement
	}
	slices.Sort(latencies)
	return latencies
}
