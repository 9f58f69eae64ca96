package sink_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/sink"
)

// rig is a database, a NATS server with the log, and sinks between them.
type rig struct {
	*bundle
	server *localnats.Server
	js     jetstream.JetStream
	stream jetstream.Stream
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{bundle: setup(t)}
	r.startNATS()
	return r
}

func (r *rig) startNATS() {
	t := r.t
	t.Helper()
	server, err := localnats.Start(localnats.Options{StoreDir: t.TempDir(), Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	r.server = server
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	r.js = js
	r.createStream()
}

func (r *rig) createStream() {
	r.t.Helper()
	stream, err := jetlog.Ensure(r.t.Context(), r.js, jetlog.StreamConfig("HUBSPOT", 1))
	if err != nil {
		r.t.Fatal(err)
	}
	r.stream = stream
}

// publish appends messages to the log; their Seq is ignored.
func (r *rig) publish(messages ...sink.Message) (last uint64) {
	r.t.Helper()
	for _, m := range messages {
		ack, err := r.js.PublishMsg(r.t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		if err != nil {
			r.t.Fatal(err)
		}
		last = ack.Sequence
	}
	return last
}

// publishPage appends messages as one atomic batch, which costs the disk one flush.
func (r *rig) publishPage(messages []sink.Message) uint64 {
	r.t.Helper()
	batch := make([]*nats.Msg, len(messages))
	for i, m := range messages {
		batch[i] = &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
	}
	ack, err := jetstreamext.PublishMsgBatch(r.t.Context(), r.js, batch)
	if err != nil {
		r.t.Fatal(err)
	}
	return ack.Sequence
}

// running is a sink that runs until stop.
type running struct {
	*sink.Sink
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

func (r *rig) start(change ...func(*sink.Config)) *running {
	r.t.Helper()
	cfg := sink.Config{Pool: r.pool, JetStream: r.js, Schema: schema, Logger: testLogger(r.t)}
	for _, c := range change {
		c(&cfg)
	}
	s, err := sink.New(r.t.Context(), cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	run := &running{Sink: s, t: r.t, cancel: cancel, done: make(chan error, 1)}
	go func() { run.done <- s.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-run.done })
	return run
}

// stop stops the sink and returns what Run returned.
func (r *running) stop() error {
	r.t.Helper()
	r.cancel()
	err := <-r.done
	r.done <- err
	return err
}

// wait waits until Run returns by itself.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(30 * time.Second):
		r.t.Fatal("the sink did not stop by itself")
		return nil
	}
}

// applied waits until the position is at least seq.
func (r *rig) applied(seq uint64) {
	r.t.Helper()
	eventually(r.t, "position", func() bool {
		var at uint64
		if err := r.pool.QueryRow(r.t.Context(), `select coalesce(max(seq), 0) from hubspot.positions where consumer = 'hubtail-sink'`).Scan(&at); err != nil {
			return false // some tests take the database away
		}
		return at >= seq
	})
}

func TestRunAppliesTheLogAndGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.applied(r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 0, props{"email": "a@x"})))
	r.want("a@x", `select email from hubspot.contacts where id = 1`)
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "b@x"}), event("contacts", 2, 0, props{"email": "c@x"})))
	r.want("b@x", `select email from hubspot.contacts where id = 1`)
	stats := s.Stats()
	if stats.Lag != 0 || stats.Messages != 4 || stats.Written != 3 || stats.Error != "" {
		t.Errorf("stats %+v", stats)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	last := r.publish(event("contacts", 1, 0, props{"email": "d@x"}))
	r.start()
	r.applied(last)
	r.want("d@x", `select email from hubspot.contacts where id = 1`)
}

func TestALongBacklogIsReadWithoutAcknowledging(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var last uint64
	for range 11 {
		var page []sink.Message
		for id := range 1_000 {
			page = append(page, event("contacts", int64(id), 0, props{"email": "a@x"}))
		}
		last = r.publishAll(page)
	}
	r.start()
	r.applied(last)
	r.want("1000 11000", `select concat(count(*), ' ', max(_seq)) from hubspot.contacts`)
	// The consumer begins behind it.
	last = r.publish(event("contacts", 1, 0, props{"email": "b@x"}))
	r.applied(last)
	consumer, err := r.stream.Consumer(t.Context(), sink.DefaultConsumer)
	if err != nil {
		t.Fatal(err)
	}
	if n := consumer.CachedInfo().Delivered.Consumer; n > 1 {
		t.Errorf("the consumer delivered %d messages", n)
	}
}
