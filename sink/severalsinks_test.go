package sink_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// crowd is several sinks on one consumer, each with connections of its own, so that they can be killed one by one.
type crowd struct {
	*rig
	server *localnats.Server
	random *rand.Rand

	mu   sync.Mutex // guards what was published
	last []map[int64]uint64
	seqs []uint64 // of the cursor that ends a step
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &crowd{rig: &rig{bundle: setup(t)}, random: rand.New(rand.NewPCG(seed, 0))}
	var err error
	if c.server, err = localnats.Start(localnats.Options{StoreDir: t.TempDir(), Logger: testLogger(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.server.Close() })
	c.js, _ = c.connect()
	// So deep that nothing is forgotten: each promise is about everything that was published before it.
	deep := jetlog.StreamConfig("HUBSPOT", 1)
	deep.MaxMsgsPerSubject = 100_000
	if c.stream, err = jetlog.Ensure(t.Context(), c.js, deep); err != nil {
		t.Fatal(err)
	}
	c.publish(definitions(t, "contacts", 0, "n", "number"))
	return c
}

func (c *crowd) connect() (jetstream.JetStream, *nats.Conn) {
	c.t.Helper()
	nc, err := c.server.Connect()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	return js, nc
}

// member is a sink of the crowd.
type member struct {
	*running
	nats *nats.Conn
}

// join adds a sink.
func (c *crowd) join() *member {
	c.t.Helper()
	js, nc := c.connect()
	pool := openPool(c.t, c.url)
	return &member{c.start(func(cfg *sink.Config) { cfg.Pool, cfg.JetStream, cfg.BatchRows = pool, js, 20 }), nc}
}

// kill leaves what the sink had fetched unacknowledged, at whatever point of its work.
func (m *member) kill() {
	m.nats.Close()
	_ = m.stop()
}

// step publishes changes of random contacts, then a cursor and a run that speak of them.
func (c *crowd) step() (last uint64) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.last)
	state := make(map[int64]uint64)
	if n > 0 {
		for id, seq := range c.last[n-1] {
			state[id] = seq
		}
	}
	for range 10 + c.random.IntN(40) {
		id := c.random.Int64N(200)
		state[id] = c.publish(event("contacts", id, 0, props{"n": fmt.Sprint(n)}))
	}
	at := time.UnixMilli(1_700_000_000_000 + int64(n))
	last = c.publish(control(c.t, 0, &schemas.Cursor{Portal: portal, Object: "contacts", Instance: "i", At: at, CompleteThrough: at}))
	c.publish(control(c.t, 0, &schemas.Run{
		RunID: fmt.Sprint("run-", n), Portal: portal, Object: "contacts", SyncType: "incremental", Status: "success", StartedAt: at, CompletedAt: at,
		CompleteThrough: at,
	}))
	c.last, c.seqs = append(c.last, state), append(c.seqs, last)
	return last + 1
}

// promised compares, in one snapshot, what cursors, sync_logs and positions promise with the rows. It returns how many
// steps are promised.
func (c *crowd) promised() (steps int, err error) {
	var rows map[int64]uint64
	var cursor, run, position uint64
	err = pgx.BeginTxFunc(c.t.Context(), c.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		err := tx.QueryRow(c.t.Context(), `select coalesce((select max(_seq) from hubspot.cursors), 0), coalesce((select max(_seq) from hubspot.sync_logs), 0),
			coalesce((select max(seq) from hubspot.positions), 0)`).Scan(&cursor, &run, &position)
		if err != nil {
			return err
		}
		rows = make(map[int64]uint64)
		found, err := tx.Query(c.t.Context(), `select id, _seq from hubspot.contacts`)
		if err != nil {
			return err
		}
		var id int64
		var seq uint64
		_, err = pgx.ForEachRow(found, []any{&id, &seq}, func() error { rows[id] = seq; return nil })
		return err
	})
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for steps < len(c.seqs) && c.seqs[steps] <= max(cursor, run, position) {
		steps++
	}
	if steps == 0 {
		return 0, nil
	}
	for id, seq := range c.last[steps-1] {
		if rows[id] < seq {
			return steps, fmt.Errorf("cursor %d, run %d, position %d: contact %d is at %d, before %d", cursor, run, position, id, rows[id], seq)
		}
	}
	return steps, nil
}

// slowly makes every write of contacts take a random time, so that batches of several sinks overtake each other.
func (c *crowd) slowly() {
	c.exec(`create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(random() * 0.03); return null; end $$`)
	eventually(c.t, "the table", func() bool { return c.value(`select to_regclass('hubspot.contacts')`) != "null" })
	c.exec(`create trigger slow before insert or update on hubspot.contacts for each statement execute function public.slow()`)
}

// TestNoWatermarkIsEarlyThoughSinksAreKilledAndAdded kills and adds sinks of one consumer at random, under load. At no
// moment does a cursor, a run or the position promise a row that is not there, promises keep coming, and in the end the
// tables are equal to the log.
func TestNoWatermarkIsEarlyThoughSinksAreKilledAndAdded(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	members := []*member{c.join(), c.join(), c.join()}
	c.slowly()
	judging, stop := context.WithCancel(t.Context())
	judged := make(chan error, 1)
	go func() {
		for judging.Err() == nil {
			if _, err := c.promised(); err != nil {
				judged <- err
				return
			}
		}
		judged <- nil
	}()
	var last uint64
	for range 25 {
		last = c.step()
		switch i := c.random.IntN(len(members)); {
		case c.random.IntN(2) == 0 && len(members) > 1:
			members[i].kill()
			members = append(members[:i], members[i+1:]...)
		case len(members) < 4:
			members = append(members, c.join())
		}
	}
	within(t, 2*time.Minute, "position", func() bool { return c.value(`select max(seq) >= $1 from hubspot.positions`, int64(last)) == "true" })
	stop()
	if err := <-judged; err != nil {
		t.Fatal(err)
	}
	if steps, err := c.promised(); err != nil || steps != 25 {
		t.Errorf("%d steps are promised, %v", steps, err)
	}
	c.want("25", `select count(*) from hubspot.sync_logs`)
	c.want("0", `select count(*) from hubspot.withheld`)
	c.want("0", `select count(*) from hubspot.dead_letters`)
}

// TestPromisesKeepUpWithBusySinks: under a load that never pauses, three sinks that work on it at once let a watermark
// appear within seconds, and when two of them are killed, within the time after which the consumer delivers again.
func TestPromisesKeepUpWithBusySinks(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	members := []*member{c.join(), c.join(), c.join()}
	c.slowly()
	publishing, stop := context.WithCancel(t.Context())
	published := make(chan struct{})
	go func() {
		defer close(published)
		pace := time.NewTicker(150 * time.Millisecond)
		defer pace.Stop()
		for publishing.Err() == nil {
			c.step()
			<-pace.C
		}
	}()
	defer func() { stop(); <-published }()
	for i := range 3 {
		c.mu.Lock()
		want := len(c.seqs) + 1
		c.mu.Unlock()
		start := time.Now()
		within(t, 2*time.Minute, "a promise under load", func() bool {
			steps, err := c.promised()
			if err != nil {
				t.Fatal(err)
			}
			return steps >= want
		})
		t.Logf("a watermark was visible after %s", time.Since(start))
		if i > 0 {
			continue
		}
		members[0].kill()
		members[1].kill()
	}
}

// TestABadEventThatTwoSinksMeetIsOneDeadLetter stops a sink in the middle of its search for the events of a batch that its
// database refuses. Another one is given what is left of the batch, of which it is refused less, and brings it to its end; then
// the first goes on. What either could write is a row and no dead letter; what both were refused is one dead letter, and goes
// in, redriven, once the cause is gone.
func TestABadEventThatTwoSinksMeetIsOneDeadLetter(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	c.apply(definitions(t, "contacts", 1, "n", "number")) // so that there is a table to put the trigger on
	c.exec(`delete from hubspot.positions`)
	c.exec(`create table public.hold ()`)
	c.exec(`insert into public.hold default values`)
	c.exec(`create function public.refuse() returns trigger language plpgsql as $$
		begin
			if new.n = 8 and current_setting('application_name') = 'first' then
				while exists (select from public.hold) loop perform pg_sleep(0.01); end loop;
			elsif new.n not in (0, 12) then
				return new;
			end if;
			raise exception 'refused' using errcode = '23514';
		end $$`)
	c.exec(`create trigger refuse before insert on hubspot.contacts for each row execute function public.refuse()`)
	var seqs []uint64
	for id := range int64(16) {
		seqs = append(seqs, c.publish(event("contacts", id, 0, props{"n": fmt.Sprint(id)})))
	}
	letters := func(want string) {
		t.Helper()
		c.want(want, `select string_agg(concat(record_id, ' ', tries), ', ' order by seq) from hubspot.dead_letters`)
	}

	firstPool := openPool(t, c.url+"&application_name=first")
	js, nc := c.connect()
	c.start(func(cfg *sink.Config) { cfg.Pool, cfg.JetStream = firstPool, js })
	eventually(t, "the first has come as far as the second half", func() bool {
		return c.value(`select count(*) > 0 from pg_stat_activity where datname = current_database() and application_name = 'first' and wait_event = 'PgSleep'`) == "true"
	})
	letters("0 1")
	nc.Close() // what it has is delivered to others from here on
	second := c.join()
	c.applied(seqs[15])
	letters("0 1, 12 1")
	c.exec(`delete from public.hold`)
	within(t, time.Minute, "the first has come to the end of the batch", func() bool {
		return c.value(`select tries from hubspot.dead_letters where record_id = '12'`) == "2"
	})
	letters("0 1, 12 2")
	c.want("14", `select count(*) from hubspot.contacts`)

	c.wantOutcomes(second.running, fmt.Sprintf("%d failed, %d failed", seqs[0], seqs[12]), sink.DeadLetters{})
	letters("0 2, 12 3")
	c.exec(`drop trigger refuse on hubspot.contacts`)
	c.wantOutcomes(second.running, fmt.Sprintf("%d applied, %d applied", seqs[0], seqs[12]), sink.DeadLetters{})
	letters("null")
	for id, seq := range seqs {
		c.want(fmt.Sprint(id, " ", seq), `select concat(n, ' ', _seq) from hubspot.contacts where id = $1`, id)
	}
}
