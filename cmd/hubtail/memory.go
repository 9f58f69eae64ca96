package main

import (
	"os"
	"runtime/debug"
)

// Soft limits of the heap. Pages of HubSpot and batches of rows are short-lived: without a limit Go would let several
// times as much garbage pile up before it collects. They do not grow with the portal, except for the embedded NATS
// server, which keeps an index of all records; see the README for large portals.
const (
	memoryAlone    = 56 << 20  // source or sink
	memoryEmbedded = 176 << 20 // with the embedded NATS server
)

// limitMemory sets the soft limit unless GOMEMLIMIT does.
func limitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}
