package sink_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// BenchmarkRebuild rebuilds 45,000 contacts of 367 properties, about 45 filled (HUBTAIL_BENCH_REBUILD says how many instead),
// alone and under 200 readers (HUBTAIL_BENCH_READERS), each reading some ten times a second. It prints seconds, whole and
// without the comparison with the log, how long the swap locked the tables, and what readers waited at most.
func BenchmarkRebuild(b *testing.B) {
	r := newRig(b)
	rows := number("HUBTAIL_BENCH_REBUILD", 45_000)
	last := r.publishWide(b, rows)
	r.applied0(last)
	s := r.newTablesOn(openPool(b, r.url))
	rebuild := func(b *testing.B) {
		for range b.N {
			result := r.rebuild(s, sink.RebuildOptions{})
			b.ReportMetric(result.Seconds, "s/rebuild")
			b.ReportMetric(result.Phases["reading"], "s/reading")
			b.ReportMetric(result.Phases["comparing"], "s/comparing")
			b.ReportMetric(float64(result.Locked.Microseconds())/1000, "ms/locked")
			b.ReportMetric(float64(result.Tries), "tries")
		}
		b.ReportMetric(0, "ns/op")
	}
	b.Run("alone", rebuild)
	readers := number("HUBTAIL_BENCH_READERS", 200)
	b.Run(fmt.Sprintf("%dreaders", readers), func(b *testing.B) {
		ctx, stop := context.WithCancel(b.Context())
		defer stop()
		var longest, reads atomic.Int64
		var g errgroup.Group
		for range readers {
			g.Go(func() error { return r.paced(ctx, rows, &reads, &longest) })
		}
		rebuild(b)
		stop()
		if err := g.Wait(); err != nil {
			b.Error(err)
		}
		b.ReportMetric(float64(longest.Load())/1e6, "ms/longest-read")
		b.ReportMetric(float64(reads.Load()), "reads")
	})
}

// publishWide publishes the definitions and the first load of so many wide contacts, ids from 100,000,000 on.
func (r *rig) publishWide(b *testing.B, rows int) (last uint64) {
	r.publish(benchDefinitions(b))
	for from := 0; from < rows; from += benchRows {
		messages := benchEvents(2)
		for i := range messages {
			messages[i] = moved(b, messages[i], 100_000_000+int64(from+i))
		}
		for batch := range slices.Chunk(messages[:min(benchRows, rows-from)], benchBatch) {
			last = r.publishPage(batch)
		}
	}
	return last
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// moved returns the event as one of another record.
func moved(b *testing.B, m sink.Message, id int64) sink.Message {
	e, err := schemas.DecodeEvent(m.Message)
	if err != nil {
		b.Fatal(err)
	}
	e.ID = strconv.FormatInt(id, 10)
	return sink.Message{Message: e.Encode()}
}

// paced reads one record about ten times a second: it has to be there.
func (r *rig) paced(ctx context.Context, rows int, reads, longest *atomic.Int64) error {
	conn, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the benchmark is over
	for ctx.Err() == nil {
		began := time.Now()
		var seq int64
		err := conn.QueryRow(ctx, `select _seq from hubspot.contacts where id = $1`, 100_000_000+rand.IntN(rows)).Scan(&seq)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("a reader met an error: %w", err)
		}
		reads.Add(1)
		for took := int64(time.Since(began)); ; {
			if before := longest.Load(); before >= took || longest.CompareAndSwap(before, took) {
				break
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50*time.Millisecond + rand.N(100*time.Millisecond)):
		}
	}
	return nil
}
