package sink_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// BenchmarkReshape changes the type of a property of 100,000 contacts (HUBTAIL_BENCH_RESHAPE says how many instead) of 367
// properties, about 45 filled, from number to string and back, beside a live write at a time. It prints the seconds that takes,
// how long the table was locked at most, and how long a write took to its row at most.
//
//	HUBTAIL_BENCH_RESHAPE=1000000 make bench PKG=./sink TESTFLAGS='-bench Reshape -benchtime 1x -timeout 1h'
func BenchmarkReshape(b *testing.B) {
	r := newRig(b)
	rows := number("HUBTAIL_BENCH_RESHAPE", 100_000)
	r.applied0(r.publishWide(b, rows))
	r.start()
	const property = 4 // a number that every contact has
	retyped := func(typ string) sink.Message {
		d := decodeDefinitions(b, benchDefinitions(b))
		d.Properties[property].Type = typ
		return control(b, 1, d)
	}
	stop := make(chan struct{})
	var held, longest, took time.Duration
	var group sync.WaitGroup
	group.Go(func() { held = r.longestLock(stop) })
	writes, at := 0, 0
	for b.Loop() {
		typ, sqlType := "string", "text"
		if at++; at%2 == 0 {
			typ, sqlType = "number", "numeric"
		}
		began := time.Now()
		r.publish(retyped(typ))
		for isType := ""; isType != sqlType; writes++ {
			sent, id := time.Now(), int64(100_000_000+writes*7919%rows)
			r.applied(r.publish(event("contacts", id, 0, props{benchName(property): fmt.Sprint(writes)})))
			longest = max(longest, time.Since(sent))
			isType = r.value(`select column_type from hubspot.properties where name = $1`, benchName(property))
		}
		took += time.Since(began)
	}
	close(stop)
	group.Wait()
	b.ReportMetric(took.Seconds()/float64(at), "s/change")
	b.ReportMetric(float64(held.Microseconds())/1000, "ms/locked")
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-write")
	b.ReportMetric(float64(writes)/float64(at), "writes/change")
	b.ReportMetric(0, "ns/op")
}

func decodeDefinitions(b *testing.B, m sink.Message) *schemas.PropertyDefinitions {
	c, err := schemas.DecodeControl(m.Message)
	if err != nil {
		b.Fatal(err)
	}
	return c.(*schemas.PropertyDefinitions)
}
