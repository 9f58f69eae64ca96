package simulator

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// finish waits as long as HubSpot would and sends the answer. The answer was made on arrival: like HubSpot's it may be
// older than what the caller knows by the time it comes.
func (c *call) finish(w http.ResponseWriter, arrived time.Time) {
	ctx := c.request.Context()
	if !c.wait(ctx, time.Until(arrived.Add(c.latency()))) {
		return
	}
	c.compress()
	switch c.fault.Kind {
	case FaultHang:
		if !c.wait(ctx, orDefault(c.fault.Delay, 100*time.Second)) {
			return
		}
	case FaultReset:
		panic(http.ErrAbortHandler)
	case FaultCut:
		c.body = c.body[:len(c.body)*2/3]
	case FaultLength:
		w.Header().Set("Content-Length", strconv.Itoa(len(c.body)+1000))
		w.WriteHeader(c.status)
		w.Write(c.body)
		panic(http.ErrAbortHandler)
	case FaultSlow:
		w.WriteHeader(c.status)
		c.drip(ctx, w, c.body, orDefault(c.fault.Delay, 30*time.Second))
		return
	}
	if c.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
	} else {
		w.Header().Del("Content-Type")
		c.body = c.body[:0]
	}
	w.WriteHeader(c.status)
	w.Write(c.body) // an error means that the caller left
}

// compress packs the body if that is wanted. Small bodies stay as they are.
func (c *call) compress() {
	if !c.opts.Gzip || len(c.body) < 1024 || !strings.Contains(c.request.Header.Get("Accept-Encoding"), "gzip") {
		return
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return
	}
	z.Write(c.body) // a buffer takes everything
	z.Close()
	c.header.Set("Content-Encoding", "gzip")
	c.body = packed.Bytes()
}

// latency returns how long the answer takes. Refusals come at once.
func (c *call) latency() time.Duration {
	l := c.opts.Latencies
	if c.route == nil || c.status == http.StatusTooManyRequests {
		return 0
	}
	switch c.route.kind {
	case kindList, kindGet:
		return l.List
	case kindSearch:
		return l.Search
	case kindBatch:
		return l.Batch + time.Duration(c.records)*max(l.BatchRecord, 0)
	case kindAssociations:
		return l.Association
	}
	return l.Other
}

// wait waits for d and says whether the caller is still there.
func (s *Simulator) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.done:
		return false
	case <-timer.C:
		return true
	}
}

// drip sends body in 20 parts, spread over d.
func (s *Simulator) drip(ctx context.Context, w http.ResponseWriter, body []byte, d time.Duration) {
	const parts = 20
	for i := range parts {
		if _, err := w.Write(body[len(body)*i/parts : len(body)*(i+1)/parts]); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		if !s.wait(ctx, d/parts) {
			return
		}
	}
}
