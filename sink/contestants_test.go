package sink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/sink"
)

const (
	// childRole names the environment variable that makes this test binary play a part of BenchmarkContest.
	childRole = "HUBTAIL_BENCH_ROLE"

	pipelineConsumer = "pipeline"
)

// childReport is what a contestant says of itself; the benchmark adds what NATS and Postgres spent meanwhile.
type childReport struct {
	Wall, CPU      time.Duration
	Memory         int64 // most that was resident, in bytes
	NATS, Postgres time.Duration
}

// playChild plays a part and returns the exit code.
func playChild(role string, args []string) int {
	ctx := context.Background()
	if role == "nats" {
		debug.SetMemoryLimit(176 << 20) // as `hubtail nats` does
		debug.SetGCPercent(200)
		server, err := localnats.Start(localnats.Options{StoreDir: args[0], Listen: "127.0.0.1:0"})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(server.URL())
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
		return 0
	}
	report, err := playContestant(ctx, role, args[0], args[1], args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(report)
	return 0
}

func playContestant(ctx context.Context, role, database, natsURL, lastText string) (*childReport, error) {
	last, err := strconv.ParseUint(lastText, 10, 64)
	if err != nil {
		return nil, err
	}
	pool, err := sink.OpenPool(ctx, database)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	nc, err := nats.Connect(natsURL)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if role == "sink" {
		err = playSink(ctx, pool, js, last)
	} else {
		err = playPipeline(ctx, pool, js, last)
	}
	if err != nil {
		return nil, err
	}
	report := &childReport{Wall: time.Since(start), Memory: peakMemory()}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return nil, err
	}
	report.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return report, nil
}

// playSink runs a sink, with the memory settings of `hubtail sink`, until the position is at last.
func playSink(ctx context.Context, pool *pgxpool.Pool, js jetstream.JetStream, last uint64) error {
	debug.SetMemoryLimit(72 << 20)
	debug.SetGCPercent(200)
	s, err := sink.New(ctx, sink.Config{Pool: pool, JetStream: js, Schema: schema})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error { return s.Run(ctx) })
	for s.Stats().Position < last {
		time.Sleep(2 * time.Millisecond)
	}
	stop()
	return g.Wait()
}

// playPipeline does what a general tool does when it is set up well: two workers, batches of a thousand, the body as it is
// into one jsonb column, the newest wins, acknowledged after the commit. (A tool that is made for everything takes the
// event apart and together again, too: measured elsewhere at 60 µs of CPU time an event. This one does not.)
func playPipeline(ctx context.Context, pool *pgxpool.Pool, js jetstream.JetStream, last uint64) error {
	consumer, err := js.CreateConsumer(ctx, "HUBSPOT", jetstream.ConsumerConfig{
		Durable: pipelineConsumer, FilterSubject: "hubspot." + portal + ".contacts.*", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000,
	})
	if err != nil {
		return err
	}
	var g errgroup.Group
	for range 2 {
		g.Go(func() error {
			for {
				done, err := pipelineBatch(ctx, pool, consumer, last)
				if done || err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

func pipelineBatch(ctx context.Context, pool *pgxpool.Pool, consumer jetstream.Consumer, last uint64) (done bool, err error) {
	batch, err := consumer.Fetch(benchBatch, jetstream.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return false, err
	}
	var messages []jetstream.Msg
	var ids, seqs []int64
	var bodies []string
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return false, err
		}
		subject := m.Subject()
		id, err := strconv.ParseInt(subject[strings.LastIndexByte(subject, '.')+1:], 10, 64)
		if err != nil {
			return false, err
		}
		messages = append(messages, m)
		ids, seqs, bodies = append(ids, id), append(seqs, int64(meta.Sequence.Stream)), append(bodies, string(m.Data()))
		done = done || meta.Sequence.Stream >= last || meta.NumPending == 0
	}
	if len(messages) == 0 {
		return true, nil
	}
	_, err = pool.Exec(ctx, `insert into documents as d (id, seq, doc)
select * from unnest($1::bigint[], $2::bigint[], $3::jsonb[]) as r(id, seq, doc) order by r.id
on conflict (id) do update set seq = excluded.seq, doc = excluded.doc where d.seq < excluded.seq`, ids, seqs, bodies)
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		_ = m.Ack()
	}
	return done, nil
}

// peakMemory returns the most memory this process had resident, 0 where /proc does not tell.
func peakMemory() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	_, _ = fmt.Sscan(after, &kilobytes)
	return kilobytes << 10
}
