package connector

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// customNames are the custom object types that a receiver learns while it runs. Beside a source that does not lead, or none, it
// has what there was when the process began; what the leader has begun to read since is in the log. It is looked there for a
// type id when a webhook names one that is unknown, and again after customAgain.
type customNames struct {
	source *Source
	again  time.Duration

	mu      sync.Mutex // guards the fields below
	found   []hubspot.Object
	unknown map[string]time.Time // when the log did not have them, by type id
	failed  time.Time            // when the log could not be read
	err     error                // why
}

const (
	customAgain = 15 * time.Second
	// customRetry is after how long the log is tried again if it could not be read: others wait for that.
	customRetry = time.Second
	// maxUnknown bounds the type ids that are remembered. HubSpot rule: some tens of custom object types in a portal.
	maxUnknown = 1000
)

// with returns the source's object types and those that the type ids turn out to be.
func (c *customNames) with(ctx context.Context, objects objectNames, typeIDs []string) (objectNames, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.found {
		if objects.find(o.TypeID) == "" {
			objects = append(objects, o)
		}
	}
	for _, id := range typeIDs {
		if objects.known(id) != "" || time.Since(c.unknown[id]) < c.again {
			continue
		}
		if time.Since(c.failed) < min(c.again, customRetry) {
			return objects, c.err
		}
		o, err := c.source.loggedObject(ctx, id)
		switch {
		case err == nil && c.source.means(o):
			c.found, objects = append(c.found, o), append(objects, o)
			c.source.cfg.Logger.Info("webhooks of a custom object type that appeared are taken", "component", "webhooks", "object", o.Name)
		case err == nil, errors.Is(err, ErrNotInLog):
			if len(c.unknown) >= maxUnknown {
				clear(c.unknown)
			}
			c.unknown[id] = time.Now()
		default:
			c.failed, c.err = time.Now(), err
			return objects, err
		}
	}
	return objects, nil
}

// means reports whether the configuration asks for a custom object type, which the log has.
func (s *Source) means(o hubspot.Object) bool {
	return slices.ContainsFunc(s.cfg.Objects, func(name string) bool { return name == allObjects || isNamed(o, name) || "p_"+name == o.Name })
}

// customTypes returns the type ids that events name.
func customTypes(events []webhookEvent) (ids []string) {
	for i := range events {
		e := &events[i]
		for _, id := range []string{e.object(), string(e.FromObjectTypeID), string(e.ToObjectTypeID)} {
			if isTypeID(id) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
