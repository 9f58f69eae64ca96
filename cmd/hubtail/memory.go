package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Soft limits of the heap. Pages of HubSpot and batches of rows are short-lived: without a limit Go would let several
// times as much garbage pile up before it collects.
const (
	memoryAlone    = 56 << 20  // source: what it holds does not grow with the portal
	memorySink     = 72 << 20  // sink: nor does what this one holds; three batches and what NATS has sent ahead
	memoryEmbedded = 176 << 20 // with the embedded NATS server, at least; it keeps an index of all records
)

// garbagePercent is how much garbage may pile up beside what is live, below the limit. Go's default of 100 costs the sink a
// tenth of its CPU time.
const garbagePercent = 200

// limitMemory sets the soft limit unless GOMEMLIMIT does, and garbagePercent unless GOGC does.
func limitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// limitMemoryWithNATS sets the soft limit of a process with the embedded server, and raises it with what is really in use:
// a limit below that would make the garbage collector run all the time. The function it returns ends that.
func limitMemoryWithNATS(ctx context.Context) (stop func()) {
	limitMemory(memoryEmbedded)
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for {
			select {
			case <-tick.C:
				metrics.Read(live)
				limitMemory(max(memoryEmbedded, int64(live[0].Value.Uint64())*8/5))
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}
