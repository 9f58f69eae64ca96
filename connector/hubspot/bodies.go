package hubspot

import (
	"bytes"
	"context"
	"time"
)

const (
	// bodiesAtOnce bounds the answers that are read at the same time. A page of wide records has megabytes; some thirty
	// of them in flight must not all sit in memory while two cores read them. Those that wait stay in the kernel.
	bodiesAtOnce = 6
	// bodyPatience is how long an answer waits for the others. A few that trickle in must not hold up the rest.
	bodyPatience = 2 * time.Second
)

// bodies are the buffers that answers are read into.
type bodies chan *bytes.Buffer

func newBodies() bodies {
	b := make(bodies, bodiesAtOnce)
	for range bodiesAtOnce {
		b <- new(bytes.Buffer)
	}
	return b
}

// take returns an empty buffer, after waiting its turn.
func (b bodies) take(ctx context.Context) *bytes.Buffer {
	select {
	case buf := <-b:
		return buf
	default:
	}
	patience := time.NewTimer(bodyPatience)
	defer patience.Stop()
	select {
	case buf := <-b:
		return buf
	case <-patience.C:
	case <-ctx.Done():
	}
	return new(bytes.Buffer)
}

// put gives a buffer back; one too many is left to the garbage collector.
func (b bodies) put(buf *bytes.Buffer) {
	buf.Reset()
	select {
	case b <- buf:
	default:
	}
}
