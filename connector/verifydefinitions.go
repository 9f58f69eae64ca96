package connector

import (
	"bytes"
	"context"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// compareDefinitions compares the property definitions. A source reads them every few minutes, so that what differs has to
// outlast the patience; values of a new property are found with the records.
func (v *verifier) compareDefinitions(ctx context.Context) error {
	differs, err := v.definitionsDiffer(ctx)
	if err != nil || len(differs) == 0 {
		return err
	}
	if v.o.Patience > 0 {
		if err := pause(ctx, v.o.Patience, v.o.Patience); err != nil {
			return err
		}
		if differs, err = v.definitionsDiffer(ctx); err != nil {
			return err
		}
	}
	for _, d := range differs {
		v.report.Add(d.Kind, d.ID, d.Reason)
	}
	if !v.o.Repair || len(differs) == 0 {
		return nil
	}
	if _, err := v.f.log.publishLatest(ctx, v.definitions); err != nil {
		return err
	}
	v.report.Repaired += int64(len(differs))
	return nil
}

// definitionsDiffer compares what HubSpot said with what the log has by now.
func (v *verifier) definitionsDiffer(ctx context.Context) ([]difference.Difference, error) {
	if v.definitions == nil {
		return nil, nil
	}
	logged, err := v.f.log.definitions(ctx)
	if err != nil {
		return nil, err
	}
	if logged == nil {
		return []difference.Difference{{Kind: difference.Definition, ID: v.f.object.Name, Reason: "the log has no definitions"}}, nil
	}
	old := make(map[string][]byte, len(logged.Properties))
	for _, p := range logged.Properties {
		old[p.Name] = encodedProperty(v, p)
	}
	var differs []difference.Difference
	for _, p := range v.definitions.Properties {
		before, known := old[p.Name]
		delete(old, p.Name)
		switch {
		case !known:
			differs = append(differs, difference.Difference{Kind: difference.Definition, ID: p.Name, Reason: "not in the log"})
		case !bytes.Equal(before, encodedProperty(v, p)):
			differs = append(differs, difference.Difference{Kind: difference.Definition, ID: p.Name, Reason: "changed"})
		}
	}
	for name := range old {
		differs = append(differs, difference.Difference{Kind: difference.Definition, ID: name, Reason: "HubSpot has it no longer"})
	}
	return differs, nil
}

// encodedProperty returns the one form that a definition has in the log.
func encodedProperty(v *verifier, p schemas.Property) []byte {
	m, err := schemas.EncodeControl(&schemas.PropertyDefinitions{
		Portal: v.f.log.portal, Object: v.f.object.Name, ObjectTypeID: v.f.object.TypeID, Properties: []schemas.Property{p},
	})
	if err != nil {
		return nil
	}
	return m.Data
}
