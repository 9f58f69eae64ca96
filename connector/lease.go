package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

// leaseTTL is how long a leader that died keeps the lead: above the 4 to 8 s that a NATS cluster takes to replace a node,
// below what people wait for. It is the bucket's setting, and a bucket that has another keeps it.
const leaseTTL = 12 * time.Second

// lease elects one of a portal's sources, so that one only spends the quota. Correctness never depends on it: that is for
// the guards in objectLog.Append.
//
// It is a key in a KV bucket whose keys expire. Who creates the key leads, and updates it four times before it would
// expire; who finds it tries again until it is gone. Nobody looks at a clock: the server lets keys expire, and every write
// is guarded by the key's revision.
type lease struct {
	js       jetstream.JetStream
	bucket   string
	replicas int
	key      string
	value    []byte // a Leader, unlike that of any other process
	logger   *slog.Logger

	doubts chan struct{} // holds one element if someone has reason to think that we lost it

	// For the goroutine that calls Run or Once.
	kv  jetstream.KeyValue // nil after an error
	ttl time.Duration      // of its keys

	mu     sync.Mutex // guards the fields below
	leader Leader     // as last seen
	held   bool
}

// Leader is who reads a portal.
type Leader struct {
	Instance string   `json:"instance"`
	Task     Task     `json:"task"`
	Objects  []string `json:"objects"` // that it reads
}

// Task is what a leader leads for.
type Task string

// The tasks of a leader.
const (
	TaskFollow   Task = "follow"   // runs until it is stopped
	TaskSync     Task = "sync"     // one incremental pass
	TaskBackfill Task = "backfill" // one full read
)

// errLeaseLost ends what was done under a lease that another source has now.
var errLeaseLost = errors.New("another source leads now")

// newLease returns the lease of a portal. It makes sure that the bucket exists.
func newLease(ctx context.Context, cfg Config, portal string) (*lease, error) {
	l := &lease{
		js: cfg.JetStream, bucket: LeaseBucket(cfg.Stream), replicas: max(cfg.Replicas, 1), key: schemas.EncodeToken(portal),
		logger: cfg.Logger.With("component", "lease"), doubts: make(chan struct{}, 1),
	}
	_, err := l.open(ctx)
	return l, err
}

// LeaseBucket returns the name of the KV bucket that holds the leases of a stream's portals.
func LeaseBucket(stream string) string { return schemas.EncodeToken(stream) + "_LEASE" }

// open returns the bucket, and creates it where there is none.
func (l *lease) open(ctx context.Context) (jetstream.KeyValue, error) {
	if l.kv != nil {
		return l.kv, nil
	}
	kv, err := l.js.KeyValue(ctx, l.bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = l.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: l.bucket, Description: "which source reads a HubSpot portal (hubtail)", TTL: leaseTTL, History: 1, Replicas: l.replicas,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another process was faster, with another configuration
			kv, err = l.js.KeyValue(ctx, l.bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open KV bucket %s, which says who leads: %w", l.bucket, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at KV bucket %s: %w", l.bucket, err)
	}
	if status.TTL() <= 0 {
		return nil, fmt.Errorf("keys of KV bucket %s never expire, so a source that died would lead for ever; nats stream edit KV_%s --max-age %s",
			l.bucket, l.bucket, leaseTTL)
	}
	l.kv, l.ttl = kv, status.TTL()
	return kv, nil
}

// Leader returns who leads as last seen, and whether that is us.
func (l *lease) Leader() (leader Leader, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader, l.held
}

// Doubt makes the holder look at once whether it still is.
func (l *lease) Doubt() {
	select {
	case l.doubts <- struct{}{}:
	default:
	}
}

// Run calls lead whenever the lease is ours, and standby while another source has it, until ctx ends or lead returns.
// The context of each ends when that changes, and Run waits for it to return. When ctx ends, the lease is held until lead
// has returned, and is then given back. Run returns what lead returned; nil if ctx ended before.
func (l *lease) Run(ctx context.Context, me Leader, lead func(context.Context) error, standby func(context.Context)) error {
	l.name(me)
	for {
		revision := l.await(ctx, standby)
		if revision == 0 {
			return nil
		}
		if err := l.hold(ctx, revision, lead); !errors.Is(err, errLeaseLost) {
			return err
		}
	}
}

// Once calls work under the lease. While another source has it, it asks refused, with whether that source was seen alive,
// every so often what to do: to end with its error, or, with none, to go on waiting.
func (l *lease) Once(ctx context.Context, me Leader, work func(context.Context) error, refused func(context.Context, Leader, bool) error) error {
	l.name(me)
	var first uint64 // revision of the other's key: it lives if that moves
	for {
		revision, other, err := l.take(ctx)
		switch {
		case err == nil && revision != 0:
			return l.hold(ctx, revision, work)
		case err != nil:
			l.logger.Debug("lease not asked for", "err", err)
		case first == 0:
			first = other
		default:
			leader, _ := l.Leader()
			if err := refused(ctx, leader, other != first); err != nil {
				return err
			}
		}
		if err := l.pause(ctx, 16); err != nil {
			return err
		}
	}
}

func (l *lease) name(me Leader) {
	value, err := json.Marshal(me)
	if err != nil {
		panic(err) // strings only
	}
	l.value = value
}

// await tries until the lease is ours, and returns its revision; 0 if ctx ended before. Standby runs as soon as another
// source is seen to have it.
func (l *lease) await(ctx context.Context, standby func(context.Context)) uint64 {
	waiting, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	var seen string
	for {
		revision, other, err := l.take(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			l.logger.Debug("lease not asked for", "err", err)
		case revision != 0:
			l.logger.Debug("leading", "revision", revision)
			return revision
		case other != 0:
			leader, _ := l.Leader()
			if seen == "" {
				wait.Go(func() { standby(waiting) })
			}
			if seen != leader.Instance {
				l.logger.Info("another source leads, standing by", "leader", leader.Instance, "takes_over_after", l.ttl)
				seen = leader.Instance
			}
		}
		if l.pause(ctx, 16) != nil {
			return 0
		}
	}
}

// hold runs lead and keeps the lease meanwhile, also while lead finishes after ctx ended. Then it gives it back.
func (l *lease) hold(ctx context.Context, revision uint64, lead func(context.Context) error) error {
	leading, stop := context.WithCancel(ctx)
	defer stop()
	l.setHeld(true)
	defer l.setHeld(false)
	done := make(chan error, 1)
	go func() { done <- lead(leading) }()
	renew := time.NewTimer(l.ttl / 4)
	defer renew.Stop()
	for {
		select {
		case err := <-done:
			l.release(ctx, revision)
			return err
		case <-renew.C:
		case <-l.doubts:
		}
		next, err := l.renew(context.WithoutCancel(ctx), revision)
		switch {
		case errors.Is(err, errLeaseLost):
			leader, _ := l.Leader()
			l.logger.Warn("another source leads now, stopping", "leader", leader.Instance)
			stop()
			l.setHeld(false)
			if err := <-done; ctx.Err() != nil {
				return err
			}
			return errLeaseLost
		case err != nil: // NATS is away: whoever leads cannot append either
			l.logger.Debug("lease not renewed", "err", err)
			renew.Reset(l.ttl / 24)
		default:
			revision = next
			renew.Reset(l.ttl / 4)
		}
	}
}

func (l *lease) setHeld(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
}

// take tries to make the lease ours and returns its revision then; else that of the other's key, 0 if that is unknown.
func (l *lease) take(ctx context.Context) (revision, other uint64, err error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	kv, err := l.open(ctx)
	if err != nil {
		return 0, 0, err
	}
	found, err := l.look(ctx, kv)
	switch {
	case err != nil:
	case found == nil:
		revision, err = kv.Create(ctx, l.key, l.value)
		if errors.Is(err, jetstream.ErrKeyExists) { // another source was faster; the next look shows who
			return 0, 0, nil
		}
	case bytes.Equal(found.Value(), l.value): // the answer to an earlier try got lost
		return found.Revision(), 0, nil
	default:
		return 0, found.Revision(), nil
	}
	return revision, 0, l.judge(err)
}

// renew updates the key from the revision we left it at, and returns the new one.
func (l *lease) renew(ctx context.Context, revision uint64) (uint64, error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	kv, err := l.open(ctx)
	if err != nil {
		return 0, err
	}
	for {
		next, err := kv.Update(ctx, l.key, l.value, revision)
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return next, l.judge(err)
		}
		found, err := l.look(ctx, kv)
		switch {
		case err != nil:
			return 0, l.judge(err)
		case found == nil:
			// It expired while NATS or we were away, and nobody else has it. If somebody had in between, the guards know.
			next, err := kv.Create(ctx, l.key, l.value)
			if errors.Is(err, jetstream.ErrKeyExists) {
				return 0, errLeaseLost
			}
			return next, l.judge(err)
		case !bytes.Equal(found.Value(), l.value), found.Revision() == revision: // the latter from a replica that lags
			return 0, errLeaseLost
		}
		revision = found.Revision() // the answer to our last update got lost
	}
}

// look reads the key, nil if there is none, and notes who leads.
func (l *lease) look(ctx context.Context, kv jetstream.KeyValue) (jetstream.KeyValueEntry, error) {
	found, err := kv.Get(ctx, l.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	leader := decodeLeader(found.Value())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leader = leader
	return found, nil
}

func decodeLeader(value []byte) (leader Leader) {
	if err := json.Unmarshal(value, &leader); err != nil || leader.Instance == "" {
		return Leader{Instance: "unknown"} // of a newer version, or someone else's key
	}
	return leader
}

// ReadLeader returns who reads a portal into a stream, nil if nobody does.
func ReadLeader(ctx context.Context, js jetstream.JetStream, stream, portal string) (*Leader, error) {
	kv, err := js.KeyValue(ctx, LeaseBucket(stream))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	var found jetstream.KeyValueEntry
	if err == nil {
		found, err = kv.Get(ctx, schemas.EncodeToken(portal))
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read who leads portal %s: %w", portal, err)
	}
	leader := decodeLeader(found.Value())
	return &leader, nil
}

// release gives the lease back, if it still is ours.
func (l *lease) release(ctx context.Context, revision uint64) {
	ctx, cancel := l.bound(context.WithoutCancel(ctx))
	defer cancel()
	kv, err := l.open(ctx)
	if err == nil {
		err = kv.Delete(ctx, l.key, jetstream.LastRevision(revision))
	}
	if err != nil {
		l.logger.Debug("lease not given back, it expires", "err", err)
	}
}

// judge returns err. The bucket is opened anew after one: it may have been deleted.
func (l *lease) judge(err error) error {
	if err != nil {
		l.kv = nil
	}
	return err
}

// bound is the time for one exchange with NATS.
func (l *lease) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(l.ttl/4, time.Second))
}

// pause waits a part of the time after which the lease expires.
func (l *lease) pause(ctx context.Context, part time.Duration) error {
	return pause(ctx, l.ttl/part*3/4, l.ttl/part)
}
