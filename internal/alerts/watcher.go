package alerts

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Config of a Watcher. Receivers and Conditions are needed; the zero value of everything else is fine.
type Config struct {
	Receivers []*Receiver
	// Conditions returns what is wrong now. Keys are all keys it may return.
	Conditions func(context.Context) []Condition
	Keys       []string
	// Bucket opens the KV bucket; nil means that the state is in memory only.
	Bucket func(context.Context) (jetstream.KeyValue, error)

	Name   string        // of the installation, before every title
	Every  time.Duration // between two looks; 0 means 15 s
	Calm   time.Duration // how long a condition must not hold for its incident to be over; 0 means 1 min
	Adopt  time.Duration // after which another process' incident is taken over, if that no longer looks after it; 0 means 2 min
	Bound  time.Duration // for one delivery; 0 means 30 s
	Logger *slog.Logger  // nil means discard
}

// Watcher makes incidents of conditions and tells the receivers. Its methods are for one goroutine.
type Watcher struct {
	cfg   Config
	me    string
	store store
	keys  map[string]*watch
	now   func() time.Time
	lost  bool // the bucket does not answer, and that was said
	skip  bool // it did not in this look: it is not waited for again
}

// watch is what this process knows of a key.
type watch struct {
	held  time.Time // since when the condition holds; zero if it does not
	calm  time.Time // since when it does not
	tries map[string]attempt

	last     *incident // as last read or written; nil if there was none
	revision uint64    // of that in the bucket, 0 if it is not there
	unsaved  bool      // last is newer than the bucket, which did not answer
}

// attempt is when a receiver is to be tried again.
type attempt struct {
	next time.Time
	wait time.Duration
}

// New returns a watcher.
func New(cfg Config) *Watcher {
	orElse := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	orElse(&cfg.Every, 15*time.Second)
	orElse(&cfg.Calm, time.Minute)
	orElse(&cfg.Adopt, 2*time.Minute)
	orElse(&cfg.Bound, 30*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{cfg: cfg, me: rand.Text()[:10], store: store{open: cfg.Bucket}, keys: map[string]*watch{}, now: time.Now}
	for _, key := range cfg.Keys {
		w.keys[key] = &watch{tries: map[string]attempt{}}
	}
	return w
}

// Run looks every so often, until ctx ends. What is being delivered then may be told again by the next process.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(w.cfg.Every)
	defer tick.Stop()
	for {
		w.Look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lastBound is how long a process that ends may take to say why.
const lastBound = 5 * time.Second

// Last tells why this process ends, before it does: call it when Run has returned. It is an incident like any other, so a
// service that is started again and again, and always ends, says so once; it is over once one goes on.
func (w *Watcher) Last(ctx context.Context, c Condition) {
	ctx, cancel := context.WithTimeout(ctx, lastBound)
	defer cancel()
	c.After, w.skip = 0, false
	if err := w.look(ctx, c.Key, c, true); err != nil && !errors.Is(err, errTaken) {
		w.cfg.Logger.Warn("nobody could be told why this ends", "component", "alerts", "error", err)
	}
}

// Look takes note of what is wrong now and tells who has to be told.
func (w *Watcher) Look(ctx context.Context) {
	w.skip = false
	holding := map[string]Condition{}
	for _, c := range w.cfg.Conditions(ctx) {
		holding[c.Key] = c
	}
	for _, key := range w.cfg.Keys {
		if ctx.Err() != nil {
			return
		}
		c, holds := holding[key]
		if err := w.look(ctx, key, c, holds); err != nil && !errors.Is(err, errTaken) && ctx.Err() == nil {
			w.cfg.Logger.Debug("alerts", "incident", key, "error", err)
		}
	}
}

func (w *Watcher) look(ctx context.Context, key string, c Condition, holds bool) error {
	k, now := w.keys[key], w.now()
	switch {
	case holds && k.held.IsZero():
		k.held, k.calm = now, time.Time{}
	case !holds && k.calm.IsZero():
		k.calm, k.held = now, time.Time{}
	}
	i, revision, err := w.load(ctx, key, k)
	if err != nil {
		return err
	}
	before := ""
	switch {
	case i == nil && !holds, i == nil && (c.Consequence || now.Sub(k.held) < c.After):
		return nil
	case i == nil:
		i = &incident{Key: key, Title: c.Title, Text: c.Text, Since: k.held, Items: slices.Clone(c.Items), Changed: now, By: w.me, Seen: now}
		clear(k.tries)
		w.cfg.Logger.Warn("incident", "component", "alerts", "what", c.Title, "detail", c.Text)
	case i.By != w.me && now.Sub(i.Seen) < w.cfg.Adopt:
		return nil // whoever opened it looks after it
	default:
		before = i.state()
		if holds {
			i.join(c, now)
		}
	}
	w.settle(i, k, holds, now)
	if before != i.state() || now.Sub(i.Seen) > w.cfg.Adopt/4 {
		i.By, i.Seen = w.me, now
		// Written before anybody is told: whoever loses this race does not tell.
		if revision, err = w.save(ctx, i, revision, k); err != nil {
			return err
		}
	}
	return w.tell(ctx, i, revision, k)
}

// state is what decides whether an incident must be written.
func (i *incident) state() string {
	return i.By + i.Over.String() + string(rune(len(i.Told))) + string(rune(len(i.ToldOver))) + string(rune(len(i.Items)))
}

// settle ends an incident whose condition has not held for long enough, and opens one again that was not told to be over.
func (w *Watcher) settle(i *incident, k *watch, holds bool, now time.Time) {
	switch {
	case i.Over.IsZero() && !holds && now.Sub(k.calm) >= w.cfg.Calm:
		i.Over = k.calm
		if i.Over.Before(i.Since) {
			i.Over = now
		}
		clear(k.tries)
		w.cfg.Logger.Info("incident is over", "component", "alerts", "what", i.Title, "lasted", i.Over.Sub(i.Since).Round(time.Second))
	case !i.Over.IsZero() && holds && len(i.ToldOver) == 0:
		i.Over = time.Time{}
		clear(k.tries)
	}
	i.By = w.me
}

// giveUp is how long after its end an incident is tried to be told.
const giveUp = 24 * time.Hour

// tell delivers what receivers do not know yet, and forgets an incident of which everybody knows that it is over.
func (w *Watcher) tell(ctx context.Context, i *incident, revision uint64, k *watch) error {
	due := w.due(i, k)
	if len(due) > 0 {
		told := w.deliver(ctx, w.message(i), due, k)
		if len(told) > 0 {
			for _, id := range told {
				i.told(id)
			}
			var err error
			if revision, err = w.save(context.WithoutCancel(ctx), i, revision, k); err != nil {
				return err
			}
		}
	}
	if i.Over.IsZero() {
		return nil
	}
	for _, r := range w.cfg.Receivers {
		if slices.Contains(i.Told, r.id) && !slices.Contains(i.ToldOver, r.id) && w.now().Sub(i.Over) < giveUp {
			return nil
		}
	}
	return w.remove(ctx, i, revision, k)
}

// due returns who is to be told now. That something is over is told to those who know that it began.
func (w *Watcher) due(i *incident, k *watch) (due []*Receiver) {
	for _, r := range w.cfg.Receivers {
		knows := slices.Contains(i.Told, r.id) && !slices.Contains(i.Behind, r.id)
		if !i.Over.IsZero() {
			knows = !slices.Contains(i.Told, r.id) || slices.Contains(i.ToldOver, r.id)
		}
		if !knows && !w.now().Before(k.tries[r.id].next) {
			due = append(due, r)
		}
	}
	return due
}

// deliver tells receivers, all at once, and returns the ids of those who got it.
func (w *Watcher) deliver(ctx context.Context, m message, due []*Receiver, k *watch) (told []string) {
	failed := make([]error, len(due))
	var group sync.WaitGroup
	for n, r := range due {
		group.Go(func() { failed[n] = r.send(ctx, m, w.cfg.Bound) })
	}
	group.Wait()
	for n, r := range due {
		if failed[n] == nil {
			told = append(told, r.id)
			delete(k.tries, r.id)
			continue
		}
		wait := min(max(2*k.tries[r.id].wait, w.cfg.Every), 10*time.Minute)
		k.tries[r.id] = attempt{w.now().Add(wait), wait}
		if ctx.Err() == nil {
			w.cfg.Logger.Warn("an alert could not be delivered", "component", "alerts", "receiver", r.Name, "what", m.title, "error", failed[n], "again_in", wait)
		}
	}
	return told
}

// load, save and remove use the bucket, and this process' memory while that does not answer.

func (w *Watcher) load(ctx context.Context, key string, k *watch) (*incident, uint64, error) {
	if w.skip {
		return k.last, k.revision, nil
	}
	i, revision, err := w.store.load(ctx, key)
	if err != nil {
		w.noBucket(err)
		return k.last, k.revision, ctx.Err()
	}
	w.lost = false
	if k.unsaved && (i == nil || i.By == w.me) { // what happened while the bucket was away counts
		k.revision = revision
		if k.last == nil && i != nil {
			return nil, 0, w.remove(ctx, i, revision, k)
		}
		return k.last, revision, nil
	}
	k.last, k.revision, k.unsaved = i, revision, false
	return i, revision, nil
}

func (w *Watcher) save(ctx context.Context, i *incident, revision uint64, k *watch) (uint64, error) {
	k.last = i
	if w.skip {
		k.unsaved = true
		return revision, nil
	}
	written, err := w.store.save(ctx, i, revision)
	switch {
	case errors.Is(err, errTaken):
		k.last, k.unsaved = nil, false
		return 0, err
	case err != nil:
		k.unsaved = true
		w.noBucket(err)
		return revision, ctx.Err()
	}
	k.revision, k.unsaved = written, false
	return written, nil
}

func (w *Watcher) remove(ctx context.Context, i *incident, revision uint64, k *watch) error {
	k.last, k.revision, k.unsaved = nil, 0, false
	if revision == 0 {
		return nil // it was never in the bucket
	}
	err := error(nil)
	if !w.skip {
		err = w.store.remove(ctx, i.Key, revision)
	}
	if w.skip || err != nil && !errors.Is(err, errTaken) {
		k.unsaved = true // it is removed once the bucket answers
		w.noBucket(err)
	}
	return err
}

// noBucket says once that the state is in memory.
func (w *Watcher) noBucket(err error) {
	if !w.lost && w.store.open != nil {
		w.cfg.Logger.Warn("the state of alerts is in memory only until its KV bucket answers: a restart may repeat them", "component", "alerts", "error", err)
	}
	w.lost, w.skip = true, true
}
