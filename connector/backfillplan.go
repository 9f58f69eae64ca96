package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// BackfillPlan says what a full read would cost.
type BackfillPlan struct {
	Portal   string           `json:"portal"`
	Objects  []ObjectLoadPlan `json:"objects"`
	Pairs    int64            `json:"association_requests"` // to find out which object types are associated
	Records  int64            `json:"records"`              // of all object types
	Requests int64            `json:"requests"`             // to HubSpot, of the run: about
	Seconds  float64          `json:"seconds"`              // of the run, about: of its requests, with nobody else's beside them
	Burst    int              `json:"requests_per_10s"`     // that the run may use
	Daily    DailyQuota       `json:"daily"`
	Asked    int64            `json:"asked"` // requests that this plan took
	Method   string           `json:"method"`
}

// DailyQuota is what HubSpot said of the daily quota.
type DailyQuota struct {
	Limit     int `json:"limit"`     // of the account; 0 if unknown
	Remaining int `json:"remaining"` // of the account; -1 if unknown
}

// ObjectLoadPlan says what the full read of one object type would cost.
type ObjectLoadPlan struct {
	Object   string  `json:"object"`
	Records  int64   `json:"records"`  // to be read, and rows that they are; those in the recycle bin not counted
	Requests int64   `json:"requests"` // all that follow
	Load     int64   `json:"load"`     // for the records
	Bin      int64   `json:"recycle_bin"`
	Links    int64   `json:"links"`
	Other    int64   `json:"other"`             // definitions, pipelines, changes since the start
	Seconds  float64 `json:"seconds"`           // after the start of the load, when its last record is read
	Resumes  bool    `json:"resumes,omitempty"` // an interrupted full read goes on: only the rest counts
	Note     string  `json:"note,omitempty"`    // what is not known, or why it cannot be read
}

// planMethod is how estimates are made, for whoever reads one.
const planMethod = "HubSpot was asked how many records there are (a search with limit 1 per object type), for definitions, a page of the recycle bin " +
	"and which types are associated; the load's own planner then ran against as many evenly spread ids, at the quota that HubSpot named. " +
	"What changes meanwhile, records with over 500 links of a kind, and answers that have to be asked for again come on top."

// PlanBackfill says what Source.Backfill of these objects, none meaning all of the configuration's, would cost. It asks
// HubSpot a few questions and writes nothing: a stream that is not there stays away. The configuration's JetStream may be
// nil: then there is no log to go on from.
func PlanBackfill(ctx context.Context, cfg Config, objects ...string) (*BackfillPlan, error) {
	cfg = cfg.withDefaults()
	before := cfg.Client.Usage().Sent()
	plan := &BackfillPlan{Portal: cfg.Portal, Method: planMethod}
	if cfg.Portal == "" {
		account, err := cfg.Client.Account(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask which portal the token belongs to: %w", err)
		}
		cfg.Portal = strconv.FormatInt(account.PortalID, 10)
		plan.Portal = cfg.Portal
	}
	s, chosen, err := sourceToPlan(ctx, cfg)
	if err != nil {
		return nil, err
	}
	plan.Requests = cfg.Client.Usage().Sent() - before // the run asks the same
	for _, r := range chosen.refused {
		plan.Objects = append(plan.Objects, ObjectLoadPlan{Object: r.Object, Note: r.LastError})
	}
	for _, name := range chosen.missing {
		plan.Objects = append(plan.Objects, ObjectLoadPlan{Object: name, Note: "HubSpot has no such custom object"})
	}
	if err := s.planLoads(ctx, plan, objects); err != nil {
		return nil, err
	}
	usage := cfg.Client.Usage()
	plan.Asked, plan.Burst = usage.Sent()-before, usage.Window.Limit
	plan.Daily = DailyQuota{usage.Daily.Limit, usage.Daily.Remaining}
	return plan, nil
}

// sourceToPlan returns a source that can do nothing but be looked at: it has the cursors of the log, and no log.
func sourceToPlan(ctx context.Context, cfg Config) (*Source, selection, error) {
	cfg.Logger = slog.New(slog.DiscardHandler)
	chosen, err := resolve(ctx, cfg.Client, cfg.Objects)
	if err != nil {
		return nil, chosen, err
	}
	cursors, err := cursorsOf(ctx, cfg)
	if err != nil {
		return nil, chosen, err
	}
	s := &Source{cfg: cfg, portal: cfg.Portal}
	for _, object := range chosen.objects {
		log := &objectLog{portal: cfg.Portal, object: object, now: cfg.Client.Now, quota: s.quota, logger: cfg.Logger}
		log.head.set(cursors[object.Name], 0)
		s.follow(object, log, chosen.optional[object.Name])
	}
	s.links, err = newLinkReader(s)
	return s, chosen, err
}

// cursorsOf reads the cursors of a portal's object types, none if there is no log.
func cursorsOf(ctx context.Context, cfg Config) (map[string]schemas.Cursor, error) {
	if cfg.JetStream == nil {
		return nil, nil
	}
	if _, err := cfg.JetStream.Stream(ctx, cfg.Stream); errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	log, err := ReadStatus(ctx, cfg.JetStream, cfg.Stream, cfg.Portal)
	cursors := map[string]schemas.Cursor{}
	for _, o := range log.Objects {
		cursors[o.Object] = o.Cursor
	}
	return cursors, err
}

// planLoads plans the followers, the owners, and what they have in common.
func (s *Source) planLoads(ctx context.Context, plan *BackfillPlan, objects []string) error {
	chosen, err := s.named(objects)
	if err != nil {
		return err
	}
	forecast := &loadForecast{}
	var load []*ObjectLoadPlan
	var readable []*follower
	for _, f := range chosen {
		o, err := f.planLoad(ctx, forecast)
		switch {
		case errors.Is(err, hubspot.ErrForbidden) || errors.Is(err, hubspot.ErrNotFound):
			if !f.optional {
				plan.Objects = append(plan.Objects, ObjectLoadPlan{Object: f.object.Name, Requests: 1, Other: 1, Note: causeOf(err)})
			}
			continue
		case err != nil:
			return fmt.Errorf("plan %s: %w", f.object.Name, err)
		}
		load, readable = append(load, o), append(readable, f)
	}
	forecast.quota = s.quotaOfLoad()
	took, err := forecast.run(ctx)
	if err != nil {
		return err
	}
	for i, o := range load {
		o.Load, o.Seconds = forecast.objects[i].requests, forecast.objects[i].done.Seconds()
		if took > s.cfg.ArchivedInterval { // a run that takes long looks at the recycle bin at its end, too
			o.Bin *= 2
		}
	}
	if err := s.links.plan(ctx, plan, readable, load); err != nil {
		return err
	}
	for _, o := range load {
		o.Requests = o.Load + o.Bin + o.Links + o.Other
		plan.Objects = append(plan.Objects, *o)
	}
	if s.verifiesOwners(objects) {
		if err := s.owners.planLoad(ctx, plan); err != nil {
			return err
		}
	}
	plan.sum(forecast.quota, took)
	return nil
}

// sum adds up what the object types cost. What is not the load's is bound by the burst quota alone, which the load leaves
// used up.
func (p *BackfillPlan) sum(q quota, took time.Duration) {
	p.Requests += p.Pairs
	rest := p.Requests
	for _, o := range p.Objects {
		p.Records += o.Records
		p.Requests += o.Requests
		rest += o.Requests - o.Load
	}
	p.Seconds = took.Seconds() + float64(rest)/float64(max(q.limit, 1))*q.interval.Seconds()
}

// quotaOfLoad is what the client's budget allows a load with nobody else's requests beside it.
func (s *Source) quotaOfLoad() quota {
	u := s.cfg.Client.Usage()
	return quota{
		limit: u.Window.Limit, interval: u.Window.Interval, searchLimit: u.Search.Limit, searchInterval: u.Search.Interval,
		searchCounts: u.Search.InWindow != "no", others: u.Window.Reserved,
	}
}

// planLoad asks what there is to read of an object type, and adds its load to the forecast.
func (f *follower) planLoad(ctx context.Context, forecast *loadForecast) (*ObjectLoadPlan, error) {
	o := &ObjectLoadPlan{Object: f.object.Name, Other: 2} // definitions, and one search for changes
	properties, err := f.scan.Properties(ctx, f.object)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(properties))
	for i, p := range properties {
		names[i] = p.Name
	}
	if hasPipelines(f.object, names) {
		o.Other++
	}
	if o.Bin, err = f.archived.planWalk(ctx, o); err != nil {
		return nil, err
	}
	load := newBackfillObject(f.source, f, f.client.Now())
	o.Resumes = f.log.Cursor().Backfill != nil
	if o.Records = load.plan.total - load.plan.read; load.plan.total < 0 {
		found, err := f.scan.Search(ctx, hubspot.SearchRequest{Object: f.object, SortBy: idProperty, Descending: true, Limit: 1})
		o.Records = int64(found.Total)
		if errors.Is(err, hubspot.ErrInvalid) {
			load.plan.shut[laneSearch] = err
			o.Records, o.Note = f.log.Cursor().Records, "HubSpot has no search for it that could count: as many as the log has"
		} else if err != nil {
			return nil, err
		}
	}
	o.Records = max(o.Records, 0)
	entry := &objectForecast{plan: load.plan, perList: 1, ids: newEvenIDs(o.Records, load.run.Ranges)}
	if !f.scan.ListFits(f.object, names) {
		entry.perList = 2
	}
	forecast.objects = append(forecast.objects, entry)
	return o, nil
}

// planWalk returns how many requests the walk over the recycle bin takes.
func (w *archivedWalk) planWalk(ctx context.Context, o *ObjectLoadPlan) (int64, error) {
	if w.wait() > 0 {
		return 0, nil
	}
	found, err := w.client.List(ctx, hubspot.ListRequest{Object: w.follower.object, Properties: []string{idProperty}, Archived: true})
	switch {
	case err != nil && w.stops(ctx, err):
		return 0, err
	case err != nil, found.Next == "": // what cannot be read costs the request that says so
		return 1, nil
	}
	if state := w.follower.log.Cursor().ArchivedWalk; state != nil && state.Records > listPage {
		return state.Records/listPage + 1, nil
	}
	o.Note = "its recycle bin has more than 100 records; how many nobody says, and every further 100 are one request more"
	return 2, nil
}

// planLoad counts the owners, by reading them.
func (r *roster) planLoad(ctx context.Context, plan *BackfillPlan) error {
	owners, err := r.both(ctx)
	if errors.Is(err, hubspot.ErrForbidden) {
		if !r.optional {
			plan.Objects = append(plan.Objects, ObjectLoadPlan{Object: ownersObject, Requests: 1, Other: 1, Note: causeOf(err)})
		}
		return nil
	}
	if err != nil {
		return err
	}
	n := int64(len(owners))
	requests := max(ownerRequests, 2*pagesOf(n, maxRead))
	plan.Objects = append(plan.Objects, ObjectLoadPlan{Object: ownersObject, Records: n, Requests: requests, Load: requests})
	return nil
}

// plan says what the links of the records cost.
func (r *linkReader) plan(ctx context.Context, plan *BackfillPlan, readable []*follower, load []*ObjectLoadPlan) error {
	r.types = slices.DeleteFunc(r.types, func(t *linkType) bool { return !slices.Contains(readable, t.follower) })
	if r.choice.none || len(r.types) == 0 {
		return nil
	}
	if !r.recall() {
		before := r.labels.Usage().Sent()
		if err := r.discover(ctx); err != nil {
			return err
		}
		plan.Pairs = r.labels.Usage().Sent() - before
	}
	for i, t := range r.types {
		pairs, records := r.due(t, load[i].Records)
		load[i].Links = pairs * linkRequests(records)
	}
	return nil
}

// due returns over how many pairs the links of how many records are to be read, by the rules of linkReader.begin.
func (r *linkReader) due(t *linkType, records int64) (pairs, of int64) {
	c := t.log.Cursor()
	missing := t.missing(c)
	var last *schemas.Sweep
	if c.Links != nil {
		last = c.Links.Sweep
	}
	if o := c.Records; o > records { // of an interrupted read the log has the rest
		records = o
	}
	switch {
	case last != nil && last.DoneAt.IsZero() && covers(last.To, missing):
		return int64(len(t.open(last.To))), max(last.Total-last.Done, 0)
	case len(missing) > 0:
		return int64(len(missing)), records
	case last == nil, r.source.cfg.Client.Now().Before(last.StartedAt.Add(r.turn())):
		return 0, 0
	}
	return int64(len(t.open(nil))), records
}

// linkRequests returns how many requests the links of n records over one pair take: a small one first.
func linkRequests(n int64) int64 {
	if n <= firstInputs {
		return min(n, 1)
	}
	return 1 + pagesOf(n, maxInputs)
}
