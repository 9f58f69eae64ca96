package connector

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// Config of a source. Client and JetStream are needed; the zero value of everything else is fine.
type Config struct {
	Client    *hubspot.Client
	JetStream jetstream.JetStream
	Stream    string   // "" means jetlog.DefaultStream; created if it does not exist
	Replicas  int      // of a stream that is created; 0 means 1
	Portal    string   // "" means: ask HubSpot
	Objects   []string // names, type ids, "owners", or "all" that the token may read; nil means DefaultObjects. Pipelines come with their object
	// Associations are the pairs of Objects whose links are read, both ways: "contacts:companies", ...; nil or "all" means
	// all that HubSpot has, "none" none.
	Associations []string
	Instance     string // name of this process in cursors; "" means host name and a random suffix

	PollInterval        time.Duration // between two polls of a quiet object type; 0 means 12 s. Busy ones are polled three times as often
	Overlap             time.Duration // how far a fast poll reaches back before the last one; 0 means 10 s
	Settle              time.Duration // after which a change counts as surely in HubSpot's search index, for the watermark; 0 means that it is learned from the lag observed
	Reach               time.Duration // how far back polls look all the same for what the index shows late; 0 means 15 min
	DefinitionsInterval time.Duration // between two reads of properties, pipelines and owners; 0 means 5 min
	LinksLinger         time.Duration // how long changed records are waited for before their links are read; 0 means 1 s
	SweepTurn           time.Duration // within which the links of all records are read again; 0 means as long as it takes with 2 % of the daily quota
	ArchivedInterval    time.Duration // between two walks over a recycle bin, more for a large one; 0 means 3 min
	RunInterval         time.Duration // between two summaries of what polls found; 0 means 5 min
	RereadTurn          time.Duration // within which all records are read again, for calculated values; more in a large portal; 0 means 24 h, negative never
	VerifyInterval      time.Duration // between two comparisons of HubSpot with the log; 0 means DefaultVerifyInterval, negative means none

	Logger *slog.Logger // nil means discard
}

// DefaultObjects are what a source reads unless told otherwise.
var DefaultObjects = []string{"contacts", "companies", "deals", "tickets", "calls", "owners"}

func (cfg Config) withDefaults() Config {
	orElse := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	orElse(&cfg.PollInterval, 12*time.Second)
	orElse(&cfg.Overlap, 10*time.Second)
	orElse(&cfg.Reach, 15*time.Minute)
	orElse(&cfg.DefinitionsInterval, 5*time.Minute)
	orElse(&cfg.ArchivedInterval, 3*time.Minute)
	orElse(&cfg.RunInterval, 5*time.Minute)
	if cfg.RereadTurn == 0 {
		cfg.RereadTurn = 24 * time.Hour
	}
	if cfg.VerifyInterval == 0 {
		cfg.VerifyInterval = DefaultVerifyInterval
	}
	if cfg.Stream == "" {
		cfg.Stream = jetlog.DefaultStream
	}
	if len(cfg.Objects) == 0 {
		cfg.Objects = DefaultObjects
	}
	if cfg.Instance == "" {
		cfg.Instance, _ = os.Hostname()
	}
	// A process that was restarted must not take its predecessor's cursor for its own.
	cfg.Instance += "-" + rand.Text()[:8]
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Source turns a HubSpot portal into a log. It has no goroutines of its own outside Run, Backfill and Sync, of which one
// may be called at a time.
type Source struct {
	cfg       Config
	portal    string
	followers []*follower    // in the order of Config.Objects; replaced as a whole, by the goroutine that calls Run alone
	owners    *roster        // nil unless configured
	refused   []ObjectStatus // object types that could not be looked up, or are not there; replaced likewise
	missing   []string       // names of custom object types that were not there at the start
	appeared  *selection     // what is to be read from now on, nil if that did not change
	receives  atomic.Bool    // webhooks are expected
	links     *linkReader
	hints     *hints // what webhooks said
	loads     chan *follower
	walks     pacer // of the walks over the recycle bins
	lease     *lease

	mu sync.Mutex // guards changes of followers and refused, and reads of them by other goroutines
}

// New returns a source. It makes sure that the stream exists and asks HubSpot for what the configuration leaves open: the
// portal, and the ids of custom objects.
func New(ctx context.Context, cfg Config) (*Source, error) {
	cfg = cfg.withDefaults()
	if err := jetlog.CheckServer(cfg.JetStream.Conn()); err != nil {
		return nil, err
	}
	if _, err := jetlog.Ensure(ctx, cfg.JetStream, jetlog.StreamConfig(cfg.Stream, cfg.Replicas)); err != nil {
		return nil, err
	}
	if cfg.Portal == "" {
		account, err := cfg.Client.Account(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask which portal the token belongs to: %w", err)
		}
		cfg.Portal = strconv.FormatInt(account.PortalID, 10)
	}
	lease, err := newLease(ctx, cfg, cfg.Portal)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, portal: cfg.Portal, lease: lease}
	if s.hints, err = openHints(ctx, cfg.JetStream, cfg.Stream, cfg.Replicas, s.portal, cfg.Logger); err != nil {
		return nil, err
	}
	chosen, err := resolve(ctx, cfg.Client, cfg.Objects)
	if err != nil {
		return nil, err
	}
	for _, refused := range chosen.refused {
		cfg.Logger.Error("object type cannot be read, the others go on", "component", "source", "object", refused.Object, "err", refused.LastError)
	}
	s.refused, s.missing = s.absent(chosen, nil), chosen.missing
	if len(s.missing) > 0 {
		cfg.Logger.Warn("HubSpot has no such custom object: it is read as soon as it is there", "component", "source", "objects", strings.Join(s.missing, ","))
	}
	for _, object := range chosen.objects {
		log, err := s.openLog(ctx, object)
		if err != nil {
			return nil, err
		}
		s.follow(object, log, chosen.optional[object.Name])
	}
	s.loads = make(chan *follower, len(s.followers))
	s.links, err = newLinkReader(s)
	return s, err
}

// follow makes what reads an object type into its log.
func (s *Source) follow(object hubspot.Object, log *objectLog, optional bool) {
	if object.Name == ownersObject {
		s.owners = newRoster(s, log)
		s.owners.optional = optional
		return
	}
	f := newFollower(s, object, log)
	f.optional = optional
	s.followers = append(s.followers, f)
}

// Portal returns the id of the portal that the source reads.
func (s *Source) Portal() string { return s.portal }

func (s *Source) openLog(ctx context.Context, object hubspot.Object) (*objectLog, error) {
	l := &objectLog{
		js: s.cfg.JetStream, stream: s.cfg.Stream, portal: s.portal, object: object, instance: s.cfg.Instance,
		now: s.cfg.Client.Now, quota: s.quota, logger: s.cfg.Logger.With("component", "source", "object", object.Name),
		timeout: publishTimeout, token: make(chan struct{}, 1),
	}
	_, err := l.Reload(ctx)
	return l, err
}

// Run follows the portal until ctx ends: a full read of every object type that never had one, and polls all the while. It
// returns nil when ctx ended, after the append in flight, and an error only if going on makes no sense: the token is
// refused. An object type that cannot be read does not stop the others; see Status.
//
// Of several sources of a portal one leads; the others stand by: they ask HubSpot nothing.
func (s *Source) Run(ctx context.Context) error {
	return s.lease.Run(ctx, s.me(TaskFollow), s.lead, s.standBy)
}

// lead does all that a source does while it has the lease, until ctx ends, and can be called again. Everything that reads
// HubSpot starts here and is waited for.
func (s *Source) lead(ctx context.Context) error {
	s.cfg.Logger.Info("leading", "component", "source", "portal", s.portal)
	for {
		err := s.read(ctx)
		if !errors.Is(err, errObjectsChanged) {
			return err
		}
		if err := s.adopt(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("object types that came or went are looked at again", "component", "source", "err", err)
		}
	}
}

// read does all that a leading source does, until ctx ends or other object types are to be read.
func (s *Source) read(ctx context.Context) error {
	s.loads = make(chan *follower, len(s.followers))
	for _, f := range s.followers {
		f.reset()
	}
	for _, w := range s.workers() {
		w.status.lead()
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, f := range s.followers {
		g.Go(func() error { return f.follow(gctx) })
		g.Go(func() error { return f.followHints(gctx) })
	}
	if s.owners != nil {
		g.Go(func() error { return s.owners.follow(gctx) })
	}
	g.Go(func() error { return s.load(gctx) })
	g.Go(func() error { return s.links.run(gctx) })
	g.Go(func() error { return s.tellStops(gctx) })
	g.Go(func() error { return s.keepVerified(gctx) })
	g.Go(func() error { return s.watchObjects(gctx) })
	g.Go(func() error { s.keepErased(gctx); return nil })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// load runs the full reads that followers ask for. Those that ask at the start are read together, so that the quota is
// shared well among them.
func (s *Source) load(ctx context.Context) error {
	var reads sync.WaitGroup
	defer reads.Wait()
	s.awaitPrepared(ctx)
	for {
		var batch []*follower
		select {
		case f := <-s.loads:
			batch = append(batch, f)
		case <-ctx.Done():
			return nil
		}
		for len(s.loads) > 0 {
			batch = append(batch, <-s.loads)
		}
		names := make([]string, len(batch))
		for i, f := range batch {
			names[i] = f.object.Name
		}
		s.cfg.Logger.Info("full read begins", "component", "source", "objects", strings.Join(names, ","))
		reads.Go(func() {
			s.backfill(ctx, batch, func(f *follower, err error) { f.loaded <- err })
		})
	}
}

// awaitPrepared waits until every follower has tried to prepare, but not long for a slow one.
func (s *Source) awaitPrepared(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, f := range s.followers {
		select {
		case <-f.prepared:
		case <-ctx.Done():
			return
		}
	}
}

// Backfill reads the named object types whole, all of the source's if none is named, goes on with a full read that was
// interrupted, and ends with what changed meanwhile. It returns the errors of all object types that failed, or a LedError
// if another source leads.
func (s *Source) Backfill(ctx context.Context, objects ...string) error {
	chosen, err := s.named(objects)
	if err == nil && len(objects) == 0 {
		err = s.requireAll()
	}
	if err != nil {
		return err
	}
	workers := make([]*worker, len(chosen))
	for i, f := range chosen {
		workers[i] = &f.worker
	}
	return s.pass(ctx, TaskBackfill, workers, func(ctx context.Context) error {
		return s.once(ctx, chosen, len(objects) == 0 || slices.Contains(objects, ownersObject), true)
	})
}

// Sync reads what changed since the last time, of every object type; what was never read whole is read whole. It returns
// the errors of all object types that failed, or a LedError if another source leads.
func (s *Source) Sync(ctx context.Context) error {
	if err := s.requireAll(); err != nil {
		return err
	}
	return s.pass(ctx, TaskSync, s.workers(), func(ctx context.Context) error { return s.once(ctx, s.followers, true, false) })
}

// once makes one pass over the followers: definitions, full reads where due, changes.
func (s *Source) once(ctx context.Context, followers []*follower, owners, full bool) error {
	errs := make([]error, len(followers)+1)
	each := func(step func(*follower) error) {
		var g sync.WaitGroup
		for i, f := range followers {
			if errs[i] == nil {
				g.Go(func() { errs[i] = step(f) })
			}
		}
		g.Wait()
	}
	each(func(f *follower) error {
		err := f.begin(ctx)
		if f.leaveOut(ctx, err) {
			return errLeftOut
		}
		return err
	})
	eraseErr := s.eraseLeft(ctx, purgePatience)
	each(func(f *follower) error { return f.eraseOnce(ctx) })
	each(func(f *follower) error { return f.archived.once(ctx) })
	var load []*follower
	for i, f := range followers {
		if errs[i] == nil && (full || f.needsBackfill()) {
			load = append(load, f)
		}
	}
	if len(load) > 0 {
		var mu sync.Mutex // guards errs; backfill may call from anywhere
		s.backfill(ctx, load, func(f *follower, err error) {
			mu.Lock()
			defer mu.Unlock()
			errs[slices.Index(followers, f)] = err
		})
	}
	each(func(f *follower) error { return f.syncOnce(ctx) })
	linkErr := s.links.readOnce(ctx, followers)
	for i, f := range followers {
		if errors.Is(errs[i], errLeftOut) {
			errs[i] = nil
		}
		if errs[i] != nil && ctx.Err() == nil {
			f.failed(ctx, phaseOf(errs[i]), errs[i])
		}
	}
	if s.owners != nil && owners {
		errs[len(followers)] = s.owners.syncOnce(ctx)
	}
	return errors.Join(append(errs, linkErr, eraseErr)...)
}

// named returns the followers of the named objects, all of them if none is named.
func (s *Source) named(objects []string) ([]*follower, error) {
	if len(objects) == 0 {
		return s.followers, nil
	}
	var chosen []*follower
	for _, name := range objects {
		if name == ownersObject && s.owners != nil {
			continue
		}
		i := slices.IndexFunc(s.followers, func(f *follower) bool { return isNamed(f.object, name) })
		if i < 0 {
			return nil, fmt.Errorf("%w %q: it is not among those configured: %v", ErrUnknownObject, name, s.cfg.Objects)
		}
		if !slices.Contains(chosen, s.followers[i]) {
			chosen = append(chosen, s.followers[i])
		}
	}
	return chosen, nil
}

// newRunID returns an id for a sync run, unique and in the order of time.
func newRunID(object string, at time.Time) string {
	return object + "-" + at.UTC().Format("20060102T150405.000Z") + "-" + rand.Text()[:6]
}

// runOf returns the record of a sync run that ended.
func (s *Source) runOf(object, id, kind string, from, to time.Time, counts schemas.Counts, err error) *schemas.Run {
	run := &schemas.Run{
		RunID: id, Portal: s.portal, Object: object, SyncType: kind, Status: "success",
		StartedAt: from, CompletedAt: to, Counts: counts,
	}
	if counts.Failed > 0 {
		run.Status, run.Error = "partial", fmt.Sprintf("%d records are in the dead letters", counts.Failed)
	}
	if err != nil {
		run.Status, run.Error = "failed", err.Error()
	}
	return run
}
