package sink_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/sink"
)

// BenchmarkContest lets a Sink and a general pipeline, which upserts events as one jsonb column, take the same full stream
// into the same Postgres, turn by turn, beside COPY of the very rows. Each is a process of its own, and so is NATS. It logs
// the median and the range of rows/s, the CPU time per row of the process, of NATS and of Postgres, and the most memory the
// process had. The figures of a round stand for the same machine; those of different days do not.
//
//	make bench PKG=./sink TESTFLAGS="-bench Contest -benchtime 5x -run - -v"
func BenchmarkContest(b *testing.B) {
	c := newContest(b)
	contestants := []contestant{
		{"copy", c.emptyTables, func() childReport { return c.timed(func() { copyIn(c.bundle, c.rows) }) }},
		{"load", c.emptyTables, func() childReport { return c.child("sink") }},
		{"replay", c.forgetPosition, func() childReport { return c.child("sink") }},
		{"tenth newer", func() { c.age(fmt.Sprintf("_seq > %d", c.last-contestRows/10)) }, func() childReport { return c.child("sink") }},
		{"tenth scattered", func() { c.age("id % 10 = 0") }, func() childReport { return c.child("sink") }},
		{"copy jsonb", c.emptyDocuments, func() childReport { return c.timed(c.copyDocuments) }},
		{"pipeline jsonb", c.emptyDocuments, func() childReport { return c.child("pipeline") }},
	}
	results := make([][]childReport, len(contestants))
	for range b.N {
		for i, one := range contestants {
			one.prepare()
			c.exec(`checkpoint`)
			nats, postgres := processCPU(c.nats), c.postgresCPU()
			result := one.run()
			result.NATS, result.Postgres = processCPU(c.nats)-nats, c.postgresCPU()-postgres
			results[i] = append(results[i], result)
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, one := range contestants {
		rates := ratesOf(results[i])
		var beside []float64 // by round, as ratios to COPY of the same round
		for round, r := range results[i] {
			beside = append(beside, results[0][round].Wall.Seconds()/r.Wall.Seconds())
		}
		slices.Sort(beside)
		r := medianReport(results[i])
		b.Logf("%-15s %6.0f rows/s (%.0f-%.0f), %.2f x COPY (%.2f-%.2f); CPU µs/row: own %.1f, NATS %.1f, Postgres %.1f; at most %d MB",
			one.name, median(rates), rates[0], rates[len(rates)-1], median(beside), beside[0], beside[len(beside)-1],
			perRow(r.CPU), perRow(r.NATS), perRow(r.Postgres), r.Memory>>20)
		b.ReportMetric(median(beside), strings.ReplaceAll(one.name, " ", "-")+"-xCOPY")
	}
}

type contestant struct {
	name    string
	prepare func()
	run     func() childReport
}

const contestRows = 40_000

func perRow(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / contestRows }

func median(sorted []float64) float64 { return sorted[len(sorted)/2] }

func ratesOf(reports []childReport) (rates []float64) {
	for _, r := range reports {
		rates = append(rates, contestRows/r.Wall.Seconds())
	}
	slices.Sort(rates)
	return rates
}

// medianReport has the median of each kind of CPU time and the most memory.
func medianReport(reports []childReport) (m childReport) {
	of := func(field func(childReport) time.Duration) time.Duration {
		var values []time.Duration
		for _, r := range reports {
			values = append(values, field(r))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	m.CPU = of(func(r childReport) time.Duration { return r.CPU })
	m.NATS = of(func(r childReport) time.Duration { return r.NATS })
	m.Postgres = of(func(r childReport) time.Duration { return r.Postgres })
	for _, r := range reports {
		m.Memory = max(m.Memory, r.Memory)
	}
	return m
}

// contest is a rig whose NATS server is another process, with a full stream.
type contest struct {
	*rig
	natsURL string
	nats    int // process
	last    uint64
	rows    [][]byte // of the typed table, for COPY
	ids     []int64
	bodies  [][]byte
}

func newContest(b *testing.B) *contest {
	c := &contest{rig: &rig{bundle: setup(b)}}
	c.startServer()
	c.createStream()
	c.publish(benchDefinitions(b))
	events := benchEventsOf(contestRows, 2)
	for page := range slices.Chunk(events, benchBatch) {
		c.last = c.publishAll(page)
	}
	for _, m := range events {
		id, _ := strconv.ParseInt(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64)
		c.ids, c.bodies = append(c.ids, id), append(c.bodies, m.Data)
	}
	c.exec(`create table documents (id bigint primary key, seq bigint not null, doc jsonb not null)`)
	_, _ = c.pool.Exec(b.Context(), `alter table documents alter column doc set compression lz4`) // not in every build
	c.child("sink")
	c.rows = copyOutOf(c.bundle, contestRows)
	return c
}

// startServer starts the NATS server of this benchmark in a process of its own.
func (c *contest) startServer() {
	cmd := childCommand(c.t, "nats", c.t.TempDir())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	if _, err := fmt.Fscanln(stdout, &c.natsURL); err != nil {
		c.t.Fatal(err)
	}
	nc, err := nats.Connect(c.natsURL)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	if c.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(benchBatch+1)); err != nil {
		c.t.Fatal(err)
	}
	c.nats = cmd.Process.Pid
}

// child runs one contestant to the end of the stream.
func (c *contest) child(role string) (r childReport) {
	c.t.Helper()
	cmd := childCommand(c.t, role, c.url, c.natsURL, strconv.FormatUint(c.last, 10))
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s: %v", role, err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		c.t.Fatalf("%s: %v: %s", role, err, out)
	}
	return r
}

func childCommand(t testing.TB, role string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), childRole+"="+role)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return nil } // it ends by itself
	return cmd
}

// timed measures work of this process.
func (c *contest) timed(do func()) childReport {
	before := measure(c.bundle)
	do()
	after := measure(c.bundle)
	return childReport{Wall: after.wall.Sub(before.wall), CPU: after.self - before.self}
}

func (c *contest) emptyTables() {
	c.exec(`truncate hubspot.contacts`)
	c.forgetPosition()
}

func (c *contest) forgetPosition() {
	c.exec(`truncate hubspot.positions`)
	_ = c.stream.DeleteConsumer(c.t.Context(), sink.DefaultConsumer)
}

// age makes rows be from events before all that are in the log.
func (c *contest) age(which string) {
	c.exec(`update hubspot.contacts set _seq = 1, hs_property_000 = 'old' where ` + which)
	c.forgetPosition()
}

func (c *contest) emptyDocuments() {
	c.exec(`truncate documents`)
	_ = c.stream.DeleteConsumer(c.t.Context(), pipelineConsumer)
}

func (c *contest) copyDocuments() {
	conn, err := c.pool.Acquire(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Release()
	for i := 0; i < len(c.ids); i += benchBatch {
		if err := copyDocuments(c, conn.Conn().PgConn(), i, min(len(c.ids), i+benchBatch)); err != nil {
			c.t.Fatal(err)
		}
	}
}

func copyDocuments(c *contest, conn *pgconn.PgConn, from, to int) error {
	var text bytes.Buffer
	for i := from; i < to; i++ {
		body := strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`).Replace(string(c.bodies[i]))
		fmt.Fprintf(&text, "%d\t%d\t%s\n", c.ids[i], i+2, body)
	}
	_, err := conn.CopyFrom(c.t.Context(), &text, `copy documents from stdin`)
	return err
}

// createStream makes the log on the server of the other process.
func (c *contest) createStream() {
	stream, err := jetlog.Ensure(c.t.Context(), c.js, jetlog.StreamConfig("HUBSPOT", 1))
	if err != nil {
		c.t.Fatal(err)
	}
	c.stream = stream
}
