package sink_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// reader reads over a connection of its own, as an application does, and complains of whatever should never be seen:
// an error, a row that is missing, a state older than one it has seen.
func (r *rig) reader(ctx context.Context, rows int, mode pgx.QueryExecMode) error {
	conn, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the test is over
	var seen int64
	for ctx.Err() == nil {
		var all, joined int
		var newest int64
		err := conn.QueryRow(ctx, `select count(*), max(c._seq), (select count(*) from hubspot.deals join hubspot.contacts using (id))
			from hubspot.contacts c`, mode).Scan(&all, &newest, &joined)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("a reader met an error: %w", err)
		case all != rows || joined != rows:
			return fmt.Errorf("a reader saw %d contacts and %d deals of %d", all, joined, rows)
		case newest < seen:
			return fmt.Errorf("a reader saw event %d after event %d", newest, seen)
		}
		seen = newest
		var columns []any
		one, err := conn.Query(ctx, `select * from hubspot.contacts where id = 1`, mode)
		if err == nil {
			columns, err = pgx.CollectExactlyOneRow(one, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("a reader met an error: %w", err)
		}
		_ = columns
	}
	return nil
}

// readDuring lets readers read while do does something, and fails the test if one of them complains.
func (r *rig) readDuring(readers, rows int, do func()) {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	var g errgroup.Group
	for i := range readers {
		mode := []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec}[i%3]
		g.Go(func() error { return r.reader(ctx, rows, mode) })
	}
	do()
	stop()
	if err := g.Wait(); err != nil {
		r.t.Error(err)
	}
}

// writeUntil publishes changes until stop is called, which returns the last sequence.
func (r *rig) writeUntil(rows int) (stop func() uint64) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var last uint64
	var writing sync.WaitGroup
	writing.Add(1)
	go func() {
		defer writing.Done()
		for n := 0; ctx.Err() == nil; n++ {
			id := int64(1 + n%rows)
			for _, m := range []sink.Message{
				event("contacts", id, uint64(n), props{"email": fmt.Sprintf("%d@%d.example", id, n), "age": "40"}),
				event("deals", id, uint64(n), props{"name": fmt.Sprint("deal ", n)}),
			} {
				last = r.publish(m)
			}
			m, err := schemas.EncodeControl(&schemas.Links{Portal: portal, From: "contacts", ID: fmt.Sprint(id), To: "deals",
				Links: []schemas.Link{{ID: fmt.Sprint(1 + n%7), Category: "HUBSPOT_DEFINED", TypeID: 4}}})
			if err == nil {
				last = r.publish(sink.Message{Message: m})
			}
		}
	}()
	r.t.Cleanup(func() { cancel(); writing.Wait() })
	return func() uint64 { cancel(); writing.Wait(); return last }
}

// wantAsLog compares the tables with the log.
func (r *rig) wantAsLog(s *sink.Sink) {
	r.t.Helper()
	reports, err := s.Verify(r.t.Context(), sink.VerifyOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, report := range reports {
		if report.Differences() > 0 {
			r.t.Errorf("%s differs from the log: %v %v", report.Object, report.Kinds, report.Examples)
		}
	}
}

func TestReadersAndSinksGoOnDuringARebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const rows = 40
	r.applied0(r.logOfAll(rows))
	first, second := r.start(), r.start()
	stop := r.writeUntil(rows)
	r.readDuring(6, rows, func() {
		s := r.newTablesOn(openPool(t, r.url)) // the sinks wait with their pool's connections while the tables are swapped
		for range 2 {
			r.rebuild(s, sink.RebuildOptions{})
		}
		if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
			t.Error(err)
		}
		r.rebuild(s, sink.RebuildOptions{Objects: []string{"contacts"}})
		if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
			t.Error(err)
		}
	})
	r.applied(stop())
	r.wantAsLog(first.Sink)
	for _, run := range []*running{first, second} {
		if err := run.stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestASwapDoesNotHoldReadersUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(10))
	long, err := r.pool.Begin(t.Context()) // an analyst's query
	if err != nil {
		t.Fatal(err)
	}
	defer long.Rollback(t.Context()) //nolint:errcheck // rolled back below
	if _, err := long.Exec(t.Context(), `select * from hubspot.contacts`); err != nil {
		t.Fatal(err)
	}
	s := r.newTablesOn(openPool(t, r.url))
	if _, err := s.Rebuild(t.Context(), sink.RebuildOptions{Patience: time.Second}); err == nil || !strings.Contains(err.Error(), "no moment for the swap") {
		t.Fatalf("swapped under a reader, or another error: %v", err)
	}
	r.want("10", `select count(*) from hubspot.contacts`)
	r.want("shadow", `select kind from hubspot.copies`)
	done := make(chan error, 1)
	go func() {
		_, err := s.Rebuild(t.Context(), sink.RebuildOptions{})
		done <- err
	}()
	eventually(t, "a try of the swap", func() bool { return r.value(`select coalesce(max(phase), '') from hubspot.copies`) != "" })
	if err := long.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.want("old", `select kind from hubspot.copies`)
}

func TestATransactionOlderThanTheNewTablesIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(10))
	old, err := pgx.Connect(t.Context(), r.url)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the test is over
	if _, err := old.Exec(t.Context(), `begin isolation level repeatable read; select 1 from pg_class limit 1`); err != nil {
		t.Fatal(err)
	}
	s := r.newTablesOn(openPool(t, r.url))
	swapping, done := make(chan struct{}), make(chan error, 1)
	sink.AfterRebuildStep(s, func(phase string) {
		if phase == "comparing" {
			close(swapping)
		}
	})
	go func() {
		_, err := s.Rebuild(t.Context(), sink.RebuildOptions{})
		done <- err
	}()
	<-swapping
	var rows int
	if err := old.QueryRow(t.Context(), `select count(*) from hubspot.contacts`).Scan(&rows); err != nil || rows != 10 {
		t.Errorf("it saw %d rows: %v", rows, err)
	}
	if _, err := old.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.want("old", `select kind from hubspot.copies`)
}

func (r *rig) newTablesOn(pool *pgxpool.Pool) *sink.Sink {
	r.t.Helper()
	s, err := sink.New(r.t.Context(), sink.Config{Pool: pool, JetStream: r.js, Schema: schema, Logger: testLogger(r.t)})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func TestARebuildInterruptedAfterAnyStepLeavesTheTablesWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(20))
	r.exec(`create view public.people as select id, email from hubspot.contacts`)
	before := r.state()
	for _, last := range []string{"preparing", "reading", "indexing", "catching up", "comparing", "swapping"} {
		separator := "?"
		if strings.Contains(r.url, "?") {
			separator = "&"
		}
		pool := openPool(t, r.url+separator+"application_name=rebuilding")
		s := r.newTablesOn(pool)
		ctx, cancel := context.WithCancel(t.Context())
		sink.AfterRebuildStep(s, func(phase string) {
			if phase == last { // as when the process is killed: its connections end, nothing is told
				r.exec(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rebuilding'`)
				cancel()
			}
		})
		_, err := s.Rebuild(ctx, sink.RebuildOptions{})
		if cancel(); err == nil && last != "swapping" {
			t.Errorf("after %s: it went on", last)
		}
		r.wantLines(before, r.state())
		r.want("20", `select count(*) from public.people`)
		pool.Close()
	}
	s := r.newTables()
	r.rebuild(s, sink.RebuildOptions{})
	r.wantLines(before, r.state())
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.wantLines(before, r.state())
}

func TestARebuildRepairsDamagedTablesAndSaysWhatWasWrong(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(30))
	want := r.state()
	r.exec(`delete from hubspot.contacts where id in (4, 5, 6)`)
	r.exec(`update hubspot.contacts set email = 'wrong' where id in (7, 8)`)
	r.exec(`insert into hubspot.contacts (id, _seq) values (5000, 1)`)
	r.exec(`update hubspot.contacts set _seq = 1 where id = 9`)
	r.exec(`delete from hubspot.links; drop table hubspot.deals`)
	s := r.newTables()
	result := r.rebuild(s, sink.RebuildOptions{})
	r.wantLines(want, r.state())
	got := result.Objects[0]
	if got != (sink.RebuiltObject{Object: "contacts", Rows: 30, OnlyLive: 1, OnlyNew: 3, Newer: 1, Values: 2}) {
		t.Errorf("%+v", got)
	}
}

func TestOneObjectTypeIsRebuiltAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	last := r.logOfAll(20)
	run := r.start()
	r.applied(last)
	want, deals := r.state(), r.value(`select 'hubspot.deals'::regclass::oid`)
	r.exec(`delete from hubspot.contacts where id > 10`)
	result := r.rebuild(run.Sink, sink.RebuildOptions{Objects: []string{"contacts"}})
	if result.Messages > 30 {
		t.Errorf("%d messages for 20 contacts", result.Messages)
	}
	r.wantLines(want, r.state())
	r.want(deals, `select 'hubspot.deals'::regclass::oid`)
	last = r.publish(event("contacts", 11, 1, props{"email": "new"}), event("deals", 11, 1, props{"name": "new"}))
	r.applied(last)
	r.want("new new", `select concat_ws(' ', email, name) from hubspot.contacts join hubspot.deals using (id) where id = 11`)
	if _, err := run.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("10 new", `select concat_ws(' ', count(*) filter (where id <= 10), max(email) filter (where id = 11)) from hubspot.contacts`)
	if _, err := run.Rebuild(t.Context(), sink.RebuildOptions{Objects: []string{"nothing"}}); err == nil || !strings.Contains(err.Error(), "contacts, deals") {
		t.Errorf("rebuilt nothing: %v", err)
	}
}

// TestAReaderOfLastValuesMissesNone reads more than a pull of bytes would bring at a time: a server leaves out a message at
// the end of each.
func TestAReaderOfLastValuesMissesNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const rows = 1_000
	messages := []sink.Message{definitions(t, "contacts", 0, "email", "string")}
	for id := range int64(rows) {
		messages = append(messages, event("contacts", id+1, uint64(id), props{"email": strings.Repeat("x", 6_000)}))
	}
	r.applied0(r.publishAll(messages))
	r.want(fmt.Sprint(rows), `select count(*) from hubspot.contacts`)
	if report := r.verify("contacts", sink.VerifyOptions{}); report.Compared != rows || report.Differences() > 0 {
		t.Errorf("%d rows compared, %v", report.Compared, report.Kinds)
	}
	if result := r.rebuild(r.newTables(), sink.RebuildOptions{}); result.Objects[0].Rows != rows {
		t.Errorf("%+v", result.Objects)
	}
}

func TestAShadowThatIsNotAsTheLogIsNotSwappedIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(10))
	want := r.state()
	for _, damage := range []string{
		`delete from hubspot_rebuild.contacts where id = 5`, `update hubspot_rebuild.contacts set email = 'wrong' where id = 6`,
		`delete from hubspot_rebuild.links`, `update hubspot_rebuild.deals set _seq = 1 where id = 7`,
	} {
		s := r.newTables()
		sink.AfterRebuildStep(s, func(phase string) {
			if phase == "catching up" {
				r.exec(damage)
			}
		})
		if _, err := s.Rebuild(t.Context(), sink.RebuildOptions{}); !errors.Is(err, sink.ErrNotAsLog) {
			t.Errorf("%s: %v", damage, err)
		}
	}
	r.wantLines(want, r.state())
}

func TestTwoRebuildsDoNotWorkAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(5))
	s := r.newTables()
	var other error
	sink.AfterRebuildStep(s, func(phase string) {
		if phase == "reading" {
			_, other = r.newTablesOn(openPool(t, r.url)).Rebuild(t.Context(), sink.RebuildOptions{})
		}
	})
	r.rebuild(s, sink.RebuildOptions{})
	if !errors.Is(other, sink.ErrRebuilding) {
		t.Errorf("the second: %v", other)
	}
}

func TestADeletionForPrivacyDuringARebuildLeavesNoValue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.logOfAll(10)
	r.publish(privateMessages(t)[:8]...)
	last := r.publish(event("contacts", 9, 1, props{"email": private}))
	run := r.start()
	r.applied(last)
	s := r.newTables()
	sink.AfterRebuildStep(s, func(phase string) {
		id := map[string]int64{"preparing": 7, "reading": 9}[phase]
		if id == 0 {
			return
		}
		subject := schemas.RecordSubject(portal, "contacts", fmt.Sprint(id))
		if err := r.stream.Purge(t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
			t.Error(err)
		}
		r.applied(r.publish(event("contacts", id, 99, nil, op(schemas.OpPurged))))
	})
	r.rebuild(s, sink.RebuildOptions{})
	eventually(t, "the copies", func() bool { return r.value(`select count(*) from hubspot.copy_erasures`) == "0" })
	if all := r.dumpAll(); strings.Contains(all, private) {
		t.Errorf("still there: %.300s", all[max(0, strings.Index(all, private)-100):])
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}
