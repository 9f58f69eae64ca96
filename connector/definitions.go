package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// prepare reads the property definitions and publishes them if they differ from those in the log.
func (f *follower) prepare(ctx context.Context) error {
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
	// Records that are in the log were read without the properties that are new. Their values are fetched before the
	// definitions are published: after a crash in between, the definitions are still new and it is done again.
	// Search may not know all values yet: they are read once more the next time, when its index has caught up.
	added := newNames(names, known)
	if f.log.Cursor().At.IsZero() {
		added = nil
	}
	if len(added) > 0 {
		f.logger.Info("reading new properties", "properties", added)
	}
	for _, name := range slices.Concat(f.fresh, added) {
		if err := f.readProperty(ctx, name); err != nil {
			return err
		}
	}
	f.fresh = added
	_, err = f.log.publishLatest(ctx, &schemas.PropertyDefinitions{
		Portal: f.log.portal, Object: f.object.Name, ObjectTypeID: f.object.TypeID, Properties: properties,
	})
	return err
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
	m, err := schemas.EncodeControl(c)
	if err != nil {
		return false, err
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		last, err := l.leaderMessage(ctx, m.Subject)
		if err != nil {
			return published, err
		}
		var seq uint64
		if last != nil {
			seq = last.Sequence
			if bytes.Equal(last.Data, m.Data) {
				return published, nil
			}
		}
		msg := newMsg(schemas.Message{Subject: m.Subject, Data: m.Data, Header: cloneHeader(m.Header)})
		guard(msg, seq)
		published = true
		_, err = publishBatch(ctx, l.js, l.timeout, []*nats.Msg{msg})
		if err == nil {
			return true, nil
		}
		if outcomeOf(err) == failed {
			return false, fmt.Errorf("publish %s: %w", m.Subject, err)
		}
		// Refused, or no answer: look again.
		if err := pause(ctx, wait, 2*wait); err != nil {
			return false, err
		}
	}
}

func cloneHeader(h map[string][]string) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, values := range h {
		out[name] = slices.Clone(values)
	}
	return out
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
