package connector

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
)

// leaseTTL makes leases expire after ttl, for sources made from now on.
func (b *logBundle) leaseTTL(ttl time.Duration) {
	b.t.Helper()
	bucket := LeaseBucket(jetlog.DefaultStream)
	if _, err := b.js.UpdateKeyValue(b.t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: ttl, History: 1}); errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = b.js.CreateKeyValue(b.t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: ttl, History: 1})
		must(b.t, err)
	} else {
		must(b.t, err)
	}
}

func (b *logBundle) lease(js jetstream.JetStream) *lease {
	b.t.Helper()
	l, err := newLease(b.t.Context(), Config{JetStream: js}.withDefaults(), "7")
	must(b.t, err)
	return l
}

// candidate runs a lease and says what becomes of it.
type candidate struct {
	leads, stands atomic.Int32 // times that it began to
	leading       atomic.Bool
	stop          func() error
}

func runLease(t *testing.T, l *lease, name string) *candidate {
	t.Helper()
	c := &candidate{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.Run(ctx, Leader{Instance: name, Task: TaskFollow}, func(ctx context.Context) error {
			c.leads.Add(1)
			c.leading.Store(true)
			defer c.leading.Store(false)
			<-ctx.Done()
			return nil
		}, func(ctx context.Context) {
			c.stands.Add(1)
			<-ctx.Done()
		})
	}()
	c.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { must(t, c.stop()) })
	return c
}

func TestALeaseHasOneHolderAtATime(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	var holders, most, turns atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		l := b.lease(b.js)
		all.Go(func() {
			for ctx.Err() == nil {
				err := l.Run(ctx, Leader{Instance: name}, func(ctx context.Context) error {
					if n := holders.Add(1); n > most.Load() {
						most.Store(n)
					}
					turns.Add(1)
					_ = pause(ctx, 20*time.Millisecond, 40*time.Millisecond) // the work
					holders.Add(-1)
					return nil
				}, func(context.Context) {})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	eventually(t, "many turns", func() bool { return turns.Load() >= 20 })
	cancel()
	all.Wait()
	equal(t, "most holders at a time", most.Load(), 1)
}

func TestAHolderThatLostItsLeaseStopsAndStandsBy(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	b.leaseTTL(2 * time.Second)
	l := b.lease(b.js)
	c := runLease(t, l, "ours")
	eventually(t, "it leads", c.leading.Load)
	_, held := l.Leader()
	equal(t, "held", held, true)

	kv, err := b.js.KeyValue(t.Context(), LeaseBucket(jetlog.DefaultStream))
	must(t, err)
	rival, err := json.Marshal(Leader{Instance: "rival", Task: TaskFollow})
	must(t, err)
	_, err = kv.Put(t.Context(), "7", rival)
	must(t, err)
	l.Doubt()
	eventually(t, "it stands by", func() bool { return !c.leading.Load() && c.stands.Load() == 1 })
	leader, held := l.Leader()
	equal(t, "leader", leader.Instance, "rival")
	equal(t, "held", held, false)

	// Nobody renews the rival's key.
	eventually(t, "it leads again", c.leading.Load)
	must(t, c.stop())
	_, err = kv.Get(t.Context(), "7")
	equal(t, "given back", errors.Is(err, jetstream.ErrKeyNotFound), true)
}

func TestALeaderGoesOnAfterAnOutageOfNATSUnlessAnotherTookOver(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	b.leaseTTL(time.Second)
	g := &gate{target: strings.TrimPrefix(b.server.URL(), "nats://")}
	nc, err := nats.Connect("127.0.0.1:1", nats.SetCustomDialer(g), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	must(t, err)
	defer nc.Close()
	ours := runLease(t, b.lease(jetStream(t, nc)), "ours")
	eventually(t, "it leads", ours.leading.Load)
	kv, err := b.js.KeyValue(t.Context(), LeaseBucket(jetlog.DefaultStream))
	must(t, err)
	gone := func() bool {
		_, err := kv.Get(t.Context(), "7")
		return errors.Is(err, jetstream.ErrKeyNotFound)
	}

	g.shut(true)
	eventually(t, "the lease expires", gone)
	equal(t, "leads meanwhile", ours.leading.Load(), true)
	g.shut(false)
	eventually(t, "the lease is taken again", func() bool { return !gone() })
	equal(t, "times it began", ours.leads.Load(), 1)

	g.shut(true)
	rival := runLease(t, b.lease(b.js), "rival")
	eventually(t, "the rival leads", rival.leading.Load)
	g.shut(false)
	eventually(t, "both agree", func() bool { return ours.stands.Load() == 1 && !ours.leading.Load() })
	equal(t, "rival", rival.leading.Load(), true)
	must(t, rival.stop())
	eventually(t, "it leads again", ours.leading.Load)
}

func TestALeaseWhoseBucketWasDeletedIsTakenAgain(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	b.leaseTTL(time.Second)
	c := runLease(t, b.lease(b.js), "ours")
	eventually(t, "it leads", c.leading.Load)
	must(t, b.js.DeleteKeyValue(t.Context(), LeaseBucket(jetlog.DefaultStream)))
	eventually(t, "the bucket is there again, with the key", func() bool {
		kv, err := b.js.KeyValue(t.Context(), LeaseBucket(jetlog.DefaultStream))
		if err != nil {
			return false
		}
		_, err = kv.Get(t.Context(), "7")
		return err == nil
	})
	equal(t, "leads", c.leading.Load(), true)
}

func TestABucketWhoseKeysNeverExpireIsRefused(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	_, err := b.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: LeaseBucket(jetlog.DefaultStream)})
	must(t, err)
	_, err = newLease(t.Context(), Config{JetStream: b.js}.withDefaults(), "7")
	if err == nil || !strings.Contains(err.Error(), "--max-age") {
		t.Errorf("error does not help: %v", err)
	}
}

func TestAPassBesideARunningSourceSaysWhoLeads(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 300, Owners: 2, IndexLag: simulator.Lag{Off: true}}, Config{})
	b.leaseTTL(2 * time.Second)
	running := b.newSource(Config{Instance: "leader", Objects: []string{"calls", "owners"}, PollInterval: 50 * time.Millisecond, Settle: 100 * time.Millisecond})
	beside := b.newSource(Config{Objects: []string{"calls", "owners"}})
	more := b.newSource(Config{Objects: []string{"calls", "contacts"}})
	stop := b.run(running)
	eventually(t, "watermarks", func() bool {
		s := running.Status()
		return !s[0].CompleteThrough.IsZero() && !s[1].CompleteThrough.IsZero()
	})

	var led *LedError
	err := beside.Sync(t.Context())
	equal(t, "led", errors.As(err, &led), true)
	equal(t, "up to date", led.UpToDate, true)
	if !strings.Contains(err.Error(), "leader-") || !strings.Contains(err.Error(), "nothing to do") {
		t.Errorf("error does not help: %v", err)
	}
	err = more.Sync(t.Context())
	equal(t, "led", errors.As(err, &led), true)
	equal(t, "up to date", led.UpToDate, false)
	if !strings.Contains(err.Error(), "contacts") {
		t.Errorf("error does not name the object: %v", err)
	}
	err = beside.Backfill(t.Context(), "calls")
	equal(t, "led", errors.As(err, &led), true)
	if !strings.Contains(err.Error(), "stop it") {
		t.Errorf("error does not help: %v", err)
	}
	equal(t, "lists of contacts", b.requests("list contacts"), 0)
	equal(t, "the running source still leads", running.Status()[0].Phase, PhaseLive)

	must(t, stop())
	must(t, beside.Sync(t.Context()))
	equal(t, "phase", beside.Status()[0].Phase, PhaseLive)
}

func TestTwoPassesAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 2000, Latency: 20 * time.Millisecond, IndexLag: simulator.Lag{Off: true}}, Config{})
	b.leaseTTL(2 * time.Second)
	var both sync.WaitGroup
	for range 2 {
		s := b.newSource(Config{Objects: []string{"calls"}})
		both.Go(func() {
			if err := s.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	full := 0
	for _, r := range b.runs("calls") {
		equal(t, "run", r.Status, "success")
		if r.SyncType == "full" {
			full++
		}
	}
	equal(t, "full runs", full, 1)
	equal(t, "runs", len(b.runs("calls")), 3)
	b.nothingLost("calls", b.sim.Now().Add(time.Hour))
	b.noDuplicates()
}
