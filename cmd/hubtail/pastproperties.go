package main

import (
	"context"
	"log/slog"
	"slices"

	"github.com/hubtail/hubtail/schemas"
)

// warnOfUnknown says which properties no definition of the object types, none for all, names: a misspelled one never changes.
// It is no error: the log also has changes of properties that are gone.
func (p *past) warnOfUnknown(ctx context.Context, logger *slog.Logger, objects, properties []string) error {
	if len(properties) == 0 {
		return nil
	}
	if len(objects) == 0 {
		for _, t := range p.types {
			objects = append(objects, t.Name)
		}
	}
	var subjects []string
	for _, object := range objects {
		subjects = append(subjects, schemas.ControlSubject(schemas.KindProperties, p.Portal(), object))
	}
	messages, err := p.LastAt(ctx, subjects, p.LastSeq)
	if err != nil {
		return err
	}
	defined := map[string]bool{}
	for _, m := range messages {
		c, err := schemas.DecodeControl(m.Message)
		if d, is := c.(*schemas.PropertyDefinitions); err == nil && is {
			for _, property := range d.Properties {
				defined[property.Name] = true
			}
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(properties))) {
		if len(defined) > 0 && !defined[name] {
			logger.Warn("no such property is defined now: is it spelled right?", "property", name, "objects", joinWords(objects))
		}
	}
	return nil
}
