package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/proof"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// viewer shows a running demo: the load, the live changes, the verdict.
type viewer struct {
	*demo
	source *connector.Source
	client *hubspot.Client
	sink   *sink.Sink
	js     jetstream.JetStream
	pool   *pgxpool.Pool
}

// watch shows the three parts of the demo and returns nil only if everything was equal.
func (v *viewer) watch(ctx context.Context) error {
	equal, err := v.show(ctx)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted before the verdict")
	}
	if err != nil {
		return err
	}
	if !v.exit {
		printf(v.out, "\nEverything keeps running: look with psql and nats as above. Ctrl-C ends it and removes everything.\n")
		<-ctx.Done()
	}
	if !equal {
		return errors.New("the tables differ from the source")
	}
	return nil
}

func (v *viewer) show(ctx context.Context) (equal bool, err error) {
	if err := v.watchLoad(ctx); err != nil {
		return false, err
	}
	if err := v.watchLinks(ctx); err != nil {
		return false, err
	}
	if err := v.watchLive(ctx); err != nil {
		return false, err
	}
	return v.prove(ctx)
}

const redraw = 200 * time.Millisecond

// watchLoad shows a bar per object type until everything is read and applied.
func (v *viewer) watchLoad(ctx context.Context) error {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		bars, done := v.bars()
		v.progress.show(bars, v.quotaLine(), v.tablesLine())
		if done {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := waitApplied(ctx, v.js, v.stream, v.source.Portal(), v.sink); err != nil {
		return err
	}
	bars, _ := v.bars()
	v.progress.last = time.Time{}
	v.progress.show(bars, v.quotaLine(), v.tablesLine())
	v.progress.end()
	records := int64(0)
	for _, b := range bars {
		records += b.done
	}
	usage := v.client.Usage()
	printf(v.out, "\n%s records read, logged and committed to tables in %s with %d requests, %d of them refused (429)\n\n",
		thousands(records), time.Since(v.loading).Round(100*time.Millisecond), usage.Sent(), usage.RateLimited)
	return nil
}

// bars returns a bar per object type, and whether all are read.
func (v *viewer) bars() (bars []bar, done bool) {
	done = true
	for _, s := range v.source.Status() {
		b := bar{object: s.Object, done: s.Done, total: s.Total, rate: s.Rate, phase: string(s.Phase)}
		if s.Object == "owners" && s.Phase == connector.PhaseLive { // read at once, not page by page
			b.done, b.total = s.Counts.Created, s.Counts.Created
		}
		bars = append(bars, b)
		if s.Phase != connector.PhaseLive {
			done = false
		}
	}
	return bars, done && len(bars) > 0
}

func (v *viewer) quotaLine() string {
	u := v.client.Usage()
	return fmt.Sprintf("  quota      %d of %d per %s, %d of %d searches per %s; %s requests, %d refused",
		u.Window.Used, u.Window.Limit, u.Window.Interval, u.Search.Used, u.Search.Limit, u.Search.Interval, thousands(u.Sent()), u.RateLimited)
}

func (v *viewer) tablesLine() string {
	s := v.sink.Stats()
	return fmt.Sprintf("  tables     %s rows written, %s messages behind the log", thousands(s.Written), thousands(int64(s.Lag)))
}

// watchLive changes the portal and shows the changes arriving.
func (v *viewer) watchLive(ctx context.Context) error {
	live, stop := context.WithCancel(ctx)
	if v.live > 0 {
		live, stop = context.WithTimeout(ctx, v.live)
	}
	defer stop()
	printf(v.out, "Live: about %.0f changes per second for %s\n", v.changes, v.live)
	began := v.simulator.Now()
	group, live := errgroup.WithContext(live)
	group.Go(func() error { v.simulator.Live(live, v.changes); return nil })
	group.Go(func() error { return v.showEvents(live) })
	if err := group.Wait(); err != nil && live.Err() == nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	printf(v.out, "\nWaiting until everything changed so far is surely read (HubSpot's search index lags) ...\n")
	if err := v.waitComplete(ctx, v.simulator.Now()); err != nil {
		return err
	}
	return v.printLatency(ctx, began)
}

// eventsPerSecond bounds how many changes are shown one by one.
const eventsPerSecond = 5

// showEvents prints changes as any subscriber of the log sees them.
func (v *viewer) showEvents(ctx context.Context) error {
	consumer, err := v.js.OrderedConsumer(ctx, v.stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{schemas.Root + ".*.*.*"}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	second, shown, hidden := time.Time{}, 0, 0
	for {
		m, err := messages.Next()
		if err != nil {
			break
		}
		e, err := schemas.DecodeEvent(schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
		if err != nil {
			continue // a control message
		}
		if now := time.Now().Truncate(time.Second); now != second {
			second, shown = now, 0
		}
		if shown++; shown > eventsPerSecond {
			hidden++
			continue
		}
		line := fmt.Sprintf("  %s  %-9s %-14s %-8s %s", time.Now().Format(time.TimeOnly), e.Object, e.ID, e.Op, describe(e))
		if v.terminal {
			line = cut(line, stdoutWidth())
		}
		printf(v.out, "%s\n", line)
	}
	if hidden > 0 {
		printf(v.out, "  ... and %d more\n", hidden)
	}
	return nil
}

// describe says what changed, without values: they are personal data.
func describe(e *schemas.Event) string {
	const most = 4
	names := e.Changed
	if len(names) > most {
		return joinList(names[:most]) + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return joinList(names)
}

// waitComplete waits until every object type's watermark has passed at, and the tables are there too.
func (v *viewer) waitComplete(ctx context.Context, at time.Time) error {
	if err := waitUntil(ctx, redraw, func() bool { return v.completeThrough(at) }); err != nil {
		return err
	}
	return waitApplied(ctx, v.js, v.stream, v.source.Portal(), v.sink)
}

func (v *viewer) completeThrough(at time.Time) bool {
	for _, s := range v.source.Status() {
		// Owners have no feed of changes; they are read whole every few minutes and do not change here.
		if s.Object != "owners" && s.CompleteThrough.Before(at) {
			return false
		}
	}
	return true
}

// printLatency says how long the live changes took from HubSpot to a committed row.
func (v *viewer) printLatency(ctx context.Context, since time.Time) error {
	var n int
	var p50, p95 float64
	err := v.pool.QueryRow(ctx, latencyQuery(v.schema, v.objects), since).Scan(&n, &p50, &p95)
	if err != nil {
		return fmt.Errorf("measure the latency: %w", err)
	}
	printf(v.out, "%d rows changed; from HubSpot to the row: half within %.1f s, 95 %% within %.1f s\n(told by webhooks, which the simulated HubSpot sends after 0.1 to 0.4 s; polling finds the same, later)\n\n", n, p50, p95)
	return nil
}

// prove compares every row with the simulator.
func (v *viewer) prove(ctx context.Context) (equal bool, err error) {
	pooled, err := v.pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer pooled.Release()
	printf(v.out, "Every row against the source:\n")
	equal = true
	for _, object := range v.objects {
		truth := proof.Truth(ctx, v.hubspotURL, object)
		if object == "owners" {
			truth = proof.Owners(ctx, v.hubspotURL, v.hubspotToken)
		}
		r, err := proof.Compare(ctx, pooled.Conn(), v.schema, object, truth)
		if err != nil {
			return false, err
		}
		equal = v.printResult(r) && equal
	}
	for _, object := range []string{"deals", "tickets"} {
		r, err := proof.ComparePipelines(ctx, pooled.Conn(), v.schema, object, v.hubspotURL, v.hubspotToken)
		if err != nil {
			return false, err
		}
		equal = v.printResult(r) && equal
	}
	r, err := proof.CompareLinks(ctx, pooled.Conn(), v.schema, v.hubspotURL, v.linked()...)
	if err != nil {
		return false, err
	}
	equal = v.printResult(r) && equal
	verdict := "the tables equal the source"
	if !equal {
		verdict = "the tables DIFFER from the source"
	}
	printf(v.out, "\nVERDICT: %s.\n", verdict)
	return equal, nil
}

func (v *viewer) printResult(r proof.Result) (equal bool) {
	verdict := "equal"
	if !r.Equal() {
		verdict = fmt.Sprintf("DIFFERENT: %d missing, %d superfluous, %d with a wrong value", r.Missing, r.Extra, r.Different)
	}
	printf(v.out, "  %-17s %7s records %7s rows %10s values  %s\n", r.Object,
		thousands(int64(r.Source)), thousands(int64(r.Rows)), thousands(int64(r.Values)), verdict)
	for _, example := range r.Examples {
		printf(v.out, "      %s\n", example)
	}
	return r.Equal()
}
