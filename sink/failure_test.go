package sink_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// load publishes n contacts with the version as their value.
func (r *rig) load(n int, version string) (last uint64) {
	for i := range n {
		last = r.publish(event("contacts", int64(i), 0, props{"email": version}))
	}
	return last
}

func TestADatabaseRestoredFromABackupCatchesUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	r.applied(r.load(20, "a"))
	for _, sql := range []string{`create table backup as table hubspot.contacts`, `create table positions_backup as table hubspot.positions`} {
		r.exec(sql)
	}
	last := r.load(20, "b")
	r.applied(last)
	_ = s.stop()
	// The tables go back in time; the consumer does not.
	r.exec(`truncate hubspot.contacts`)
	r.exec(`insert into hubspot.contacts select * from backup`)
	r.exec(`delete from hubspot.positions`)
	r.exec(`insert into hubspot.positions select * from positions_backup`)
	r.start()
	r.applied(last)
	r.want("20", `select count(*) from hubspot.contacts where email = 'b'`)
}

func TestADatabaseSetBackUnderARunningSinkCatchesUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	r.applied(r.load(20, "a"))
	r.exec(`begin; delete from hubspot.contacts where id < 10; update hubspot.positions set seq = 1, high = 1; commit`)
	last := r.publish(event("contacts", 100, 0, props{"email": "b"}))
	r.applied(last)
	r.want("21", `select count(*) from hubspot.contacts`)
}

func TestAnEmptyDatabaseIsFilledThoughTheConsumerIsAhead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	last := r.load(20, "a")
	r.applied(last)
	_ = s.stop()
	r.exec(`truncate hubspot.contacts, hubspot.positions`)
	r.start()
	r.applied(last)
	r.want("20", `select count(*) from hubspot.contacts`)
}

func TestARecreatedStreamIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "a"})))
	_ = s.stop()
	if err := r.js.DeleteStream(t.Context(), "HUBSPOT"); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	r.publish(event("contacts", 1, 0, props{"email": "b"}))
	err := r.start().wait()
	if !errors.Is(err, sink.ErrOtherStream) || !strings.Contains(err.Error(), "hubtail rebuild") {
		t.Errorf("error %v", err)
	}
	r.want(`{"email": "a"}`, `select _extra from hubspot.contacts`)
}

func TestAStreamRecreatedUnderARunningSinkIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "a"})))
	if err := r.js.DeleteStream(t.Context(), "HUBSPOT"); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	r.publish(event("contacts", 1, 0, props{"email": "b"}))
	if err := s.wait(); !errors.Is(err, sink.ErrOtherStream) {
		t.Errorf("error %v", err)
	}
}

func TestATruncatedStreamIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "a"})))
	_ = s.stop()
	r.exec(`update hubspot.positions set seq = 100, high = 100`)
	if err := r.start().wait(); !errors.Is(err, sink.ErrOtherStream) {
		t.Errorf("error %v", err)
	}
}

func TestHistoryLostBehindThePositionEndsInTheLastValues(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	r.applied(r.load(3, "a"))
	_ = s.stop()
	if err := r.stream.DeleteConsumer(t.Context(), sink.DefaultConsumer); err != nil {
		t.Fatal(err)
	}
	var last uint64
	for i := range 20 { // more than the log keeps of a record
		last = r.load(3, fmt.Sprint("v", i))
	}
	if info, _ := r.stream.Info(t.Context()); info.State.NumDeleted == 0 && info.State.FirstSeq < 6 {
		t.Fatal("the log lost nothing: the test proves nothing")
	}
	r.start()
	r.applied(last)
	r.want("3", `select count(*) from hubspot.contacts where email = 'v19'`)
}

func TestPostgresGoingAwayOnlyDelays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	admin, err := pgx.Connect(t.Context(), r.url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(t.Context()))
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start(func(c *sink.Config) { c.BatchRows = 20 })
	var last uint64
	for i := range 15 {
		last = r.load(40, fmt.Sprint("v", i))
		// At a random moment of a transaction or between two.
		if _, err := admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
	}
	r.applied(last)
	r.want("40", `select count(*) from hubspot.contacts where email = 'v14'`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
	eventually(t, "all well", func() bool { st := s.Stats(); return st.Error == "" && st.Lag == 0 })
}

func TestAReadOnlyDatabaseIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start()
	r.applied(r.load(5, "a"))
	database := r.value(`select quote_ident(current_database())`)
	admin, err := pgx.Connect(t.Context(), r.url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(t.Context()))
	setReadOnly := func(how string) {
		for _, sql := range []string{`set default_transaction_read_only = off`, `alter database ` + database + how,
			`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`} {
			if _, err := admin.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	setReadOnly(` set default_transaction_read_only = on`)
	last := r.publish(event("contacts", 1, 0, props{"email": "b"}))
	eventually(t, "the sink says why it waits", func() bool { return strings.Contains(s.Stats().Error, "25006") })
	if lag := s.Stats().Lag; lag != 1 {
		t.Errorf("lag %d, want 1", lag)
	}
	setReadOnly(` reset default_transaction_read_only`)
	r.applied(last)
	r.want("b", `select email from hubspot.contacts where id = 1`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
}

func TestALockedTableIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start()
	r.applied(r.load(5, "a"))
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `lock table hubspot.contacts in share mode`); err != nil {
		t.Fatal(err)
	}
	// A change of columns gives up after two seconds, so that readers are not held up, and tries again.
	last := r.publish(definitions(t, "contacts", 0, "email", "string", "age", "number"), event("contacts", 1, 0, props{"age": "5"}))
	eventually(t, "the lock timeout", func() bool { return strings.Contains(s.Stats().Error, "55P03") })
	_ = tx.Rollback(t.Context())
	r.applied(last)
	eventually(t, "the column", func() bool {
		return r.value(`select count(*) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'age'`) == "1"
	})
	eventually(t, "its value", func() bool { return r.value(`select age from hubspot.contacts where id = 1`) == "5" })
}

func TestStoppingCommitsAndAcknowledgesWhatWasBegun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start(func(c *sink.Config) { c.BatchRows = 10 })
	last := r.load(500, "a")
	start := time.Now()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("stopping took %s", took)
	}
	r.want("true", `select (select count(*) from hubspot.contacts) >= seq - 1 from hubspot.positions`)
	// Nothing has to wait for its redelivery: the next sink reads on behind the position.
	start = time.Now()
	r.start()
	r.applied(last)
	if took := time.Since(start); took > 20*time.Second { // a redelivery's time
		t.Errorf("going on took %s", took)
	}
	r.want("500", `select count(*) from hubspot.contacts`)
}

func TestAnEventIsNotHeldBackByALargeOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start()
	big := strings.Repeat("x", 6<<20)
	last := r.publish(event("contacts", 1, 0, props{"email": big}), event("contacts", 2, 0, props{"email": "small"}), event("contacts", 3, 0, props{"email": big}))
	r.applied(last)
	r.want("6291456 5 6291456", `select string_agg(length(email)::text, ' ' order by id) from hubspot.contacts`)
	_ = s.stop()
}

func TestATypeChangeToTextIsRefilledFromTheLog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.publish(definitions(t, "contacts", 0, "n", "number", "t", "datetime"))
	r.applied(r.publish(event("contacts", 1, 0, props{"n": "1.5e3", "t": "1600000000000"}), event("contacts", 2, 0, props{"n": "7"})))
	r.want("1500", `select n from hubspot.contacts where id = 1`)
	r.applied(r.publish(definitions(t, "contacts", 0, "n", "string", "t", "string")))
	eventually(t, "refill", func() bool {
		return r.value(`select concat(n, ' ', t) from hubspot.contacts where id = 1`) == "1.5e3 1600000000000"
	})
	r.want("7", `select n from hubspot.contacts where id = 2`)
	r.want("2 3", `select string_agg(_seq::text, ' ' order by id) from hubspot.contacts`)
}

func TestDefinitionsComeFirstIntoEmptyTables(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(event("contacts", 1, 0, props{"email": "a"}))
	last := r.publish(definitions(t, "contacts", 0, "email", "string"))
	r.start()
	r.applied(last)
	r.want("a", `select email from hubspot.contacts`)
	r.want("2", `select generation from hubspot.objects`)
}

func TestOneOfTwoPortalsIsChosen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := event("contacts", 9, 0, nil)
	other.Subject = strings.Replace(other.Subject, "hubspot.42.", "hubspot.43.", 1)
	r.publish(other, event("contacts", 1, 0, props{"email": "a"}))
	r.start(func(c *sink.Config) { c.Portal = portal })
	r.applied(2)
	r.want("1", `select count(*) from hubspot.contacts`)
	if err := r.start(func(c *sink.Config) { c.Consumer = "other" }).wait(); !errors.Is(err, sink.ErrOtherPortal) {
		t.Errorf("error %v", err)
	}
}

func TestARoleThatOwnsTheSchemaSuffices(t *testing.T) {
	t.Parallel()
	r := &rig{bundle: &bundle{t: t, url: pgtest.NewDatabase(t)}}
	r.pool = openPool(t, r.url)
	role := "hubtail_" + r.value(`select md5(random()::text)`)
	database := r.value(`select quote_ident(current_database())`)
	r.exec(`create role ` + role + ` nologin nosuperuser nocreatedb nocreaterole nobypassrls`)
	r.exec(`create schema hubspot authorization ` + role)
	r.exec(`revoke create, temporary on database ` + database + ` from public`)
	admin := r.pool
	t.Cleanup(func() {
		_, _ = admin.Exec(context.WithoutCancel(t.Context()), `drop schema hubspot cascade`)
		_, _ = admin.Exec(context.WithoutCancel(t.Context()), `drop role `+role)
	})
	cfg := r.pool.Config()
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `set role `+role)
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r.pool = pool
	if err := migrations.Apply(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	r.startNATS()
	r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 0, props{"email": "a", "n": "1"}))
	r.publish(links(t, 0, "1", "companies", schemas.Link{ID: "2", Category: "HUBSPOT_DEFINED", TypeID: 1}))
	last := r.publish(definitions(t, "contacts", 0, "email", "number", "n", "number"), event("p_new", 1, 0, props{"x": "y"}))
	r.start()
	r.applied(last)
	r.want("1 1 1", `select concat_ws(' ', (select n from hubspot.contacts), (select count(*) from hubspot.p_new), (select count(*) from hubspot.links))`)
}

func TestARestartOfNATSOnlyDelays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listen := "127.0.0.1:0"
	var server *localnats.Server
	start := func() {
		t.Helper()
		var err error
		if server, err = localnats.Start(localnats.Options{StoreDir: dir, Listen: listen}); err != nil {
			t.Fatal(err)
		}
		listen = strings.TrimPrefix(server.URL(), "nats://")
	}
	start()
	t.Cleanup(func() { _ = server.Close() })
	nc, err := nats.Connect(server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r := &rig{bundle: setup(t)}
	if r.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start()
	r.applied(r.load(20, "a"))
	for i := range 3 {
		_ = server.Close()
		start()
		eventually(t, "reconnect", nc.IsConnected)
		version := fmt.Sprint("v", i)
		var last uint64
		eventually(t, "publish", func() bool {
			ack, err := r.js.PublishMsg(t.Context(), &nats.Msg{Subject: "hubspot.42.contacts.999", Data: []byte("{}")})
			if err == nil {
				last = ack.Sequence
			}
			return err == nil
		})
		last = max(last, r.load(20, version))
		r.applied(last)
		r.want("20", `select count(*) from hubspot.contacts where email = $1`, version)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}
