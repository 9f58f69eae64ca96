package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// prepare reads the property definitions and publishes them if they differ from those in the log. Then it fetches the
// values of new properties for the records that the log has, which were read without them.
func (f *follower) prepare(ctx context.Context) error {
	now := f.client.Now()
	properties, err := f.scan.Properties(ctx, f.object)
	if err != nil {
		return fmt.Errorf("read property definitions: %w", err)
	}
	known, err := f.log.definitions(ctx)
	if err != nil {
		return err
	}
	names := make([]string, len(properties))
	for i, p := range properties {
		names[i] = p.Name
	}
	if !slices.Equal(names, f.properties()) {
		f.names.Store(&names)
	}
	added := newNames(names, known)
	if f.log.Cursor().At.IsZero() { // no record was read yet
		added = nil
	}
	// What is to be fetched is noted together with the definitions, so that a crash forgets nothing.
	_, err = f.log.publishLatestWith(ctx, &schemas.PropertyDefinitions{
		Portal: f.log.portal, Object: f.object.Name, ObjectTypeID: f.object.TypeID, Properties: properties,
	}, func(c *schemas.Cursor) {
		for _, name := range added {
			c.NewProperties = append(c.NewProperties, schemas.NewProperty{Name: name, Since: now})
		}
	})
	if err != nil {
		return err
	}
	f.definedAt = time.Now()
	return f.fetchNew(ctx, names, added)
}

// fetchNew fetches the values of new properties, of those just added for the first time, and once more when search has surely
// caught up with them.
func (f *follower) fetchNew(ctx context.Context, names, added []string) error {
	pending, done := f.log.Cursor().NewProperties, map[string]bool{}
	for _, p := range pending {
		start := f.client.Now()
		if slices.Contains(names, p.Name) { // else it is gone again
			f.logger.Info("reading the values of a new property", "property", p.Name)
			if err := f.readProperty(ctx, p.Name); err != nil {
				return err
			}
		}
		done[p.Name] = start.Sub(p.Since) >= f.settling.time() && !slices.Contains(added, p.Name) || !slices.Contains(names, p.Name)
	}
	if len(pending) == 0 {
		return nil
	}
	_, err := f.log.Append(ctx, page{Origin: schemas.OriginPoll}, func(c *schemas.Cursor) {
		c.NewProperties = slices.DeleteFunc(c.NewProperties, func(p schemas.NewProperty) bool { return done[p.Name] })
		if len(c.NewProperties) == 0 {
			c.NewProperties = nil
		}
	})
	return err
}

// mention says that HubSpot named a property. One that is not known makes the definitions be read soon.
func (f *follower) mention(property string) {
	if _, known := slices.BinarySearch(f.properties(), property); known || property == "" {
		return
	}
	select {
	case f.suspect <- struct{}{}:
	default:
	}
}

// Definitions are read every DefinitionsInterval, 5 minutes; every fifth of it while records of the type change; and, at
// most every thirtieth of it, when something hints at a change.
const (
	redefineBusy    = 5
	redefineSuspect = 30
)

// redefineIn returns after how long the definitions are to be read if that is to happen at least every so often.
func (f *follower) redefineIn(every time.Duration) time.Duration {
	return max(0, time.Until(f.definedAt.Add(every)))
}

// newNames returns the names that the known definitions lack; none if there are no known ones.
func newNames(names []string, known *schemas.PropertyDefinitions) []string {
	if known == nil {
		return nil
	}
	old := make(map[string]bool, len(known.Properties))
	for _, p := range known.Properties {
		old[p.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return old[name] })
}

// readProperty appends all records that have a value for the property.
func (f *follower) readProperty(ctx context.Context, name string) error {
	_, err := f.pass(ctx, hubspot.Filter{Property: name, Operator: "HAS_PROPERTY"}, nil)
	if errors.Is(err, hubspot.ErrInvalid) {
		// HubSpot rule: some properties cannot be used in filters, as hs_body_preview_html.
		f.logger.Warn("a new property cannot be searched for; records that have a value get it when they change, or by a full read", "property", name, "err", err)
		return nil
	}
	return err
}

// definitions returns the property definitions in the log, nil if there are none or they cannot be read.
func (l *objectLog) definitions(ctx context.Context) (*schemas.PropertyDefinitions, error) {
	m, err := l.leaderMessage(ctx, schemas.ControlSubject(schemas.KindProperties, l.portal, l.object.Name))
	if err != nil || m == nil {
		return nil, err
	}
	c, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if err != nil {
		l.logger.Warn("definitions in the log cannot be read, publishing them anew", "err", err)
		return nil, nil
	}
	return c.(*schemas.PropertyDefinitions), nil
}

// publishLatest publishes a message that replaces the last one of its subject, unless it equals it.
func (l *objectLog) publishLatest(ctx context.Context, c schemas.Control) (published bool, err error) {
	return l.publishLatestWith(ctx, c, nil)
}

// publishLatestWith is publishLatest, and advance moves the cursor along with it. Both travel in one batch: only who leads
// can publish.
func (l *objectLog) publishLatestWith(ctx context.Context, c schemas.Control, advance func(*schemas.Cursor)) (published bool, err error) {
	m, err := schemas.EncodeControl(c)
	if err != nil {
		return false, err
	}
	last, err := l.leaderMessage(ctx, m.Subject)
	if err != nil || last != nil && bytes.Equal(last.Data, m.Data) {
		return false, err
	}
	_, err = l.Append(ctx, page{Origin: schemas.OriginPoll, Controls: []schemas.Control{c}}, advance)
	return err == nil, err
}

// preparePipelines publishes the pipelines of an object type that has them.
func (f *follower) preparePipelines(ctx context.Context) error {
	if !hasPipelines(f.object, f.properties()) {
		return nil
	}
	pipelines, err := f.scan.Pipelines(ctx, f.object)
	switch {
	case errors.Is(err, hubspot.ErrUnauthorized):
		return err
	case err != nil && ctx.Err() == nil:
		// The records are worth more than the labels of their stages.
		f.logger.Warn("pipelines not read", "err", err)
		return nil
	case err != nil:
		return ctx.Err()
	}
	_, err = f.log.publishLatest(ctx, &schemas.Pipelines{Portal: f.log.portal, Object: f.object.Name, Pipelines: pipelines})
	return err
}
