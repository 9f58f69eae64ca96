package connector

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// ownersObject is the object name of HubSpot's users who own records. They are no CRM objects: they have no search and no
// modification feed, but are few, so that they are read whole every time.
const ownersObject = "owners"

// ownerProperties are what hubspot.Client.Owners answers, as definitions.
var ownerProperties = []schemas.Property{
	{Name: "email", Label: "Email", Type: "string"},
	{Name: "first_name", Label: "First name", Type: "string"},
	{Name: "last_name", Label: "Last name", Type: "string"},
	{Name: "teams", Label: "Teams", Type: "json"},
	{Name: "type", Label: "Type", Type: "string"},
	{Name: "user_id", Label: "User ID", Type: "string"},
	{Name: "user_id_including_inactive", Label: "User ID, also of deactivated users", Type: "string"},
}

// roster keeps the owners in the log up to date.
type roster struct {
	worker
	client *hubspot.Client
	known  []string // ids of the owners that the last read showed, the active and the deactivated ones
}

func newRoster(s *Source, log *objectLog) *roster {
	r := &roster{worker: newWorker(s, log), client: s.cfg.Client.At(hubspot.PriorityIncremental)}
	log.confirm = r.confirm
	return r
}

func (r *roster) follow(ctx context.Context) error {
	return r.keep(ctx, func(ctx context.Context) error {
		for {
			first := r.log.Cursor().BackfilledAt.IsZero()
			from := r.client.Now()
			counts, err := r.read(ctx)
			if err != nil {
				return err
			}
			if r.failure != "" {
				r.recovered(ctx, from, counts)
			} else if newsOf(counts) > 0 && !first {
				r.endRun(ctx, "incremental", from, counts, nil)
			}
			r.status.live(false)
			interval := r.source.cfg.DefinitionsInterval
			if err := pause(ctx, interval-interval/12, interval); err != nil {
				return err
			}
		}
	})
}

// syncOnce reads the owners and records it as a run.
func (r *roster) syncOnce(ctx context.Context) error {
	from := r.client.Now()
	var counts schemas.Counts
	_, err := r.log.Reload(ctx)
	if err == nil {
		counts, err = r.read(ctx)
	}
	if r.leaveOut(ctx, err) {
		return nil
	}
	if err != nil {
		r.failed(ctx, phaseOf(err), err)
		return err
	}
	r.endRun(ctx, "incremental", from, counts, nil)
	r.status.live(false)
	return nil
}

// read appends all owners. What it read is complete as of its beginning.
func (r *roster) read(ctx context.Context) (schemas.Counts, error) {
	from, position := r.client.Now(), r.log.Position()
	owners, err := r.all(ctx)
	if err != nil {
		return schemas.Counts{}, err
	}
	if _, err := r.log.publishLatest(ctx, &schemas.PropertyDefinitions{
		Portal: r.log.portal, Object: ownersObject, Properties: ownerProperties,
	}); err != nil {
		return schemas.Counts{}, err
	}
	return r.log.Append(ctx, page{
		Origin: schemas.OriginPoll, Primary: true, After: position, Records: owners, APICalls: 2,
	}, func(c *schemas.Cursor) {
		if c.BackfilledAt.IsZero() {
			c.BackfilledAt = from
		}
		c.CompleteThrough = later(c.CompleteThrough, from.Truncate(time.Millisecond))
	})
}

// rosterTries bounds how often the owners are read until two reads agree.
const rosterTries = 5

// all reads the active and the deactivated owners. HubSpot says nowhere how many there are: pages that lack some are noticed
// by reading again whenever the ids are others than the last time, until two reads agree.
func (r *roster) all(ctx context.Context) ([]hubspot.Record, error) {
	for range rosterTries {
		owners, err := r.both(ctx)
		if err != nil {
			return nil, err
		}
		ids := make([]string, len(owners))
		for i := range owners {
			ids[i] = owners[i].ID
		}
		if slices.Sort(ids); slices.Equal(ids, r.known) {
			return owners, nil
		}
		r.known = ids
	}
	return nil, fmt.Errorf("read owners: %d reads and no two of them agree who there is", rosterTries)
}

// both reads the active and the deactivated owners once.
func (r *roster) both(ctx context.Context) ([]hubspot.Record, error) {
	active, err := r.client.Owners(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("read owners: %w", err)
	}
	archived, err := r.client.Owners(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("read deactivated owners: %w", err)
	}
	return append(active, archived...), nil
}

// confirm reads the owners again, see objectLog.
func (r *roster) confirm(ctx context.Context, _ []string) (hubspot.Batch, error) {
	owners, err := r.all(ctx)
	return hubspot.Batch{Records: owners}, err
}
